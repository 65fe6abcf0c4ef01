"""A JWT names its user only if the issuer signed it, for this app, and it is current. All else is nobody."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwe
from joserfc.jwk import Key
from starlette.responses import JSONResponse

from kavach_adapters import kavach_fastapi
from kavach_core import lazy_kavach
from kavach_core.api.hooks import ChecksConfig
from kavach_core.resolvers import jwt, oidc
from kavach_core.resolvers.fetch import FetchFailed
from tests.resolvers.support import AUDIENCE, EC, ED, OTHER_RSA, RSA, Issuer, oct_key, view

NOW = 2_000_000_000


def resolver(issuer: Issuer, **options: Any) -> ChecksConfig:
    given = {"jwks_url": f"{issuer.url}/jwks", "issuer": issuer.url, "audience": AUDIENCE, **options}
    return jwt(**given)


async def test_a_token_of_the_issuer_names_its_user(issuer: Issuer) -> None:
    for key, alg in ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")):
        assert await resolver(issuer)(view(bearer=issuer.token(key, alg))) == "alice", alg


CLAIMS: list[tuple[dict[str, Any], str | None]] = [
    ({}, "alice"),
    ({"iss": "https://evil.example"}, None),
    ({"iss": None}, None),
    ({"aud": "other-app"}, None),
    ({"aud": ["other-app", AUDIENCE]}, "alice"),
    ({"aud": [AUDIENCE, 1]}, None),
    ({"aud": None}, None),
    ({"sub": None}, None),
    ({"sub": ""}, None),
    ({"sub": 7}, None),
    ({"exp": None}, None),
    ({"exp": NOW - 59}, "alice"),
    ({"exp": NOW - 60}, None),
    ({"exp": str(NOW + 300)}, None),
    ({"exp": True}, None),
    ({"exp": float("nan")}, None),
    ({"exp": 10**400}, None),
    ({"nbf": NOW + 60}, "alice"),
    ({"nbf": NOW + 61}, None),
    ({"iat": NOW + 61}, None),
    ({"iat": "now"}, None),
]


async def test_the_claims_are_for_this_app_and_now(issuer: Issuer) -> None:
    resolve = resolver(issuer, now=lambda: NOW)
    for claims, user in CLAIMS:
        assert await resolve(view(bearer=issuer.token(**{"exp": NOW + 300, **claims}))) == user, claims


async def test_the_skew_is_a_setting(issuer: Issuer) -> None:
    token = issuer.token(exp=NOW - 1)
    assert await resolver(issuer, now=lambda: NOW, skew=0)(view(bearer=token)) is None


async def test_the_client_may_have_to_be_known(issuer: Issuer) -> None:
    resolve = resolver(issuer, authorized_parties=["web", "mobile"])
    assert await resolve(view(bearer=issuer.token(azp="mobile"))) == "alice"
    for claims in ({}, {"azp": "other"}, {"azp": ["web"]}):
        assert await resolve(view(bearer=issuer.token(**claims))) is None


async def test_another_claim_may_name_the_user_an_address_only_when_it_was_verified(issuer: Issuer) -> None:
    by_name, by_email = resolver(issuer, claim="username"), resolver(issuer, claim="email")
    assert await by_name(view(bearer=issuer.token(username="al"))) == "al"
    assert await by_name(view(bearer=issuer.token())) is None
    for verified, user in ((True, "a@example.com"), (False, None), ("true", None), (None, None)):
        token = issuer.token(email="a@example.com", email_verified=verified)
        assert await by_email(view(bearer=token)) == user


async def test_no_signature_is_none(issuer: Issuer) -> None:
    resolve, token = resolver(issuer), issuer.token()
    header, payload, signature = token.split(".")
    for alg in ("none", "None", "nOnE"):
        unsigned = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "rsa"}).encode()).decode().rstrip("=")
        for end in ("", signature):
            assert await resolve(view(bearer=f"{unsigned}.{payload}.{end}")) is None
    assert await resolve(view(bearer=f"{header}.{payload}.")) is None


async def test_a_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    """The confusion of RS256 and HS256: the public key, which everybody knows, as the key of an HMAC."""
    resolve = resolver(issuer)
    for secret in (
        RSA.as_pem(private=False),
        RSA.as_der(private=False),
        json.dumps(RSA.as_dict(private=False)).encode(),
    ):
        for alg in ("HS256", "HS512"):
            assert await resolve(view(bearer=issuer.token(oct_key(secret), alg))) is None


async def test_a_shared_key_in_a_public_set_is_not_used(issuer: Issuer) -> None:
    secret = oct_key(b"k" * 32)
    issuer.more = [{"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode(), "kid": "shared"}]
    forged = issuer.token(secret, "HS256", {"kid": "shared"})
    assert await resolver(issuer)(view(bearer=forged)) is None


async def test_the_key_is_the_issuers_whatever_the_token_says(issuer: Issuer) -> None:
    """`jku`, `jwk` and `x5u` in a token are an attacker's to write."""
    resolve = resolver(issuer)
    assert await resolve(view(bearer=issuer.token(OTHER_RSA))) is None
    asked = len(issuer.asked)
    for header in (
        {"jku": f"{issuer.url}/evil"},
        {"x5u": f"{issuer.url}/evil"},
        {"jwk": OTHER_RSA.as_dict(private=False)},
        {"jku": f"{issuer.url}/evil", "kid": "evil"},
    ):
        assert await resolve(view(bearer=issuer.token(OTHER_RSA, header=header))) is None
    assert not [path for path in issuer.asked[asked:] if path != "/jwks"]


HEADERS: list[tuple[Key, str, dict[str, Any], str | None]] = [
    (RSA, "RS512", {}, None),  # not in the list
    (RSA, "PS256", {}, None),
    (RSA, "RS256", {"kid": "ec"}, None),  # a key of another kind
    (RSA, "RS256", {"kid": "unknown"}, None),
    (RSA, "RS256", {"kid": None}, "alice"),
    (OTHER_RSA, "RS256", {"kid": None}, None),
    (RSA, "RS256", {"kid": ["rsa"]}, None),
    (RSA, "RS256", {"typ": None}, "alice"),
    (RSA, "RS256", {"typ": "at+jwt"}, "alice"),
    (RSA, "RS256", {"typ": "logout+jwt"}, None),
    (RSA, "RS256", {"cat": "anything"}, "alice"),
    (RSA, "RS256", {"crit": ["exp"], "exp": 1}, None),
    (RSA, "RS256", {"crit": ["b64"], "b64": True}, None),
]


async def test_the_header_is_taken_at_its_word_only_where_it_is_harmless(issuer: Issuer) -> None:
    resolve = resolver(issuer)
    for key, alg, header, user in HEADERS:
        assert await resolve(view(bearer=issuer.token(key, alg, header))) == user, header


async def test_the_algorithms_are_a_setting(issuer: Issuer) -> None:
    resolve = resolver(issuer, algorithms="PS256")
    assert await resolve(view(bearer=issuer.token(RSA, "PS256"))) == "alice"
    assert await resolve(view(bearer=issuer.token(RSA, "RS256"))) is None


async def test_a_key_is_used_for_what_the_set_says(issuer: Issuer) -> None:
    public = RSA.as_dict(private=False)
    issuer.keys = []
    for said, user in (
        ({}, "alice"),
        ({"use": "enc"}, None),
        ({"key_ops": ["encrypt"]}, None),
        ({"alg": "RS512"}, None),
        ({"alg": "RS256", "use": "sig", "key_ops": ["verify"]}, "alice"),
    ):
        issuer.more = [{**public, **said}]
        assert await resolver(issuer)(view(bearer=issuer.token())) == user, said


async def test_keys_that_are_not_understood_do_not_hide_others(issuer: Issuer) -> None:
    issuer.more = [{"kty": "AKP", "kid": "rsa"}, {"kty": "RSA", "kid": "x", "n": "!", "e": 1}, {}, "text"]  # type: ignore[list-item]
    odd = ({"key_ops": None}, {"key_ops": 5}, {"key_ops": "verify"}, {"kty": []}, {"kty": None})
    issuer.more += [{**RSA.as_dict(private=False), "kid": "x", **each} for each in odd]
    issuer.keys, issuer.more = [], [*issuer.more, RSA.as_dict(private=False)]
    assert await resolver(issuer)(view(bearer=issuer.token())) == "alice"


async def test_what_is_no_token_is_nobody(issuer: Issuer) -> None:
    resolve, good = resolver(issuer), issuer.token()
    nested = base64.urlsafe_b64encode(b"[" * 3000).decode()
    encrypted = jwe.encrypt_compact({"alg": "RSA-OAEP", "enc": "A128GCM", "kid": "rsa"}, good, RSA)
    for text in (
        "x",
        ".",
        "..",
        "a.b.c",
        good[:-4],
        good + "x",
        good + ".x",
        f"{nested}.a.b",
        "é",
        encrypted,
        "x" * 100_000,
    ):
        assert await resolve(view(("session", text))) is None
        if text.isascii():
            assert await resolve(view(bearer=text)) is None
    tampered = good.split(".")
    tampered[1] = base64.urlsafe_b64encode(b'{"sub":"bob"}').decode().rstrip("=")
    assert await resolve(view(bearer=".".join(tampered))) is None


async def test_a_cookie_counts_where_it_is_named_and_no_header_speaks(issuer: Issuer) -> None:
    plain, resolve = resolver(issuer), resolver(issuer, cookie="session")
    good, mallory = issuer.token(), issuer.token(sub="mallory")
    assert await plain(view(("session", good))) is None
    assert await resolve(view(("session", good))) == "alice"
    assert await resolve(view(("session", good), bearer="bad")) is None
    assert await resolve(view(("session", "bad"), ("session", good))) == "alice"
    assert await resolve(view(("session", issuer.token(jti="2")), ("session", good))) == "alice"
    assert await resolve(view(("session", mallory), ("session", good))) is None, "which is whose cannot be told"
    assert await resolve(view(*[("session", f"bad{n}") for n in range(4)], ("session", good))) is None


async def test_discovery_finds_the_keys_in_either_place(issuer: Issuer) -> None:
    for at in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        issuer.at = at
        resolve = oidc(issuer=issuer.url, audience=AUDIENCE)
        assert issuer.asked[-1:] != ["/jwks"] or at.endswith("server"), "nothing is asked before the first token"
        assert await resolve(view(bearer=issuer.token())) == "alice"
        assert issuer.asked[-2:] == [at, "/jwks"]


NOT_ITS_DOCUMENT: list[dict[str, Any]] = [
    {"issuer": "https://evil.example"},
    {"issuer": None},
    {"jwks_uri": None},
    {"jwks_uri": "http://keys.example/jwks"},
    {"jwks_uri": "file:///etc/passwd"},
]


async def test_a_document_of_another_issuer_is_no_document(issuer: Issuer) -> None:
    for issuer.document in NOT_ITS_DOCUMENT:
        with pytest.raises(FetchFailed):
            await oidc(issuer=issuer.url, audience=AUDIENCE)(view(bearer=issuer.token()))
    assert "/jwks" not in issuer.asked


async def test_the_issuer_is_compared_to_the_letter(issuer: Issuer) -> None:
    """A trailing slash makes another issuer, in its document and in tokens."""
    with pytest.raises(FetchFailed):
        await oidc(issuer=f"{issuer.url}/", audience=AUDIENCE)(view(bearer=issuer.token()))
    issuer.document = {"issuer": f"{issuer.url}/"}
    resolve = oidc(issuer=f"{issuer.url}/", audience=AUDIENCE)
    assert await resolve(view(bearer=issuer.token(iss=f"{issuer.url}/"))) == "alice"
    assert await resolve(view(bearer=issuer.token())) is None


async def test_a_bad_bearer_is_401_and_an_issuer_that_is_away_503(issuer: Issuer, sqlite_database: str) -> None:
    get_kavach = lazy_kavach(database=sqlite_database)
    app = FastAPI()
    app.include_router(kavach_fastapi(get_kavach, resolve_user=resolver(issuer)).router, prefix="/api/kavach")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:

        async def agents(token: str) -> tuple[int, str | None]:
            answer = await client.get("/api/kavach/agents", headers={"authorization": f"Bearer {token}"})
            return answer.status_code, None if answer.is_success else answer.json()["error"]["code"]

        issuer.answer = JSONResponse({"error": "down"}, status_code=500)
        assert await agents(issuer.token()) == (503, "RESOLVER_FAILED")
        assert await agents("not-a-token") == (401, "UNKNOWN_CREDENTIAL")
    await get_kavach.close()
