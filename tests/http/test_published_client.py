"""The published client, `kavachos==0.1.0`, unmodified: what it sends is served, and what it needs comes back."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from secrets import token_hex
from typing import Any

import httpx
import pytest
from kavachos import KavachClient, KavachSyncClient
from kavachos.errors import (
    AuthenticationError,
    KavachError,
    NetworkError,
    NotFoundError,
    PermissionError,
    RateLimitError,
    ServerError,
)
from kavachos.permissions import execute, full_access, rate_limited, read, read_write, with_approval, write
from kavachos.types import (
    AgentFilters,
    AuditFilters,
    AuthorizeRequest,
    CreateAgentInput,
    DelegateInput,
    ExportOptions,
    Permission,
    PermissionConstraints,
    UpdateAgentInput,
)

from kavach_core.testing import FrozenClock
from tests.http.frameworks import MOUNT, Framework
from tests.http.live import live
from tests.http.world import NO_AGENT, NO_DELEGATION, World, worlds

READ, WRITE = AuthorizeRequest("read", "repos"), AuthorizeRequest("write", "repos")


@pytest.fixture
async def world(stored: tuple[Framework, str], clock: FrozenClock) -> AsyncGenerator[World]:
    async with worlds(*stored, clock) as open_world:
        yield await open_world(grantable=["*:*"], project=f"project-{token_hex(6)}")


@pytest.fixture
async def client(world: World) -> AsyncGenerator[KavachClient]:
    """The client of alice, with her session as its token."""
    async with client_with(world, await world.human()) as client:
        yield client


@asynccontextmanager
async def client_with(world: World, as_: dict[str, str], **more: Any) -> AsyncGenerator[KavachClient]:
    """The client with somebody's token, over the app itself."""
    token = as_["authorization"].removeprefix("Bearer ")
    client = KavachClient(f"http://testserver{MOUNT}", token=token, **more)
    client._transport._client = httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app))
    async with client:
        yield client


def new_agent(*permissions: Permission, name: str = "reader", **more: Any) -> CreateAgentInput:
    return CreateAgentInput(
        owner_id="alice", name=name, type="autonomous", permissions=list(permissions or [read("repos")]), **more
    )


def test_the_client_is_the_published_one() -> None:
    assert version("kavachos") == "0.1.0"


async def test_an_agent_is_created_read_listed_changed_rotated_and_revoked(world: World, client: KavachClient) -> None:
    expires = (world.clock.now + timedelta(days=1)).isoformat()
    made = await client.agents.create(new_agent(metadata={"team": "core"}, expires_at=expires))
    assert made.token.startswith("kv_agt_") and made.id.startswith("agt_")
    assert (made.owner_id, made.name, made.type, made.status) == ("alice", "reader", "autonomous", "active")
    assert made.permissions == [read("repos")] and made.expires_at is not None
    found = await client.agents.get(made.id)
    assert found is not None and found.token == "" and found.created_at == made.created_at

    world.clock.advance("1s")
    other = await client.agents.create(new_agent(name="second"))
    assert [agent.id for agent in await client.agents.list()] == [other.id, made.id]
    listed = await client.agents.list(AgentFilters(user_id="alice", status="active", type="autonomous"))
    assert [agent.id for agent in listed] == [other.id, made.id]
    assert await client.agents.list(AgentFilters(type="service")) == []

    assert (await client.agents.update(made.id, UpdateAgentInput())).name == "reader"
    changed = await client.agents.update(made.id, UpdateAgentInput(name="writer", permissions=[write("repos")]))
    assert (changed.name, changed.permissions, changed.token) == ("writer", [write("repos")], "")

    rotated = await client.agents.rotate(made.id)
    assert rotated.id == made.id and rotated.token not in ("", made.token)
    with pytest.raises(AuthenticationError) as dead:
        await client.auth.authorize_by_token(made.token, WRITE)
    assert dead.value.code == "TOKEN_ROTATED" and dead.value.details["auditId"].startswith("aud_")
    assert (await client.auth.authorize_by_token(rotated.token, WRITE)).allowed

    await client.agents.revoke(made.id)
    with pytest.raises(AuthenticationError) as dead:
        await client.auth.authorize_by_token(rotated.token, WRITE)
    assert dead.value.code == "AGENT_REVOKED"
    assert [agent.id for agent in await client.agents.list(AgentFilters(status="revoked"))] == [made.id]
    assert await client.agents.get(NO_AGENT) is None


@pytest.mark.usefixtures("cheap_passwords")
async def test_it_signs_up_and_in_reads_its_session_and_signs_out(stored: tuple[Framework, str]) -> None:
    async with worlds(*stored, None) as open_world:
        world = await open_world(passwords=True, project=f"project-{token_hex(6)}")
        async with client_with(world, {"authorization": ""}) as client:
            made = await client.auth.sign_up("ada@example.org", "correct horse battery", "Ada")
            assert (made.user.email, made.user.name) == ("ada@example.org", "Ada")
            assert made.session.user_id == made.user.id and made.session.token.startswith("kv_ses_")
            again = await client.auth.sign_in("ada@example.org", "correct horse battery")
            assert again.user.id == made.user.id and again.session.token != made.session.token
            found = await client.auth.get_session(again.session.token)
            assert found is not None and (found.id, found.token) == (again.session.id, again.session.token)
            await client.auth.sign_out(again.session.token)
            assert await client.auth.get_session(again.session.token) is None
            assert await client.auth.get_session(made.session.token) is not None
            with pytest.raises(AuthenticationError):
                await client.auth.sign_in("ada@example.org", "not the password")
            mine = await client.auth.sign_in("ada@example.org", "correct horse battery")
            by_cookie = await client.auth.get_session()
            assert by_cookie is not None and by_cookie.id == mine.session.id, "the client keeps the cookie"
            await client.auth.sign_out()
            assert await client.auth.get_session() is None
            assert await client.auth.get_session(mine.session.token) is None


async def test_constraints_survive_the_way_there_and_back(client: KavachClient) -> None:
    strict = PermissionConstraints(
        max_calls_per_hour=10,
        allowed_arg_patterns=["path=/docs/*"],
        time_window_start="09:00",
        time_window_end="17:30",
        ip_allowlist=["10.0.0.0/8"],
    )
    given = [
        read_write("files", strict),
        with_approval(execute("deploy")),
        rate_limited(read("repos"), 5),
        read("issues", PermissionConstraints()),
        full_access("own:*"),
    ]
    made = await client.agents.create(new_agent(*given))
    kept = {permission.resource: permission for permission in made.permissions}
    assert set(kept["own:*"].actions) == {"read", "write", "execute", "delete"}
    assert kept["files"].constraints == strict and kept["issues"].constraints is None
    assert kept["deploy"].constraints == PermissionConstraints(require_approval=True)
    assert kept["repos"].constraints == PermissionConstraints(max_calls_per_hour=5)
    half = PermissionConstraints(time_window_start="09:00")
    with pytest.raises(KavachError) as refused:
        await client.agents.create(new_agent(read("repos", half)))
    assert refused.value.code == "INVALID_INPUT"


async def test_a_denial_is_an_answer_with_reason_and_audit_id(client: KavachClient) -> None:
    agent = await client.agents.create(new_agent())
    for ask in (
        lambda request: client.authorize(agent.id, request),
        lambda request: client.agents.authorize(agent.id, request),
        lambda request: client.auth.authorize_by_token(agent.token, request),
    ):
        allowed, denied = await ask(READ), await ask(WRITE)
        assert allowed.allowed and not denied.allowed and denied.reason
        newest, before = (await client.audit.query())[:2]
        assert (newest.id, newest.result, newest.action) == (denied.audit_id, "denied", "write")
        assert (before.id, before.result, before.action) == (allowed.audit_id, "allowed", "read")
    limited = await client.agents.create(new_agent(rate_limited(read("repos"), 0)))
    refused = await client.authorize(limited.id, AuthorizeRequest("read", "repos", {"q": 1}))
    assert not refused.allowed and refused.reason
    (entry,) = await client.audit.query(AuditFilters(result="rate_limited"))
    assert (entry.id, entry.parameters, entry.user_id) == (refused.audit_id, {"q": 1}, "alice")


async def test_delegating_works_in_both_directions_and_ends(world: World, client: KavachClient) -> None:
    giver = await client.agents.create(new_agent(read("repos"), write("repos")))
    receiver = await client.agents.create(new_agent(read("issues")))
    end = (world.clock.now + timedelta(hours=1)).isoformat()
    chain = await client.delegation.create(DelegateInput(giver.id, receiver.id, [read("repos")], end, max_depth=2))
    assert (chain.from_agent, chain.to_agent, chain.depth) == (giver.id, receiver.id, 1)
    assert chain.permissions == [read("repos")] and chain.expires_at == "2030-01-01T13:00:00.000Z"
    for agent in (giver, receiver):
        assert [found.id for found in await client.delegation.list_chains(agent.id)] == [chain.id]
    for ask in (client.delegation.get_effective_permissions, client.agents.get_effective_permissions):
        found = {(permission.resource, *permission.actions) for permission in await ask(receiver.id)}
        assert found == {("issues", "read"), ("repos", "read")}
    assert (await client.auth.authorize_by_token(receiver.token, READ)).allowed
    await client.delegation.revoke(chain.id)
    after = await client.auth.authorize_by_token(receiver.token, READ)
    assert not after.allowed and after.reason
    with pytest.raises(PermissionError) as refused:
        await client.delegation.create(DelegateInput(giver.id, receiver.id, [read("secrets")], end))
    assert refused.value.code == "WIDENS"
    with pytest.raises(PermissionError) as refused:
        await client.delegation.create(DelegateInput(giver.id, giver.id, [read("repos")], end))
    assert refused.value.code == "CYCLE"


async def test_the_audit_is_queried_paged_and_exported(world: World, client: KavachClient) -> None:
    agent = await client.agents.create(new_agent())
    asked = []
    for request in (READ, WRITE, READ):
        world.clock.advance("1s")
        asked.append((await client.authorize(agent.id, request)).audit_id)
    newest_first = asked[::-1]
    for filters, found in (
        (None, newest_first),
        (AuditFilters(), newest_first),
        (AuditFilters(agent_id=agent.id, user_id="alice"), newest_first),
        (AuditFilters(actions=["read"]), [asked[2], asked[0]]),
        (AuditFilters(actions=[]), newest_first),
        (AuditFilters(result="denied"), [asked[1]]),
        (AuditFilters(limit=1), [asked[2]]),
        (AuditFilters(limit=0), []),
        (AuditFilters(offset=1), newest_first[1:]),
        (AuditFilters(limit=1, offset=1), [asked[1]]),
        (AuditFilters(since=world.clock.now.isoformat()), [asked[2]]),
        (AuditFilters(until="2030-01-01T12:00:01Z"), [asked[0]]),
    ):
        assert [entry.id for entry in await client.audit.query(filters)] == found, filters
        assert [entry.id for entry in (await client.audit.query_paginated(filters)).entries] == found
    as_json = json.loads(await client.audit.export())
    as_csv = list(csv.DictReader(io.StringIO(await client.audit.export(ExportOptions(format="csv")), newline="")))
    assert [entry["id"] for entry in as_json] == [row["id"] for row in as_csv] == asked
    with pytest.raises(KavachError) as refused:
        await client.audit.query(AuditFilters(limit=-1))
    assert (refused.value.code, refused.value.details) == ("INVALID_INPUT", {"field": "limit"})


async def test_each_error_status_gives_its_exception_and_our_code(world: World, client: KavachClient) -> None:
    agent = await client.agents.create(new_agent(rate_limited(read("repos"), 1)))
    gone = await client.agents.create(new_agent())
    await client.agents.revoke(gone.id)
    async with client_with(world, {"authorization": f"Bearer {agent.token}"}) as itself:
        for call, kind, code in (
            (lambda: itself.agents.list(), PermissionError, "CALLER_NOT_ALLOWED"),
            (lambda: itself.agents.revoke(agent.id), PermissionError, "CALLER_NOT_ALLOWED"),
            (lambda: client.agents.revoke(NO_AGENT), NotFoundError, "NOT_FOUND"),
            (lambda: client.delegation.revoke(NO_DELEGATION), NotFoundError, "NOT_FOUND"),
            (lambda: client.agents.rotate(gone.id), KavachError, "FINAL_STATE"),
            (lambda: client.agents.create(new_agent(name="")), KavachError, "INVALID_INPUT"),
            (lambda: client.auth.sign_in("a@b.example", "x"), NotFoundError, "NOT_FOUND"),
            (lambda: client.auth.authorize_by_token("kv_agt_x", READ), AuthenticationError, "MALFORMED_CREDENTIAL"),
        ):
            with pytest.raises(kind) as raised:
                await call()
            assert type(raised.value) is kind and raised.value.code == code and raised.value.message


async def test_a_throttled_agent_gets_retry_after_as_a_number(open_throttled: World) -> None:
    world = open_throttled
    agent = await world.agent()
    async with client_with(world, {"authorization": f"Bearer {agent.token}"}) as client:
        for _ in range(2):
            assert not (await client.authorize(agent.id, WRITE)).allowed
        with pytest.raises(RateLimitError) as refused:
            await client.authorize(agent.id, READ)
    assert refused.value.code == "RATE_LIMITED" and refused.value.retry_after == 60


@pytest.fixture
async def open_throttled(framework: Framework, sqlite_database: str, clock: FrozenClock) -> AsyncGenerator[World]:
    async with worlds(framework, sqlite_database, clock) as open_world:
        yield await open_world(refused_per_minute=2)


async def test_a_failing_server_is_a_server_error(stored: tuple[Framework, str], world: World) -> None:
    async def resolve_user(view: object) -> str | None:
        raise RuntimeError("down")

    app = stored[0].build(world.get_kavach, resolve_user=resolve_user)
    client = KavachClient(f"http://testserver{MOUNT}")
    client._transport._client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    async with client:
        with pytest.raises(ServerError) as raised:
            await client.agents.list()
    assert raised.value.code == "RESOLVER_FAILED"


async def test_sessions_are_read_and_ended(world: World, client: KavachClient) -> None:
    session = await client.auth.get_session()
    assert session is not None and session.user_id == "alice" and session.token.startswith("kv_ses_")
    other = (await world.kavach.sessions.create("alice")).token
    assert other is not None
    await client.auth.sign_out(other)
    assert await client.auth.get_session(other) is None
    await client.auth.sign_out()
    assert await client.auth.get_session() is None


async def test_two_authorization_headers_of_a_careless_user_are_refused(world: World) -> None:
    async with client_with(world, await world.human(), headers={"authorization": "Bearer other"}) as client:
        with pytest.raises(AuthenticationError):
            await client.agents.list()


async def test_the_synchronous_client_works_over_a_real_socket(framework: Framework, sqlite_database: str) -> None:
    async with worlds(framework, sqlite_database, None) as open_world:
        world = await open_world(grantable=["*:*"])
        token = (await world.human())["authorization"].removeprefix("Bearer ")
        async with live(world.app) as url:
            await asyncio.to_thread(_use_synchronously, f"{url}{MOUNT}", token)


def _use_synchronously(base_url: str, token: str) -> None:
    with KavachSyncClient(base_url, token=token) as client:
        agent = client.agents.create(new_agent())
        assert client.authorize(agent.id, READ).allowed
        denied = client.auth.authorize_by_token(agent.token, WRITE)
        assert not denied.allowed
        assert [entry.id for entry in client.audit.query(AuditFilters(result="denied"))] == [denied.audit_id]
        assert client.agents.get(NO_AGENT) is None
        assert client.agents.rotate(agent.id).token != agent.token
        assert len(json.loads(client.audit.export())) == 2
        client.agents.revoke(agent.id)
        assert client.agents.list(AgentFilters(status="active")) == []
    with KavachSyncClient("http://127.0.0.1:9") as nowhere, pytest.raises(NetworkError):
        nowhere.agents.list()
