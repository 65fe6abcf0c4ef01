"""Humans by the JWT of an issuer: `oidc` finds its keys by discovery, `jwt` is told where they are (RFC 7519)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError
from kavach_core.resolvers.checks import cookie_name, require, require_extra, secure_url, text, texts
from kavach_core.resolvers.claims import Claims, Expected, Now, user_of
from kavach_core.resolvers.fetch import FetchFailed, get_json
from kavach_core.resolvers.jwks import KeyRing
from kavach_core.resolvers.on_sign_in import SignInHook, with_hook
from kavach_core.resolvers.presented import sole_user, tokens_of

#: Signatures by a key pair. With a shared key (HS*) whoever can verify can also sign, and `none` is no signature.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
_DEFAULT: Final = ("RS256", "ES256", "EdDSA", "Ed25519")


class Verifier:
    """Opens tokens that the keys of an issuer have signed. What the claims say is for its caller to check."""

    def __init__(self, keys: KeyRing, algorithms: str | Sequence[str]) -> None:
        """Raises `ConfigurationError` for an algorithm that is unknown or needs a shared secret."""
        require_extra()
        self._keys = keys
        self._algorithms = frozenset(texts(algorithms, "algorithms"))
        require(self._algorithms <= ALGORITHMS, f"algorithms are some of {', '.join(sorted(ALGORITHMS))}.")

    async def claims_of(self, token: str) -> Claims | None:
        """Return the claims of a token, or None for no token, an algorithm not allowed, or another's signature.

        Raises `FetchFailed` while the keys cannot be read.
        """
        from kavach_core.resolvers import jose

        header = jose.header_of(token)
        if header is None or header.alg not in self._algorithms:
            return None
        return jose.verify(token, await self._keys.matching(header.kid), header.alg)


class JwtUser(ChecksConfig):
    """The user of a bearer token, or of a cookie that holds one."""

    def __init__(self, verifier: Verifier, expected: Expected, *, cookie: str | None, now: Now) -> None:
        self._verifier = verifier
        self._expected = expected
        self._cookie = cookie
        self._now = now

    def check_config(self, config: Config) -> None:
        """Nothing in Kavach's settings speaks against it."""

    async def __call__(self, view: View) -> str | None:
        return await sole_user(tokens_of(view, self._cookie), self._user)

    async def _user(self, token: str) -> str | None:
        claims = await self._verifier.claims_of(token)
        return None if claims is None else user_of(claims, self._expected, self._now())


def jwt(
    *,
    jwks_url: str,
    issuer: str,
    audience: str | Sequence[str],
    algorithms: str | Sequence[str] = _DEFAULT,
    authorized_parties: Sequence[str] | None = None,
    claim: str = "sub",
    cookie: str | None = None,
    skew: float = 60.0,
    on_sign_in: SignInHook | None = None,
    now: Now = time.time,
) -> ChecksConfig:
    """Use as `resolve_user=` with the tokens of an issuer whose key set is at `jwks_url`.

    Args:
        issuer: what `iss` must be, to the letter.
        audience: what `aud` must hold: this app, as the issuer knows it; of several, one.
        algorithms: which signatures count.
        authorized_parties: which clients may have asked for the token (`azp`); left out, any.
        claim: names the user. With `email`, only where `email_verified` is true.
        cookie: look for the token here too, where no `Authorization` header speaks.
        skew: seconds that the issuer's clock and this one may differ.
        on_sign_in: called at the first sight of each user, as `resolvers.on_sign_in` says.

    Raises `ConfigurationError` for anything missing, an algorithm with a shared key, or http off localhost.
    """
    url = secure_url(jwks_url, "jwks_url")

    async def locate() -> str:
        return url

    expected = _expected(issuer, audience, authorized_parties, claim, skew)
    user = JwtUser(Verifier(KeyRing(locate), algorithms), expected, cookie=cookie_name(cookie), now=now)
    return with_hook(user, on_sign_in)


def oidc(
    *,
    issuer: str,
    audience: str | Sequence[str],
    algorithms: str | Sequence[str] = _DEFAULT,
    authorized_parties: Sequence[str] | None = None,
    claim: str = "sub",
    cookie: str | None = None,
    skew: float = 60.0,
    on_sign_in: SignInHook | None = None,
    now: Now = time.time,
) -> ChecksConfig:
    """Like `jwt`, for an issuer that publishes where its keys are (OpenID Connect Discovery, RFC 8414).

    Raises `ConfigurationError` for anything missing, an algorithm with a shared key, or http off localhost.
    """
    keys = KeyRing(_discovery(secure_url(issuer, "issuer")))
    expected = _expected(issuer, audience, authorized_parties, claim, skew)
    user = JwtUser(Verifier(keys, algorithms), expected, cookie=cookie_name(cookie), now=now)
    return with_hook(user, on_sign_in)


def _expected(
    issuer: str, audience: str | Sequence[str], parties: Sequence[str] | None, claim: str, skew: float
) -> Expected:
    require(0 <= skew <= 600, "skew lies between 0 and 600 seconds.")
    allowed = None if parties is None else frozenset(texts(parties, "authorized_parties"))
    return Expected(
        issuer=text(issuer, "issuer"),
        audience=texts(audience, "audience"),
        is_party=None if allowed is None else allowed.__contains__,
        skew=skew,
        claim=text(claim, "claim"),
    )


def _discovery(issuer: str) -> Callable[[], Awaitable[str]]:
    """Finds the key set of an issuer by its document, whose `issuer` must be the same to the letter."""

    async def locate() -> str:
        document = await _document(issuer)
        found = cast("dict[str, object]", document) if isinstance(document, dict) else {}
        if found.get("issuer") != issuer:
            raise FetchFailed(issuer, "publishes a document of another issuer")
        try:
            return secure_url(str(found.get("jwks_uri")), "jwks_uri")
        except ConfigurationError as error:
            raise FetchFailed(issuer, "publishes no jwks_uri that may be asked") from error

    return locate


async def _document(issuer: str) -> object:
    """The OpenID Connect document, or where there is none that of RFC 8414, section 3.1."""
    try:
        return await get_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    except FetchFailed as error:
        if error.status != 404:
            raise
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return await get_json(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}")
