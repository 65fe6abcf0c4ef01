"""What Quart users expect: decorators beside their own arguments, identity anywhere, their own error handlers kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Quart, Response, request

from kavach_adapters import kavach_quart
from kavach_core import AgentIdentity, Identity, LazyKavach, lazy_kavach
from kavach_core.errors import InvalidInput
from tests.adapters.asgi import lifespan, stream
from tests.http.world import bearer, client_of, error_of


@pytest.fixture
async def get_kavach(sqlite_database: str) -> AsyncIterator[LazyKavach]:
    get_kavach = lazy_kavach(database=sqlite_database)
    yield get_kavach
    await get_kavach.close()


async def test_a_view_keeps_its_own_arguments(get_kavach: LazyKavach) -> None:
    kv, app = kavach_quart(get_kavach), Quart(__name__)
    kv.init_app(app)

    @app.get("/repos/<name>/<int:number>")
    @kv.require("read:repos:{name}")
    async def issue(agent: AgentIdentity, name: str, number: int) -> dict[str, Any]:
        return {"owner": agent.owner_id, "name": name, "number": number}

    assert issue.__name__ == "issue"
    agent = await (await get_kavach()).agents.create(owner_id="alice", name="a", permissions=["read:repos:kavach"])
    async with client_of(app) as client:
        answer = await client.get("/repos/kavach/7", headers=bearer(agent.token))
        assert answer.json() == {"owner": "alice", "name": "kavach", "number": 7}
        assert error_of(await client.get("/repos/other/7", headers=bearer(agent.token)))[0] == 403


async def test_an_app_may_have_two_mounts(get_kavach: LazyKavach) -> None:
    app = Quart(__name__)
    for mount in ("/api/kavach", "/staff/kavach"):
        kavach_quart(get_kavach, mount=mount).init_app(app)
    async with client_of(app) as client:
        for mount in ("/api/kavach", "/staff/kavach"):
            assert error_of(await client.get(f"{mount}/agents")) == (401, "UNAUTHENTICATED")
            assert error_of(await client.get(f"{mount}/nothing")) == (404, "NOT_FOUND")


async def test_who_is_asking_can_be_asked_anywhere_in_a_request(get_kavach: LazyKavach) -> None:
    kv, app = kavach_quart(get_kavach), Quart(__name__)
    kv.init_app(app)
    seen: list[Identity | None] = []

    @app.before_request
    async def note() -> None:
        seen.append(await kv.current_identity())

    @app.get("/open")
    async def open_() -> str:
        seen.append(await kv.current_identity())
        return "open"

    session = await (await get_kavach()).sessions.create("alice")
    async with client_of(app) as client:
        await client.get("/open")
        await client.get("/open", headers=bearer(session.token))
    assert seen[:2] == [None, None] and seen[2] is seen[3] and seen[2] is not None and seen[2].id == "alice"


def test_a_permission_that_is_none_is_refused_when_the_route_is_written(get_kavach: LazyKavach) -> None:
    for permission in ("read", "read:", ":repos", "", "read:a::b"):
        with pytest.raises(InvalidInput):
            kavach_quart(get_kavach).require(permission)


async def test_the_apps_own_errors_stay_its_own_and_ours_stay_ours(get_kavach: LazyKavach) -> None:
    kv, app = kavach_quart(get_kavach), Quart(__name__)
    kv.init_app(app)

    @app.errorhandler(404)
    @app.errorhandler(405)
    @app.errorhandler(401)
    async def own(error: Any) -> tuple[dict[str, int], int]:
        return {"own": error.code}, error.code

    @app.get("/search")
    @kv.agent
    async def search(agent: AgentIdentity) -> str:
        return "found"

    async with client_of(app) as client:
        assert (await client.get("/nowhere")).json() == {"own": 404}
        assert (await client.post("/search")).json() == {"own": 405}
        assert (await client.get("/api/kavachs")).json() == {"own": 404}
        assert error_of(await client.get("/search")) == (401, "UNAUTHENTICATED")
        assert error_of(await client.get("/api/kavach/nothing")) == (404, "NOT_FOUND")
        assert error_of(await client.put("/api/kavach/agents")) == (405, "METHOD_NOT_ALLOWED")


async def test_a_body_that_the_app_has_read_before_is_not_lost(get_kavach: LazyKavach) -> None:
    kv, app = kavach_quart(get_kavach, grantable=["*:*"]), Quart(__name__)
    kv.init_app(app)

    @app.before_request
    async def reads() -> None:
        await request.get_data()

    session = await (await get_kavach()).sessions.create("alice")
    async with client_of(app) as client:
        new = {"name": "a", "permissions": ["read:repos"], "type": "autonomous"}
        made = await client.post("/api/kavach/agents", headers=bearer(session.token), json=new)
        assert made.status_code == 201, made.text


async def test_an_export_takes_as_long_as_it_takes(get_kavach: LazyKavach) -> None:
    """Quart cuts what takes longer than RESPONSE_TIMEOUT."""
    kv, app = kavach_quart(get_kavach), Quart(__name__)
    app.config["RESPONSE_TIMEOUT"] = 0
    kv.init_app(app)

    @app.get("/cut")
    async def cut() -> Response:
        return Response("never arrives")

    session = await (await get_kavach()).sessions.create("alice")
    async with stream(app, "/api/kavach/audit/export", bearer(session.token)) as export:
        await export.ended.wait()
        assert export.status == 200
    async with client_of(app) as client:
        # The answer never ends: the client says so itself, or from Quart 0.23 on waits for an end that does not come.
        with pytest.raises((AssertionError, TimeoutError)):
            await asyncio.wait_for(client.get("/cut"), 2)


async def test_the_apps_own_hooks_run_too(sqlite_database: str) -> None:
    get_kavach = lazy_kavach(database=sqlite_database)
    app, steps = Quart(__name__), list[str]()
    kavach_quart(get_kavach).init_app(app)

    @app.while_serving
    async def own() -> AsyncIterator[None]:
        steps.append("start")
        yield
        steps.append("stop")

    async with lifespan(app):
        await get_kavach()
        assert get_kavach._slots
    assert steps == ["start", "stop"] and not get_kavach._slots
