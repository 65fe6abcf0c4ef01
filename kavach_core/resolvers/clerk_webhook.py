"""Clerk's webhooks, signed as Svix signs (Standard Webhooks): a user who was created signs in for the first time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Final, cast

from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.errors import ConfigurationError, InvalidInput, Unauthenticated
from kavach_core.resolvers.checks import require, text
from kavach_core.resolvers.claims import Now
from kavach_core.resolvers.on_sign_in import SignInHook, checked_hook

_PREFIX: Final = "whsec_"
_SHORTEST_KEY: Final = 16
#: Seconds that a webhook may be on its way, and that clocks may differ.
_TOLERANCE: Final = 300
_MOST_SIGNATURES: Final = 16


class ClerkWebhook:
    """Verifies webhooks and calls the hook for users who were created."""

    def __init__(self, key: bytes, hook: SignInHook, now: Now) -> None:
        self._key = key
        self._hook = hook
        self._now = now

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take one webhook as it came; returns the owner id of a created user, and None for any other event.

        Answer 2xx when this returns. What it raises is for Clerk to send again: `Unauthenticated` for a webhook that is
        not Clerk's or not of the last five minutes, `InvalidInput` for one that names nobody, and what the hook raises.
        """
        require_signed(self._key, headers, body, now=self._now())
        owner_id = _created_user(body)
        if owner_id is not None:
            await self._hook(require_owner_id(owner_id))
        return owner_id


def clerk_webhook(*, secret: str, on_sign_in: SignInHook, now: Now = time.time) -> ClerkWebhook:
    """Make the handler of an endpoint for Clerk's webhooks: `await webhook(request.headers, await request.body())`.

    `secret` is the endpoint's signing secret, `whsec_...`. `on_sign_in(owner_id)` must be idempotent: Clerk sends again
    what was not answered. Raises `ConfigurationError` for anything that is no such secret.
    """
    require(text(secret, "secret").startswith(_PREFIX), "secret is the signing secret of the endpoint, whsec_...")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ConfigurationError("secret is not base64 after whsec_.") from None
    require(len(key) >= _SHORTEST_KEY, f"secret has at least {_SHORTEST_KEY} bytes.")
    return ClerkWebhook(key, checked_hook(on_sign_in), now)


def require_signed(key: bytes, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Check the signature of a webhook over its id, time and body. Raises `Unauthenticated`."""
    named = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at, signatures = (named.get(f"svix-{part}", "") for part in ("id", "timestamp", "signature"))
    if not message_id or not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        raise Unauthenticated("This webhook is not signed.")
    if abs(now - int(sent_at)) > _TOLERANCE:
        raise Unauthenticated("This webhook is too old, or a clock is wrong.")
    digest = hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256)
    wanted = b"v1," + base64.b64encode(digest)
    # While a secret is being exchanged there is one signature for each.
    given = signatures.split()[:_MOST_SIGNATURES]
    if not any(hmac.compare_digest(wanted, signature.encode()) for signature in given):
        raise Unauthenticated("This webhook is not signed with this endpoint's secret.")


def _created_user(body: bytes) -> str | None:
    try:
        event: object = json.loads(body)
    except ValueError as error:
        raise InvalidInput("This webhook is not JSON.") from error
    if not isinstance(event, dict):
        raise InvalidInput("This webhook is not an object.")
    told = cast("dict[str, object]", event)
    if told.get("type") != "user.created":
        return None
    data = told.get("data")
    user = cast("dict[str, object]", data).get("id") if isinstance(data, dict) else None
    if not isinstance(user, str):
        raise InvalidInput("This webhook names no user.", field="data.id")
    return user
