"""Humans signed in with Clerk: its session token, as a bearer or in the `__session` cookie."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError
from kavach_core.resolvers.checks import secure_url, texts
from kavach_core.resolvers.claims import Expected, Now, user_of
from kavach_core.resolvers.jwks import KeyRing
from kavach_core.resolvers.jwt import Verifier
from kavach_core.resolvers.on_sign_in import SignInHook, with_hook
from kavach_core.resolvers.presented import sole_user, tokens_of

_COOKIE: Final = "__session"
#: What Clerk's own backends allow: its tokens live for a minute.
_SKEW: Final = 5.0


class ClerkUser(ChecksConfig):
    """The user of a Clerk session token that one of the app's own pages asked for."""

    def __init__(self, verifier: Verifier, issuer: str, parties: frozenset[str] | None, now: Now) -> None:
        self._verifier = verifier
        self._expected = Expected(issuer=issuer, skew=_SKEW)
        #: None until the settings say which origins are the app's.
        self._is_party: Callable[[str], bool] | None = None if parties is None else parties.__contains__
        self._now = now

    def check_config(self, config: Config) -> None:
        """Without `authorized_parties`, take the origins that Kavach's settings allow."""
        self._is_party = self._is_party or config.allows_origin

    async def __call__(self, view: View) -> str | None:
        return await sole_user(tokens_of(view, _COOKIE), self._user)

    async def _user(self, token: str) -> str | None:
        if self._is_party is None:
            raise ConfigurationError("clerk() has no authorized_parties and was not given to a mount.")
        claims = await self._verifier.claims_of(token)
        # Clerk signs what its JWT templates make for other services by the same key: of no session, for an audience.
        if claims is None or ("aud" in claims and not isinstance(claims.get("sid"), str)):
            return None
        # A pending session has tasks left, such as a second factor; Clerk counts it as signed out.
        if claims.get("sts", "active") != "active":
            return None
        return user_of(claims, replace(self._expected, is_party=self._is_party), self._now())


def clerk(
    *,
    issuer: str,
    authorized_parties: Sequence[str] | None = None,
    on_sign_in: SignInHook | None = None,
    now: Now = time.time,
) -> ChecksConfig:
    """Use as `resolve_user=clerk(issuer="https://clerk.app.example")`; the user id is the owner.

    Args:
        issuer: Clerk's Frontend API URL of this app, as its dashboard shows it; `iss` of its tokens.
        authorized_parties: origins whose pages may have asked for the token (`azp`). Left out, those of Kavach's
            settings: `base_url` and `allowed_origins`, or localhost without a `base_url`.
        on_sign_in: called at the first sight of each user, as `resolvers.on_sign_in` says.

    Raises `ConfigurationError` for an issuer that is no https URL, or no parties.
    """
    root = secure_url(issuer, "issuer").rstrip("/")
    parties = None if authorized_parties is None else frozenset(texts(authorized_parties, "authorized_parties"))

    async def locate() -> str:
        return f"{root}/.well-known/jwks.json"

    return with_hook(ClerkUser(Verifier(KeyRing(locate), "RS256"), root, parties, now), on_sign_in)
