"""The tutorial as it is written, in FastAPI, on both databases."""

from collections.abc import AsyncGenerator
from typing import Annotated, NamedTuple

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from kavach_adapters import kavach_fastapi
from kavach_core import (
    AgentIdentity,
    CallContext,
    HumanIdentity,
    Kavach,
    LazyKavach,
    Permission,
    Reason,
    create_kavach,
    lazy_kavach,
)
from kavach_core.api.view import View
from kavach_core.errors import PermissionDenied, RemoteNotAvailable, Unauthenticated

# No postponed annotations here: the routes name what is local to the function that makes them.

BASE_URL = "http://localhost:8000"
ALICE = {"x-signed-in": "alice", "origin": BASE_URL}
MALLORY = {"x-signed-in": "mallory", "origin": BASE_URL}


class Query(BaseModel):
    text: str


class World(NamedTuple):
    """The tutorial's app, as a client and as the code inside sees it."""

    get_kavach: LazyKavach
    http: httpx.AsyncClient


def make_app(get_kavach: LazyKavach) -> FastAPI:
    """`app/main.py` of the tutorial."""
    kv = kavach_fastapi(get_kavach, resolve_user=signed_in, grantable=["read:repos", "read:issues", "write:comments"])
    app = FastAPI()
    app.include_router(kv.router, prefix="/api/kavach")
    app.add_middleware(kv.Guard, protect=["/dashboard/:path*"], login="/login")

    @app.post("/agents/default")
    async def create_default(user: Annotated[HumanIdentity, Depends(kv.human)]) -> dict[str, str | None]:
        kavach = await get_kavach()
        agent = await kavach.agents.create(
            owner_id=user.id,
            name="coding-assistant",
            permissions=["read:repos", "read:issues", "write:comments"],
            ttl="2h",
        )
        return {"agentId": agent.id, "token": agent.token}

    @app.post("/search")
    async def search(query: Query, agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> list[str]:
        return await search_repositories(query, agent.owner_id)

    @app.get("/dashboard/home")
    async def dashboard(request: Request) -> dict[str, bool]:
        return {"hasSession": await kv.session(request) is not None}

    return app


async def signed_in(view: View) -> str | None:
    return view.header("x-signed-in")


async def search_repositories(query: Query, owner_id: str) -> list[str]:
    return [f"{owner_id}/{query.text}"]


@pytest.fixture
async def world(database_url: str) -> AsyncGenerator[World]:
    get_kavach = lazy_kavach(database=database_url)
    transport = httpx.ASGITransport(app=make_app(get_kavach))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
        yield World(get_kavach, http)
    await get_kavach.close()


@pytest.fixture
async def kavach(database_url: str) -> AsyncGenerator[Kavach]:
    async with await create_kavach(database=database_url) as opened:
        yield opened


async def test_a_human_gives_an_agent_an_identity_and_it_searches(world: World) -> None:
    made = (await world.http.post("/agents/default", headers=ALICE)).json()
    answer = await world.http.post("/search", json={"text": "kavach"}, headers=bearer(made["token"]))
    assert (answer.status_code, answer.json()) == (200, ["alice/kavach"])
    entries = (await world.http.get(f"/api/kavach/agents/{made['agentId']}/trace", headers=ALICE)).json()
    assert [(entry["action"], entry["resource"], entry["result"]) for entry in entries] == [
        ("read", "repos", "allowed")
    ]


async def test_nobody_else_searches(world: World) -> None:
    made = (await world.http.post("/agents/default", headers=ALICE)).json()
    search = {"url": "/search", "json": {"text": "kavach"}}
    assert (await world.http.post(**search)).status_code == 401
    assert (await world.http.post(**search, headers=ALICE)).json()["error"]["code"] == "CALLER_NOT_ALLOWED"
    assert (await world.http.post(**search, headers=bearer(made["token"] + "x"))).status_code == 401


async def test_the_guard_lets_humans_in_and_sends_browsers_to_the_login_page(world: World) -> None:
    made = (await world.http.post("/agents/default", headers=ALICE)).json()
    assert (await world.http.get("/dashboard/home", headers=ALICE)).json() == {"hasSession": False}
    assert (await world.http.get("/dashboard/home", headers=bearer(made["token"]))).status_code == 403
    assert (await world.http.get("/dashboard/home")).status_code == 401
    browser = await world.http.get("/dashboard/home?tab=1", headers={"accept": "text/html"})
    assert (browser.status_code, browser.headers["location"]) == (303, "/login?next=%2Fdashboard%2Fhome%3Ftab%3D1")


async def test_a_session_is_a_way_to_be_signed_in(world: World) -> None:
    kavach = await world.get_kavach()
    session = await kavach.sessions.create("alice")
    assert session.token is not None and session.expires_in > 0
    cookie = {"cookie": f"{kavach.config.session_cookie}={session.token}"}
    assert (await world.http.get("/dashboard/home", headers=cookie)).json() == {"hasSession": True}

    check = await kavach.sessions.verify(session.token)
    assert check.valid and check.user_id == "alice"
    await kavach.sessions.revoke(session.id)
    assert not (await kavach.sessions.verify(session.token)).valid
    assert (await world.http.get("/dashboard/home", headers=cookie)).status_code == 401


async def test_the_mounted_handlers_do_it_all_without_a_line_of_the_apps_own(world: World) -> None:
    api = "/api/kavach"
    body = {"name": "assistant", "permissions": ["read:repos", "write:comments"]}
    agent = (await world.http.post(f"{api}/agents", json=body, headers=ALICE)).json()
    own = bearer(agent["token"])

    half = {"permissions": ["read:repos"], "ttl": "30m", "purpose": "code-search-subtask"}
    child = (await world.http.post(f"{api}/agents/{agent['id']}/delegate", json=half, headers=own)).json()
    ask = {"action": "write", "resource": "comments"}
    assert (await world.http.post(f"{api}/authorize", json=ask, headers=own)).json()["allowed"] is True
    refused = (await world.http.post(f"{api}/authorize", json=ask, headers=bearer(child["token"]))).json()
    assert (refused["allowed"], refused["code"]) == (False, "NOT_GRANTED")

    cut = f"{api}/delegations/{child['delegationId']}"
    assert (await world.http.delete(cut, headers=MALLORY)).status_code == 404
    assert (await world.http.delete(cut, headers=ALICE)).status_code == 204
    dead = await world.http.post("/search", json={"text": "kavach"}, headers=bearer(child["token"]))
    assert (dead.status_code, dead.json()["error"]["code"]) == (401, "CHAIN_CUT")
    listed = (await world.http.get(f"{api}/audit", headers=ALICE)).json()
    assert [entry["code"] for entry in listed] == ["CHAIN_CUT", "NOT_GRANTED", "ALLOWED"]
    assert (await world.http.get(f"{api}/audit", headers=MALLORY)).json() == []


async def test_a_human_gives_no_more_than_the_app_allows(world: World) -> None:
    body = {"name": "assistant", "permissions": ["read:repos", "delete:repos"]}
    refused = await world.http.post("/api/kavach/agents", json=body, headers=ALICE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "GRANT_NOT_ALLOWED")
    assert (await world.http.get("/api/kavach/agents", headers=ALICE)).json() == []


async def test_the_long_form(kavach: Kavach) -> None:
    agent = await kavach.agents.create(owner_id="user_2x9", name="coding-assistant", permissions=["read:repos"])
    assert agent.token is not None

    identity = await kavach.agents.verify(agent.token)
    assert identity.valid
    context = CallContext(ip="203.0.113.7")
    decision = await kavach.authorize(identity, action="read", resource="repos", context=context)
    assert decision and decision.allowed and decision.audit_id

    child = await kavach.agents.delegate(
        from_=identity.agent_id, permissions=["read:repos"], ttl="30m", purpose="code-search-subtask"
    )
    assert child.token is not None
    assert await kavach.authorize(child.token, action="read", resource="repos")
    await kavach.delegations.revoke(child.delegation_id)
    cut = await kavach.authorize(child.token, action="read", resource="repos")
    assert (cut.allowed, cut.code) == (False, Reason.CHAIN_CUT)
    assert cut.reason and cut.audit_id

    rotated = await kavach.agents.rotate(agent.id)
    assert rotated.token is not None
    dead = await kavach.agents.verify(agent.token)
    assert not dead.valid and (dead.code, bool(dead.audit_id)) == (Reason.TOKEN_ROTATED, True)
    assert await kavach.agents.verify(rotated.token)

    traced = await kavach.audit.trace(agent.id)
    assert [entry.code for entry in traced] == ["ALLOWED", "ALLOWED", "CHAIN_CUT", "TOKEN_ROTATED"]
    assert [len(entry.path) for entry in traced] == [1, 2, 2, 1]
    assert traced[0].address == "203.0.113.7"


async def test_permissions_in_the_long_spelling(kavach: Kavach) -> None:
    agent = await kavach.agents.create(
        owner_id="user_2x9",
        name="default",
        type="autonomous",
        permissions=[Permission(resource="app:read:*", actions=["read"])],
    )
    assert await kavach.authorize(agent.id, action="read", resource="app:read:one")
    assert not await kavach.authorize(agent.id, action="read", resource="app:read")


async def test_the_forms_that_raise(kavach: Kavach) -> None:
    agent = await kavach.agents.create(owner_id="user_2x9", name="default", permissions=["read:repos"])
    assert agent.token is not None
    identity = await kavach.agents.require_verified(agent.token)
    assert (await kavach.require_authorized(identity, action="read", resource="repos")).audit_id
    with pytest.raises(PermissionDenied) as denied:
        await kavach.require_authorized(identity, action="write", resource="repos")
    assert denied.value.public_code == "NOT_GRANTED" and denied.value.audit_id
    with pytest.raises(Unauthenticated):
        await kavach.agents.require_verified("kv_agt_nonsense")


async def test_the_lazy_factory_opens_at_the_first_call_and_migrates_the_database(database_url: str) -> None:
    get_kavach = lazy_kavach(database=database_url)
    assert make_app(get_kavach).openapi()["paths"]["/search"]["post"]["security"] == [{"kavachBearer": []}]
    kavach = await get_kavach()
    assert await get_kavach() is kavach
    assert (await kavach.agents.list()).total == 0
    await get_kavach.close()


def test_remote_mode_is_refused_by_name() -> None:
    with pytest.raises(RemoteNotAvailable):
        lazy_kavach(api_key="kv_live_...", url="https://kavach.example")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
