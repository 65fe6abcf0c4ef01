"""`Guard(forward=True)`: the app behind is told who is asking in headers that nobody else can set."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from kavach_adapters import kavach_starlette
from kavach_adapters._claims import with_claims
from kavach_core import HumanIdentity, LazyKavach, lazy_kavach
from kavach_core.resolvers import View
from tests.adapters.asgi import request, socket
from tests.adapters.real_servers import request as raw_request
from tests.http.conftest import ONE_FRAMEWORK
from tests.http.live import live
from tests.http.world import OpenWorld, World, bearer

EVERYONE: dict[str, Any] = {"protect": ["/dashboard/:path*", "/seen"], "allow": ["human", "agent", "service"]}
#: A client's own, in every spelling that somebody behind might read.
CLAIMS = {
    "x-user-id": "admin",
    "X_User_Id": "admin",
    "x-kavach-kind": "human",
    "X-Kavach_Owner-Id": "admin",
    "x-kavach-agent-id": "agt_admin",
    "x-kavach-key-id": "key_admin",
}


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world(guard={**EVERYONE, "forward": True})


async def _callers(world: World) -> list[tuple[dict[str, str], list[list[str]]]]:
    """Callers of every kind with what the app behind is to be told about them."""
    agent = await world.agent()
    key = await world.kavach.keys.create(name="ci", scopes=["*"])
    human = [["x-user-id", "alice"], ["x-kavach-kind", "human"], ["x-kavach-owner-id", "alice"]]
    return [
        (await world.human(), human),
        (await world.browser(), human),
        (
            bearer(agent.token),
            [["x-kavach-kind", "agent"], ["x-kavach-owner-id", "alice"], ["x-kavach-agent-id", agent.id]],
        ),
        (bearer(key.key), [["x-kavach-kind", "service"], ["x-kavach-key-id", key.id]]),
    ]


async def test_the_app_is_told_who_is_asking_whatever_the_client_says(world: World) -> None:
    """An agent is never `x-user-id`: code that knows no agents would take it for its owner."""
    for headers, told in await _callers(world):
        for path in ("/dashboard/x", "/seen"):
            for said in ({}, CLAIMS):
                answer = await world.visit("GET", path, {**headers, **said})
                assert answer.json()["forwarded"] == told, (path, said)
        async with socket(world.app, "/dashboard/ws", {**headers, **CLAIMS}) as opened:
            assert (await opened.json())["forwarded"] == told


async def test_what_is_told_is_what_the_handler_would_be_given(world: World) -> None:
    for headers, told in await _callers(world):
        seen = (await world.visit("GET", "/seen", headers)).json()
        assert seen["same"] and seen["kind"] == dict(map(tuple, told))["x-kavach-kind"]
        assert seen["id"] in (value for _, value in told)


async def test_on_a_path_that_is_not_protected_nothing_is_told_and_nothing_believed(world: World) -> None:
    for headers, _ in await _callers(world):
        assert (await world.visit("GET", "/login", {**headers, **CLAIMS})).json()["forwarded"] == []
    preflight = {"origin": "https://other.example", "access-control-request-method": "POST"}
    answer = await world.visit("OPTIONS", "/dashboard/x", {**CLAIMS, **preflight})
    assert "admin" not in answer.text


async def test_the_trailers_of_a_body_claim_nothing(sqlite_database: str) -> None:
    """uvicorn with httptools adds them to the headers of a request that is on its way through the app already."""
    body_read = asyncio.Event()
    heard: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body", False):
            body_read.set()
        heard.extend(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    get_kavach: LazyKavach = lazy_kavach(database=sqlite_database)
    guard = kavach_starlette(get_kavach).Guard(app, protect=["/dashboard"], forward=True)  # type: ignore[arg-type]
    async with live(guard, http="httptools", log_level="critical") as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        chunked = ("transfer-encoding: chunked", "trailer: x-user-id")
        writer.write(raw_request("/comments", *chunked, method="POST") + b"2\r\nhi\r\n")
        await body_read.wait()
        writer.write(b"0\r\nX-User-Id: admin\r\nx-kavach-kind: human\r\n\r\n")
        assert b" 204 " in await reader.readline()
        writer.close()
    assert b"trailer" in heard and not {b"x-user-id", b"x-kavach-kind"}.intersection(heard)


async def test_nothing_is_told_unless_the_app_asks_for_it(open_world: OpenWorld) -> None:
    world = await open_world(guard=EVERYONE)
    for headers, _ in await _callers(world):
        assert (await world.visit("GET", "/seen", {**headers, **CLAIMS})).json()["forwarded"] == []
        async with socket(world.app, "/dashboard/ws", {**headers, **CLAIMS}) as opened:
            assert (await opened.json())["forwarded"] == []


@ONE_FRAMEWORK
@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ("auth0|a@b.example", "auth0|a@b.example"),
        ("a,b; c=d", "a%2Cb%3B%20c=d"),
        ("50%", "50%25"),
        ("50%25", "50%2525"),
        ("zoë/李", "zo%C3%AB/%E6%9D%8E"),
        ('"a"\\b', "%22a%22%5Cb"),
    ],
)
async def test_any_owner_id_is_one_value_in_ascii_and_can_be_read_back(
    open_world: OpenWorld, owner: str, told: str
) -> None:
    world = await open_world(guard={**EVERYONE, "forward": True})
    agent = bearer((await world.agent(owner=owner)).token)
    for caller in (await world.human(owner), agent):
        forwarded = dict((await world.visit("GET", "/seen", caller)).json()["forwarded"])
        assert forwarded["x-kavach-owner-id"] == told and unquote(told) == owner


SMUGGLERS = ["a\r\nx-user-id: admin", "a\x00", "\x7f", "\x85", "\ud800", "\ud801"]


@pytest.mark.parametrize("owner", SMUGGLERS, ids=ascii)
async def test_an_owner_id_that_is_not_clean_gets_nobody_in(sqlite_database: str, owner: str) -> None:
    async def named(view: View) -> str:
        return owner

    get_kavach = lazy_kavach(database=sqlite_database)
    guard = kavach_starlette(get_kavach, resolve_user=named).Guard(_unreachable, public=["/open"], forward=True)
    status, _ = await request(guard, "/seen")
    await get_kavach.close()
    assert status == 503


def test_and_if_it_did_it_would_be_one_header_with_one_value() -> None:
    values: set[bytes] = set()
    for owner in SMUGGLERS:
        headers = with_claims({"headers": []}, HumanIdentity(id=owner))["headers"]
        assert [name for name, _ in headers] == [b"x-user-id", b"x-kavach-kind", b"x-kavach-owner-id"]
        values.add(headers[0][1])
    assert len(values) == len(SMUGGLERS) and all(value.decode("ascii").isprintable() for value in values)


async def test_what_a_guard_further_in_does_not_know_it_takes_away(sqlite_database: str) -> None:
    """Two mounts, one around the other: the inner one believes nobody else's headers, not even the outer one's."""
    get_kavach: LazyKavach = lazy_kavach(database=sqlite_database)
    heard: list[dict[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    kv = kavach_starlette(get_kavach)
    inner = kv.Guard(app, protect=["/inner"], forward=True)  # type: ignore[arg-type]
    outer = kv.Guard(inner, protect=["/inner", "/outer"], forward=True)
    session = await (await get_kavach()).sessions.create("alice")
    for path in ("/inner", "/outer"):
        await request(outer, path, bearer(session.token))
    await get_kavach.close()
    assert [heard[0].get(b"x-user-id"), heard[1].get(b"x-user-id")] == [b"alice", None]


async def _unreachable(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the guard let nobody in")
