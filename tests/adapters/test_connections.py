"""What stays open is verified again: sockets close and streams end once the credential they began with is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kavach_adapters.custom import Edge, Receive, Scope, Send, Watched, view_of
from kavach_core import lazy_kavach
from kavach_core.errors import ConfigurationError
from tests.adapters.asgi import Socket, socket, stream
from tests.capabilities.support import watched
from tests.http.frameworks import FRAMEWORKS, Framework
from tests.http.world import Headers, OpenWorld, World, bearer

RECHECK = 0.05
#: Protects nothing, so that what stays open is the business of `require` alone.
AROUND: dict[str, Any] = {"protect": []}


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """What was begun inside is over afterwards."""
    before = asyncio.all_tasks()
    yield
    # A look that is cancelled may leave a read of the store behind, which ends by itself.
    left = asyncio.all_tasks() - before
    assert not left or not (await asyncio.wait(left, timeout=5))[1]


async def stays_open(opened: Socket) -> None:
    for _ in range(3):
        await asyncio.sleep(RECHECK)
        await opened.send("still here")
        assert (await opened.message())["text"] == "still here"


@pytest.mark.parametrize("guard", [None, AROUND], ids=["by itself", "within a guard"])
async def test_a_socket_closes_when_its_agent_is_revoked(open_world: OpenWorld, guard: dict[str, Any] | None) -> None:
    world = await open_world(recheck=RECHECK, guard=guard)
    agent, other = await world.agent(), await world.agent()
    async with no_task_left(), socket(world.app, "/ws/hold", bearer(other.token)) as control:
        async with socket(world.app, "/ws/hold", bearer(agent.token)) as opened:
            await stays_open(opened)
            await world.kavach.agents.revoke(agent.id)
            closed = await opened.message()
            assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 4401, "AGENT_REVOKED")
        await stays_open(control)


async def test_a_socket_closes_when_its_session_is_revoked(open_world: OpenWorld) -> None:
    world = await open_world(recheck=RECHECK)
    human = await world.browser()
    async with no_task_left(), socket(world.app, "/ws/hold", human) as opened:
        await stays_open(opened)
        (session,) = await world.kavach.sessions.list("alice")
        await world.kavach.sessions.revoke(session.id)
        assert (await opened.message())["code"] == 4401


async def test_a_socket_closes_when_the_app_names_somebody_else(open_world: OpenWorld) -> None:
    who = ["alice"]

    async def resolve_user(view: object) -> str:
        return who[0]

    world = await open_world(recheck=RECHECK, resolve_user=resolve_user)
    async with socket(world.app, "/ws/hold", {"origin": "http://localhost:8000"}) as opened:
        await stays_open(opened)
        who[0] = "bob"
        assert (await opened.message())["code"] == 4401


async def test_a_socket_closes_when_nobody_can_tell_any_more(framework: Framework, open_world: OpenWorld) -> None:
    """A store that is down must not keep open what may have been revoked."""
    world = await open_world()
    agent = await world.agent()
    broken, store = watched(world.kavach)
    app = framework.build(_Fixed(world, broken), recheck=RECHECK)
    async with no_task_left(), socket(app, "/ws/hold", bearer(agent.token)) as opened:
        await stays_open(opened)
        store.failure = OSError("the disk is gone")
        assert (await opened.message())["code"] in (4500, 4503)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_stream_ends_when_its_agent_is_revoked(open_world: OpenWorld, spec_version: str) -> None:
    """From ASGI 2.4 on a framework need not listen for the client to leave."""
    world = await open_world(recheck=RECHECK, guard=AROUND)
    agent, other = await world.agent(), await world.agent()
    asgi = {"version": "3.0", "spec_version": spec_version}
    async with no_task_left(), _streaming(world, bearer(other.token), asgi) as control:
        async with _streaming(world, bearer(agent.token), asgi) as opened:
            await asyncio.sleep(3 * RECHECK)
            assert not opened.ended.is_set() and b"".join(opened.chunks).startswith(b"tick\ntick\n")
            await world.kavach.agents.revoke(agent.id)
            await asyncio.wait_for(opened.ended.wait(), 5)
        assert not control.ended.is_set()


@pytest.mark.parametrize("framework", FRAMEWORKS[2:], indirect=True, ids=lambda framework: framework.name)
async def test_where_the_adapter_is_around_the_app_a_stream_needs_no_guard(open_world: OpenWorld) -> None:
    world = await open_world(recheck=RECHECK)
    agent = await world.agent()
    async with (
        no_task_left(),
        _streaming(world, bearer(agent.token), {"version": "3.0", "spec_version": "2.3"}) as opened,
    ):
        await asyncio.sleep(3 * RECHECK)
        await world.kavach.agents.revoke(agent.id)
        await asyncio.wait_for(opened.ended.wait(), 5)


async def test_a_stream_that_has_said_nothing_yet_ends_too(sqlite_database: str) -> None:
    """What it waits for may come when its agent is long revoked."""
    get_kavach = lazy_kavach(database=sqlite_database)
    edge, kavach = Edge(get_kavach), await get_kavach()
    agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
    begun, ended, silence = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await edge.require_agent(view_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await silence.wait()
        await send({"type": "http.response.body", "body": b"secret", "more_body": True})

    async def receive() -> Any:
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message["more_body"]:
            ended.set()

    headers = [(b"authorization", f"Bearer {agent.token}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    async with no_task_left():
        task = asyncio.create_task(Watched(app, edge, RECHECK)(scope, receive, send))
        await begun.wait()
        await asyncio.sleep(3 * RECHECK)
        assert len(sent) == 1 and not task.done()
        await kavach.agents.revoke(agent.id)
        await asyncio.wait_for(ended.wait(), 5)
        await task
    assert b"".join(message.get("body", b"") for message in sent) == b""
    await get_kavach.close()


async def test_a_client_that_leaves_leaves_nothing_behind(open_world: OpenWorld) -> None:
    world = await open_world(recheck=RECHECK, guard=AROUND)
    agent = bearer((await world.agent()).token)
    async with no_task_left():
        async with socket(world.app, "/ws/hold", agent) as opened:
            await stays_open(opened)
        async with _streaming(world, agent, {"version": "3.0", "spec_version": "2.3"}):
            await asyncio.sleep(2 * RECHECK)


async def test_an_ordinary_request_leaves_no_timer(open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await open_world(recheck=3600, guard=AROUND)
    agent = await world.agent()
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def noting(delay: float, *more: Any, **options: Any) -> asyncio.TimerHandle:
        handle = call_later(delay, *more, **options)
        if delay == 3600:
            timers.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_later", noting)
    assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == 200
    assert all(timer.cancelled() for timer in timers)
    async with socket(world.app, "/ws/hold", bearer(agent.token)) as opened:
        await opened.send("x")
        await opened.message()
        assert not timers[-1].cancelled()
    assert timers[-1].cancelled()


@pytest.mark.parametrize("recheck", [0, -1, float("nan")])
def test_a_recheck_that_is_no_time_refuses_to_start(framework: Framework, recheck: float) -> None:
    with pytest.raises(ConfigurationError):
        framework.build(lazy_kavach(database="sqlite:///never.db"), recheck=recheck, guard=AROUND)


def _streaming(world: World, headers: Headers, asgi: dict[str, str]) -> Any:
    return stream(world.app, "/stream", headers, asgi=asgi)


class _Fixed:
    """A factory that gives one Kavach."""

    def __init__(self, world: World, kavach: Any) -> None:
        self.config = world.get_kavach.config
        self._kavach = kavach

    async def __call__(self) -> Any:
        return self._kavach

    async def close(self) -> None:
        """What it gives is closed by whoever opened it."""
