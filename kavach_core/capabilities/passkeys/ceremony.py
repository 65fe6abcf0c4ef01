"""What browsers are asked for and what they answer, as JSON (WebAuthn, section 5.1.8). Nothing is verified here."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from kavach_core.capabilities.passkeys.model import LONGEST_CREDENTIAL_ID, Options
from kavach_core.config import Config
from kavach_core.errors import PasskeyRejected
from kavach_core.primitives.clock import MINUTE

#: How long a challenge waits for its answer.
LIFETIME: Final = 5 * MINUTE
CHALLENGE_BYTES: Final = 32
#: COSE algorithms in the order of preference: EdDSA, ES256, RS256.
ALGORITHMS: Final = (-8, -7, -257)

#: Characters of each part of an answer; the largest, an attestation with its certificates, is far below.
_LONGEST: Final = 64 * 1024
_TRANSPORTS: Final = ("ble", "hybrid", "internal", "nfc", "smart-card", "usb")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a browser sent back, of the right types and sizes."""

    #: The parts that are verified, and no others.
    sent: dict[str, Any] = field(repr=False)
    credential_id: bytes
    challenge: bytes = field(repr=False)
    #: The page or native app in which it was made.
    origin: str
    #: Whether that page was in a frame of another site.
    is_embedded: bool
    #: Which user the passkey belongs to, as the authenticator says.
    user_handle: bytes | None = None
    transports: tuple[str, ...] = ()


def creation_options(
    config: Config,
    *,
    challenge: bytes,
    handle: bytes,
    name: str,
    display_name: str,
    exclude: Iterable[tuple[bytes, tuple[str, ...]]],
) -> Options:
    """The options for making a passkey that signs in without a user name; none on an authenticator that has one."""
    return {
        "rp": {"id": config.rp_id, "name": config.rp_name},
        "user": {"id": encode(handle), "name": name, "displayName": display_name},
        "challenge": encode(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": LIFETIME // 1000,
        "excludeCredentials": _descriptors(exclude),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": config.user_verification,
        },
        "attestation": "none",
    }


def request_options(
    config: Config, *, challenge: bytes, allow: Iterable[tuple[bytes, tuple[str, ...]]] = ()
) -> Options:
    """The options for using a passkey: any of this site, or those named."""
    return {
        "challenge": encode(challenge),
        "timeout": LIFETIME // 1000,
        "rpId": config.rp_id,
        "allowCredentials": _descriptors(allow),
        "userVerification": config.user_verification,
    }


def read_registration(body: object) -> Answer:
    """Read the answer to `creation_options`. Raises `PasskeyRejected` for what cannot be one."""
    answer, response = _read(body, "attestationObject")
    listed: object = response.get("transports")
    named = cast("list[object]", listed) if isinstance(listed, list) else []
    return _answer(answer, transports=tuple(known for known in _TRANSPORTS if known in named))


def read_authentication(body: object) -> Answer:
    """Read the answer to `request_options`. Raises `PasskeyRejected` for what cannot be one."""
    answer, response = _read(body, "authenticatorData", "signature")
    handle = response.get("userHandle")
    return _answer(answer, user_handle=None if handle in (None, "") else decode(handle))


def encode(raw: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: object) -> bytes:
    """Bytes of unpadded base64url, written in the one way there is. Raises `PasskeyRejected`."""
    if not isinstance(text, str) or len(text) > _LONGEST or not _BASE64URL.fullmatch(text):
        raise rejected()
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise rejected() from None
    if encode(raw) != text:
        raise rejected()
    return raw


def rejected() -> PasskeyRejected:
    """The one answer to everything that does not hold."""
    return PasskeyRejected("The passkey was not accepted.")


def _read(body: object, *parts: str) -> tuple[dict[str, Any], Mapping[str, object]]:
    """The parts of a credential that are verified, and its whole response."""
    if not isinstance(body, Mapping):
        raise rejected()
    credential = cast("Mapping[str, object]", body)
    response = credential.get("response")
    if not isinstance(response, Mapping):
        raise rejected()
    given = cast("Mapping[str, object]", response)
    sent = {"id": credential.get("id"), "rawId": credential.get("rawId"), "type": credential.get("type")}
    return {**sent, "response": {part: given.get(part) for part in ("clientDataJSON", *parts)}}, given


def _answer(sent: dict[str, Any], *, user_handle: bytes | None = None, transports: tuple[str, ...] = ()) -> Answer:
    client_data = _client_data(sent["response"]["clientDataJSON"])
    for part in sent["response"].values():
        decode(part)
    credential_id = decode(sent["id"])
    origin = client_data.get("origin")
    if not isinstance(origin, str) or not 0 < len(credential_id) <= LONGEST_CREDENTIAL_ID:
        raise rejected()
    return Answer(
        sent=sent,
        credential_id=credential_id,
        challenge=decode(client_data.get("challenge")),
        origin=origin,
        is_embedded=client_data.get("crossOrigin", False) is not False or "topOrigin" in client_data,
        user_handle=user_handle,
        transports=transports,
    )


def _client_data(text: object) -> Mapping[str, object]:
    try:
        client_data: object = json.loads(decode(text).decode("utf-8"))
    except (ValueError, RecursionError):
        raise rejected() from None
    if not isinstance(client_data, dict):
        raise rejected()
    return cast("dict[str, object]", client_data)


def _descriptors(credentials: Iterable[tuple[bytes, tuple[str, ...]]]) -> list[Options]:
    return [
        {"type": "public-key", "id": encode(credential_id), "transports": list(transports)}
        for credential_id, transports in credentials
    ]
