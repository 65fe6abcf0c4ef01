"""Humans signed in with Auth.js (or NextAuth.js 4): its encrypted session cookie, opened with the app's own secret.

This is for sessions of the strategy `jwt`, the default without a database adapter. Such a session cannot be ended
before its time; it lasts for the `maxAge` that Auth.js was given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Literal

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError
from kavach_core.resolvers.checks import cookie_name, require_extra, secrets, text
from kavach_core.resolvers.claims import Expected, Now, user_of
from kavach_core.resolvers.on_sign_in import SignInHook, with_hook
from kavach_core.resolvers.presented import cookies_of, sole_user

_SECURE: Final = "__Secure-"
#: A session that needs more cookies than this is none.
_MOST_CHUNKS: Final = 16
#: What Auth.js itself allows clocks to differ, in seconds.
_SKEW: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """How a major version names, derives and encrypts."""

    cookie: str
    enc: str
    key_bytes: int
    #: From the name of the cookie to salt and info of HKDF.
    derivation: Callable[[str], tuple[str, str]]


_VERSIONS: Final = {
    5: _Version(
        cookie="authjs.session-token",
        enc="A256CBC-HS512",
        key_bytes=64,
        derivation=lambda name: (name, f"Auth.js Generated Encryption Key ({name})"),
    ),
    4: _Version(
        cookie="next-auth.session-token",
        enc="A256GCM",
        key_bytes=32,
        derivation=lambda name: ("", "NextAuth.js Generated Encryption Key"),
    ),
}


class AuthjsUser(ChecksConfig):
    """The user of an Auth.js session cookie, whole or in chunks."""

    def __init__(self, secrets: Sequence[str], version: _Version, cookie: str | None, claim: str, now: Now) -> None:
        require_extra()
        self._secrets = tuple(secrets)
        self._version = version
        #: Both names, until the settings say that the app is on https.
        self._names = (f"{_SECURE}{version.cookie}", version.cookie) if cookie is None else (cookie,)
        self._is_default = cookie is None
        self._expected = Expected(skew=_SKEW, claim=claim)
        self._now = now

    def check_config(self, config: Config) -> None:
        """On https only the `__Secure-` cookie counts: the other one could have been set by a page without it."""
        if self._is_default and config.is_https:
            self._names = (f"{_SECURE}{self._version.cookie}",)

    async def __call__(self, view: View) -> str | None:
        for name in self._names:
            sessions = list(_sessions(view, name))
            if sessions:
                return await sole_user(sessions, partial(self._user, name))
        return None

    async def _user(self, cookie: str, session: str) -> str | None:
        from kavach_core.resolvers import jose

        header = jose.header_of(session)
        if header is None:
            return None
        for secret in self._secrets:
            key = derived(secret, *self._version.derivation(cookie), self._version.key_bytes)
            if header.kid in (None, jose.key_id(key)):
                claims = jose.decrypt(session, key, self._version.enc)
                if claims is not None:
                    return user_of(claims, self._expected, self._now())
        return None


def authjs(
    *,
    secret: str | Sequence[str],
    version: Literal[4, 5] = 5,
    cookie: str | None = None,
    claim: str = "sub",
    on_sign_in: SignInHook | None = None,
    now: Now = time.time,
) -> ChecksConfig:
    """Use as `resolve_user=authjs(secret=os.environ["AUTH_SECRET"])`; the user's id (`sub`) is the owner.

    Args:
        secret: Auth.js's own, or several, newest first.
        version: 5 for Auth.js (`next-auth` 5, `@auth/*`), 4 for `next-auth` 4.
        cookie: the session cookie's name, if the app has changed it; it is part of the key.
        claim: names the user.
        on_sign_in: called at the first sight of each user, as `resolvers.on_sign_in` says.

    Raises `ConfigurationError` without a secret of 16 characters or more.
    """
    known = _VERSIONS.get(version)
    if known is None:
        raise ConfigurationError("version is 4 or 5.")
    user = AuthjsUser(secrets(secret), known, cookie_name(cookie), text(claim, "claim"), now)
    return with_hook(user, on_sign_in)


def _sessions(view: View, name: str) -> Iterator[str]:
    """The sessions that a request holds under this name: whole ones, and one put together from its chunks."""
    yield from cookies_of(view, name)
    chunks = _chunks(view, name)
    if chunks:
        yield "".join(chunks)


def _chunks(view: View, name: str) -> list[str]:
    """The chunks of a session, by number; none if one has two values, which cannot be told apart."""
    chunks: list[str] = []
    for number in range(_MOST_CHUNKS):
        values = cookies_of(view, f"{name}.{number}")
        if not values:
            return chunks
        if len(values) > 1:
            return []
        chunks += values
    return []


@cache
def derived(secret: str, salt: str, info: str, length: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869). Cached: the arguments are the app's settings and nothing that a request says."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt.encode(), info.encode()).derive(secret.encode())
