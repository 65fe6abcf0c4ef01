"""Clerk's session tokens and webhooks, as its own packages make and accept them (fixtures/clerk.json)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from kavach_core.api.hooks import ChecksConfig
from kavach_core.errors import ConfigurationError, InvalidInput, Unauthenticated
from kavach_core.resolvers import clerk, clerk_webhook, jwks
from kavach_core.resolvers.fetch import get_json
from tests.resolvers.support import OTHER_RSA, Issuer, config, recorded, view

MADE = recorded("clerk")
PARTY = "https://app.example"


def resolver(issuer: Issuer, *, base_url: str | None = PARTY, **options: Any) -> ChecksConfig:
    settings = options.pop("settings", {})
    resolve = clerk(issuer=issuer.url, **options)
    resolve.check_config(config(base_url, **settings))
    return resolve


def session_token(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(**{"sid": "sess_test", **claims})


async def test_a_token_that_clerks_own_verifier_accepts_names_its_user(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its issuer is no host that answers: what would be read from there is read from the one of the test."""
    issuer.answer = JSONResponse(MADE["jwks"])
    monkeypatch.setattr(jwks, "get_json", lambda url: get_json(url.replace(MADE["issuer"], issuer.url)))
    resolve = clerk(issuer=MADE["issuer"], now=lambda: MADE["at"])
    resolve.check_config(config(MADE["party"]))
    assert await resolve(view(bearer=MADE["token"])) == "user_alice"
    assert await resolve(view(("__session", MADE["token"]))) == "user_alice"
    assert issuer.asked == ["/.well-known/jwks.json"]


async def test_it_is_read_from_the_header_or_the_cookie(issuer: Issuer) -> None:
    resolve, token = resolver(issuer), session_token(issuer, azp=PARTY, header={"cat": "cl_B7d4PD111AAA"})
    assert issuer.asked == []
    assert await resolve(view(bearer=token)) == "alice"
    assert await resolve(view(("__session", token))) == "alice"
    assert await resolve(view(("__session", token), bearer="x")) is None
    assert await resolve(view()) is None
    assert set(issuer.asked) == {"/.well-known/jwks.json"}


async def test_the_page_that_asked_for_it_is_one_of_the_apps(issuer: Issuer) -> None:
    """Clerk's cookie reaches every subdomain; what one of them asked for is not for this app."""
    everyone = ("https://app.example", "https://admin.example", "https://evil.example", "http://localhost:3000", None)
    for options, allowed in (
        ({}, {"https://app.example"}),
        (
            {"settings": {"allowed_origins": ["https://admin.example"]}},
            {"https://app.example", "https://admin.example"},
        ),
        ({"authorized_parties": ["https://admin.example"]}, {"https://admin.example"}),
        ({"base_url": None}, {"http://localhost:3000"}),
    ):
        resolve = resolver(issuer, **options)
        named = {azp for azp in everyone if await resolve(view(bearer=session_token(issuer, azp=azp))) == "alice"}
        assert named == allowed


async def test_without_parties_or_settings_it_names_nobody(issuer: Issuer) -> None:
    with pytest.raises(ConfigurationError):
        await clerk(issuer=issuer.url)(view(bearer=session_token(issuer, azp=PARTY)))


async def test_a_token_is_current_to_five_seconds(issuer: Issuer) -> None:
    now = 2_000_000_000
    resolve = resolver(issuer, now=lambda: now)
    for claims, user in (
        ({"exp": now - 4}, "alice"),
        ({"exp": now - 5}, None),
        ({"exp": now + 60, "nbf": now + 5}, "alice"),
        ({"exp": now + 60, "nbf": now + 6}, None),
    ):
        assert await resolve(view(bearer=session_token(issuer, azp=PARTY, **claims))) == user, claims


async def test_it_is_clerks_own_and_of_a_session_that_is_complete(issuer: Issuer) -> None:
    resolve = resolver(issuer)
    for changed, user in (
        ({"sts": "active"}, "alice"),
        ({"sts": "pending"}, None),
        ({"iss": "https://clerk.evil.example"}, None),
        ({"key": OTHER_RSA}, None),
        ({"alg": "PS256"}, None),
        ({"sub": None}, None),
        ({"sid": None, "aud": None}, "alice"),
        ({"sid": None, "aud": "another-service"}, None),  # what a JWT template makes for a service that is not this app
    ):
        assert await resolve(view(bearer=session_token(issuer, azp=PARTY, **changed))) == user, changed


class Hook:
    def __init__(self) -> None:
        self.called: list[str] = []
        self.failing = False

    async def __call__(self, owner_id: str) -> None:
        self.called.append(owner_id)
        if self.failing:
            raise RuntimeError("the app's database is away")


@pytest.fixture
def hook() -> Hook:
    return Hook()


def webhook(hook: Hook, *, at: float = MADE["at"], secret: str = MADE["signingSecret"]) -> Any:
    return clerk_webhook(secret=secret, on_sign_in=hook, now=lambda: at)


def sent(name: str = "created", **changed: str) -> tuple[dict[str, str], bytes]:
    """A recorded webhook, with headers changed."""
    made = MADE["webhooks"][name]
    return {**made["headers"], **{f"svix-{part}": value for part, value in changed.items()}}, made["body"].encode()


async def test_a_created_user_signs_in(hook: Hook) -> None:
    assert await webhook(hook)(*sent()) == "user_alice"
    assert hook.called == ["user_alice"]


async def test_other_events_are_taken_and_nothing_happens(hook: Hook) -> None:
    assert await webhook(hook)(*sent("deleted")) is None
    assert hook.called == []


async def test_the_signature_is_over_id_time_and_body(hook: Hook) -> None:
    headers, body = sent()
    handler = webhook(hook)
    good = headers["svix-signature"]
    stamp = int(headers["svix-timestamp"])
    for changed in (
        sent(id="msg_other"),
        sent(id=""),
        sent(timestamp=str(stamp + 1)),
        sent(timestamp=""),
        sent(timestamp=f"{stamp}.0"),
        sent(timestamp="1" * 400),
        sent(signature=""),
        sent(signature=good.removeprefix("v1,")),
        sent(signature=good.replace("v1,", "v2,")),
        sent(signature=good[:-4] + "AAA="),
        sent(signature="v1,é"),
        (headers, body + b" "),
        ({}, body),
    ):
        with pytest.raises(Unauthenticated):
            await handler(*changed)
    with pytest.raises(Unauthenticated):
        await webhook(hook, secret="whsec_" + base64.b64encode(b"o" * 32).decode())(*sent())
    assert hook.called == []


async def test_one_of_several_signatures_is_enough(hook: Hook) -> None:
    good = sent()[0]["svix-signature"]
    await webhook(hook)(*sent(signature=f"v1,{'A' * 43}= v1a,other {good}"))
    assert hook.called == ["user_alice"]


async def test_a_webhook_is_of_the_last_five_minutes(hook: Hook) -> None:
    sent_at = int(sent()[0]["svix-timestamp"])
    for away in (-301, 301):
        with pytest.raises(Unauthenticated):
            await webhook(hook, at=sent_at + away)(*sent())
    for away in (-300, 300):
        await webhook(hook, at=sent_at + away)(*sent())


async def test_a_failing_hook_is_clerks_to_send_again(hook: Hook) -> None:
    hook.failing = True
    with pytest.raises(RuntimeError):
        await webhook(hook)(*sent())
    hook.failing = False
    assert await webhook(hook)(*sent()) == "user_alice"


async def test_what_names_nobody_is_refused(hook: Hook) -> None:
    key = b"k" * 32
    handler = webhook(hook, secret="whsec_" + base64.b64encode(key).decode())
    for body in (b"x", b"[]", b'{"type":"user.created"}', b'{"type":"user.created","data":{"id":7}}'):
        stamp = str(MADE["at"])
        digest = hmac.digest(key, b"m." + stamp.encode() + b"." + body, hashlib.sha256)
        headers = {"svix-id": "m", "svix-timestamp": stamp, "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}
        with pytest.raises(InvalidInput):
            await handler(headers, body)


async def test_it_is_one_line_of_a_route(hook: Hook) -> None:
    app, handler = FastAPI(), webhook(hook)

    @app.post("/webhooks/clerk", status_code=204)
    async def take(request: Request) -> None:
        await handler(request.headers, await request.body())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        headers, body = sent()
        named = {name.title(): value for name, value in headers.items()}
        assert (await client.post("/webhooks/clerk", headers=named, content=body)).status_code == 204
    assert hook.called == [json.loads(body)["data"]["id"]]
