"""Humans signed in with better-auth: its signed session cookie, looked up where the sessions are, and its JWT plugin.

The session is looked up on every request, so one that ended is nobody at once; better-auth's cookie cache is not used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.resolvers import checks
from kavach_core.resolvers.checks import require, require_extra, secure_url
from kavach_core.resolvers.claims import Now
from kavach_core.resolvers.fetch import FetchFailed, get_json
from kavach_core.resolvers.jwt import jwt
from kavach_core.resolvers.on_sign_in import SignInHook, with_hook
from kavach_core.resolvers.presented import cookies_of, sole_user

#: From a session's token, as it is in better-auth's table, to the id of its user; None if it is not live.
FindSession = Callable[[str], Awaitable[str | None]]

_SECURE: Final = "__Secure-"
_COOKIE: Final = "better-auth.session_token"
_LONGEST_COOKIE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCookie:
    """A cookie whose signature holds."""

    name: str
    token: str
    signature: str

    @property
    def pair(self) -> str:
        """As it travels in a `Cookie` header."""
        return f"{self.name}={quote(f'{self.token}.{self.signature}', safe='')}"


class BetterAuthUser(ChecksConfig):
    """The user of a session cookie that better-auth has signed; of a bearer, what `by_bearer` makes of it."""

    def __init__(
        self,
        secrets: Sequence[str],
        look_up: Callable[[SignedCookie], Awaitable[str | None]],
        *,
        cookie: str | None,
        by_bearer: ChecksConfig | None,
    ) -> None:
        self._secrets = tuple(secrets)
        self._look_up = look_up
        #: Both names, until the settings say that the app is on https.
        self._names = (f"{_SECURE}{_COOKIE}", _COOKIE) if cookie is None else (cookie,)
        self._is_default = cookie is None
        self._by_bearer = by_bearer

    def check_config(self, config: Config) -> None:
        """On https only the `__Secure-` cookie counts: the other one could have been set by a page without it."""
        if self._is_default and config.is_https:
            self._names = (f"{_SECURE}{_COOKIE}",)

    async def __call__(self, view: View) -> str | None:
        if view.all("authorization"):
            return None if self._by_bearer is None else await self._by_bearer(view)
        for name in self._names:
            cookies = cookies_of(view, name)
            if cookies:
                return await sole_user(cookies, partial(self._user, name))
        return None

    async def _user(self, name: str, value: str) -> str | None:
        cookie = signed_cookie(name, value, self._secrets)
        return None if cookie is None else await self._look_up(cookie)


def better_auth(
    *,
    secret: str | Sequence[str],
    url: str | None = None,
    find_session: FindSession | None = None,
    jwt_plugin: bool = False,
    jwt_issuer: str | None = None,
    cookie: str | None = None,
    on_sign_in: SignInHook | None = None,
    now: Now = time.time,
) -> ChecksConfig:
    """Use as `resolve_user=better_auth(secret=..., url="https://app.example/api/auth")`; the user's id is the owner.

    Args:
        secret: better-auth's own, or several, newest first.
        url: where its routes are. Its `/get-session` is asked on every request that has a well-signed cookie.
        find_session: asked in its place, where the app can read the table of sessions: `token -> user id | None`.
        jwt_plugin: accept the tokens of its JWT plugin as bearers, by the key set at `/jwks`.
        jwt_issuer: `iss` and `aud` of these tokens, if they are not the origin of `url`.
        cookie: the session cookie's name, if the app has changed it.
        on_sign_in: called at the first sight of each user, as `resolvers.on_sign_in` says.

    Raises `ConfigurationError` without a secret of 16 characters or more, with both or neither of `url` and
    `find_session`, or for a plugin without a `url`.
    """
    secrets, name = checks.secrets(secret), checks.cookie_name(cookie)
    require((url is None) != (find_session is None), "better_auth needs either url or find_session.")
    require(url is not None or not jwt_plugin, "jwt_plugin needs url, where its keys are.")
    require(jwt_plugin or jwt_issuer is None, "jwt_issuer is part of jwt_plugin=True.")
    root = None if url is None else _root(url)
    user = BetterAuthUser(
        secrets,
        _asking(root) if find_session is None else _finding(find_session),
        cookie=name,
        by_bearer=_plugin(root, jwt_issuer, now) if root is not None and jwt_plugin else None,
    )
    return with_hook(user, on_sign_in)


def signed_cookie(name: str, value: str, secrets: Sequence[str]) -> SignedCookie | None:
    """Return a cookie whose HMAC-SHA256 one of the secrets made, or None. It does not say that the session lives."""
    if len(value) > _LONGEST_COOKIE:
        return None
    token, _, signature = unquote(value).rpartition(".")
    given = signature.encode()
    for secret in secrets:
        made = base64.b64encode(hmac.digest(secret.encode(), token.encode(), hashlib.sha256))
        if token and hmac.compare_digest(made, given):
            return SignedCookie(name=name, token=token, signature=signature)
    return None


def _finding(find_session: FindSession) -> Callable[[SignedCookie], Awaitable[str | None]]:
    return lambda cookie: find_session(cookie.token)


def _asking(root: str | None) -> Callable[[SignedCookie], Awaitable[str | None]]:
    """Asks better-auth itself, with the session's cookie and no other: from its table, and without prolonging it."""
    where = f"{root}/get-session?disableCookieCache=true&disableRefresh=true"

    async def look_up(cookie: SignedCookie) -> str | None:
        answer = await get_json(where, headers={"cookie": cookie.pair})
        if answer is None:
            return None
        match answer:
            case {"session": {"token": cookie.token, "userId": str(user_id)}}:
                return user_id
            case _:
                raise FetchFailed(where, "answers with something else than this session")

    return look_up


def _plugin(root: str, issuer: str | None, now: Now) -> ChecksConfig:
    parts = urlsplit(root)
    who = issuer or f"{parts.scheme}://{parts.netloc}"
    return jwt(jwks_url=f"{root}/jwks", issuer=who, audience=who, algorithms=("EdDSA", "Ed25519"), now=now)


def _root(url: str) -> str:
    require_extra()
    return secure_url(url, "url").rstrip("/")
