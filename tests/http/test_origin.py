"""No foreign page acts for a signed-in human: unsafe requests prove where they come from, and bodies are JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.http.conftest import ONE_FRAMEWORK
from tests.http.world import ORIGIN, OpenWorld, World, bearer, error_of

REFUSED = (403, "ORIGIN_REFUSED")
AGENT = {"name": "x", "permissions": []}


async def resolve_user(view: Any) -> str | None:
    """A human by a cookie of the app's own."""
    return "alice" if view.cookies("app_session") else None


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world(resolve_user=resolve_user, grantable=["*:*"])


PROOFS: list[tuple[dict[str, str], bool]] = [
    ({"origin": "https://evil.example"}, False),
    ({"origin": ORIGIN}, True),
    ({"origin": "http://127.0.0.1:3000"}, True),
    ({"origin": "http://localhost.evil.example"}, False),
    ({"origin": "http://localhost:8000.evil.com"}, False),
    ({"origin": "http://localhost:"}, False),
    ({"origin": "http://localhost:8000/path"}, False),
    ({"origin": "https://localhost"}, False),
    ({"origin": ""}, False),
    ({"origin": "null"}, False),
    ({"origin": "null", "sec-fetch-site": "same-origin"}, True),
    ({"origin": "null", "sec-fetch-site": "cross-site"}, False),
    ({"sec-fetch-site": "same-origin"}, True),
    ({"sec-fetch-site": "same-site"}, False),
    ({"sec-fetch-site": "none"}, False),
    ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
    ({"sec-fetch-mode": "navigate", "referer": ORIGIN}, False),
    ({"sec-fetch-dest": "document", "host": "localhost:8000", "x-forwarded-host": "evil.example"}, False),
]


async def test_an_unsafe_request_of_a_browser_proves_that_it_comes_from_the_app(world: World) -> None:
    session = {"cookie": (await world.browser())["cookie"]}
    for proof, passes in PROOFS:
        before = len(await world.kavach.agents.list())
        for human in (session, {"cookie": "app_session=1"}):
            made = await world.call("POST", "/agents", {**human, **proof}, json=AGENT)
            own = [await world.visit("POST", path, {**human, **proof}) for path in ("/me", "/whoami")]
            if passes:
                assert [made.status_code, *(answer.status_code for answer in own)] == [201, 200, 200], proof
            else:
                assert [error_of(answer) for answer in (made, *own)] == [REFUSED] * 3, proof
        assert len(await world.kavach.agents.list()) - before == (2 if passes else 0), proof


async def test_a_program_that_keeps_cookies_sends_json_and_says_nothing_of_a_page(world: World) -> None:
    """A page of another site may send JSON only after a preflight, and browsers name its origin with what follows."""
    human = {"cookie": "app_session=1"}
    for headers, status in (
        ({"content-type": "application/json"}, 200),
        ({"content-type": "Application/JSON; charset=utf-8"}, 200),
        ({}, 403),
        ({"content-type": "text/plain"}, 403),
        ({"content-type": "application/x-www-form-urlencoded"}, 403),
        ({"content-type": "text/plain;application/json"}, 403),
        ({"content-type": "application/json", "origin": "https://evil.example"}, 403),
        ({"content-type": "application/json", "origin": "null"}, 403),
        ({"content-type": "application/json", "sec-fetch-site": "none"}, 403),
        ({"content-type": "application/json", "sec-fetch-mode": "no-cors"}, 403),
    ):
        assert (await world.visit("POST", "/me", {**human, **headers})).status_code == status, headers
    twice = [("cookie", "app_session=1"), ("content-type", "text/plain"), ("content-type", "application/json")]
    assert error_of(await world.client.post("/me", headers=twice)) == REFUSED


async def test_a_page_opened_by_the_address_of_this_machine_is_told_the_name(open_world: OpenWorld) -> None:
    world = await open_world(resolve_user=resolve_user, base_url="http://localhost:8000")
    for origin, is_told in (
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://evil.example", False),
        ("http://[", False),
    ):
        for path, caller in (("/agents", {"cookie": "app_session=1"}), ("/passkey/sign-in/begin", {})):
            refused = await world.call("POST", path, {**caller, "origin": origin}, json={})
            assert error_of(refused) == REFUSED
            assert ("Open this page as http://localhost:8000" in refused.json()["error"]["message"]) is is_told, origin


async def test_two_origins_are_none(world: World) -> None:
    for second in (ORIGIN, "https://evil.example"):
        headers = [("cookie", "app_session=1"), ("origin", ORIGIN), ("origin", second)]
        assert error_of(await world.client.post("/me", headers=headers)) == REFUSED


async def test_safe_requests_need_no_origin(world: World) -> None:
    for proof in ({}, {"origin": "https://evil.example"}):
        assert (await world.call("GET", "/agents", {"cookie": "app_session=1", **proof})).status_code == 200
        assert (await world.visit("GET", "/me", {"cookie": "app_session=1", **proof})).status_code == 200


async def test_who_comes_by_authorization_is_exempt(world: World) -> None:
    agent = await world.agent()
    for caller in (await world.human(), await world.service(), bearer(agent.token)):
        for proof in ({}, {"origin": "https://evil.example"}):
            assert (await world.visit("POST", "/whoami", {**caller, **proof})).status_code == 200
    made = await world.call("POST", "/agents", await world.human(), json=AGENT)
    assert made.status_code == 201


@ONE_FRAMEWORK
@pytest.mark.parametrize(
    ("settings", "allowed", "refused"),
    [
        (
            {"base_url": "https://app.example", "secret": "s" * 32},
            ["https://app.example"],
            ["http://app.example", "https://app.example.evil", "https://www.app.example", "http://localhost:8000"],
        ),
        (
            {"base_url": "https://app.example", "secret": "s" * 32, "allowed_origins": ["https://www.app.example"]},
            ["https://app.example", "https://www.app.example"],
            ["https://app.example:8443"],
        ),
        (
            {"base_url": ORIGIN, "allowed_origins": ["https://preview.example"]},
            ["https://preview.example", ORIGIN],
            ["https://x.example", "http://localhost:3000"],
        ),
    ],
    ids=["base_url", "both", "allowed_origins"],
)
async def test_the_origins_are_those_of_the_configuration(
    open_world: OpenWorld, settings: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    world = await open_world(resolve_user=resolve_user, **settings)
    for origin in allowed + refused:
        answer = await world.visit("POST", "/me", {"cookie": "app_session=1", "origin": origin})
        assert answer.status_code == (200 if origin in allowed else 403), origin


async def test_a_body_that_a_form_could_send_is_415_from_a_browser(world: World) -> None:
    human = {"cookie": "app_session=1", "origin": ORIGIN}
    body = json.dumps(AGENT).encode()
    for media_type, status in (
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("text/plain, application/json", 415),
        ("", 415),
        (None, 415),
    ):
        given = human if media_type is None else {**human, "content-type": media_type}
        for content in (body, _pieces(body)):
            answer = await world.call("POST", "/agents", given, content=content)
            assert answer.status_code == status, media_type
            if status == 415:
                assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
        # By Authorization it is the caller's business.
        assert (await world.call("POST", "/agents", {**await world.human(), **given}, json=AGENT)).status_code == 201


async def test_a_body_without_any_declared_length_counts_too(world: World) -> None:
    """HTTP/2 needs neither Content-Length nor Transfer-Encoding."""
    sent: list[dict[str, Any]] = []

    ended = asyncio.Event()
    messages = [{"type": "http.request", "body": json.dumps(AGENT).encode()}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ended.set()

    headers = [(b"cookie", b"app_session=1"), (b"origin", ORIGIN.encode()), (b"content-type", b"text/plain")]
    scope = {"type": "http", "http_version": "2", "method": "POST", "path": "/api/kavach/agents", "headers": headers}
    await world.app({**scope, "scheme": "http", "query_string": b"", "state": {}}, receive, send)
    assert sent[0]["status"] == 415


async def test_without_a_body_no_type_is_asked_for(world: World) -> None:
    human = {"cookie": "app_session=1", "origin": ORIGIN}
    agent = await world.agent()
    assert (await world.call("POST", f"/agents/{agent.id}/rotate", human)).status_code == 200
    assert (await world.call("DELETE", f"/agents/{agent.id}", human)).status_code == 204


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body
