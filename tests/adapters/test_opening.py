"""Nothing is opened before the first request, then once per process and loop; what failed is tried again."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette

from kavach_adapters import kavach_fastapi, kavach_starlette
from kavach_core import Config, Kavach, LazyKavach, lazy_kavach
from kavach_core.config import load_config
from kavach_core.errors import ConfigurationError, StoreUnavailable
from kavach_core.kavach import open_kavach
from kavach_core.primitives import tokens
from tests.adapters.asgi import lifespan
from tests.http.frameworks import MOUNT, Framework
from tests.http.world import bearer, client_of, error_of

TOKEN = bearer("kv_ses_" + "0" * 43 + "000000")


class Opened:
    """What stands in for a Kavach: it knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


class Opener:
    """Counts how often it opens; waits while it is held, and fails on demand."""

    def __init__(self) -> None:
        self.opened: list[Opened] = []
        self.calls = 0
        self.go = asyncio.Event()
        self.go.set()
        self.failure: Exception | None = None

    async def __call__(self, config: Config) -> Kavach:
        self.calls += 1
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        self.opened.append(Opened())
        return cast("Kavach", self.opened[-1])


def lazy(opener: Callable[[Config], Awaitable[Kavach]]) -> LazyKavach:
    return LazyKavach(load_config(database="sqlite:///never.db"), opener)


async def test_fifty_first_calls_open_once() -> None:
    opener = Opener()
    get_kavach = lazy(opener)
    found = await asyncio.gather(*(get_kavach() for _ in range(50)))
    assert opener.calls == 1 and set(map(id, found)) == {id(opener.opened[0])}
    assert await get_kavach() is found[0]


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    opener = Opener()
    get_kavach = lazy(opener)
    opener.failure = StoreUnavailable("down")
    failed = await asyncio.gather(*(get_kavach() for _ in range(50)), return_exceptions=True)
    assert opener.calls == 1 and all(isinstance(error, StoreUnavailable) for error in failed)
    opener.failure = None
    assert await get_kavach() is opener.opened[0]


async def test_the_first_caller_leaving_does_not_stop_the_opening() -> None:
    opener = Opener()
    get_kavach = lazy(opener)
    opener.go.clear()
    first, second = asyncio.create_task(get_kavach()), asyncio.create_task(get_kavach())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    opener.go.set()
    assert await second is opener.opened[0] and opener.calls == 1


async def test_the_opener_does_not_see_the_first_callers_context() -> None:
    of_the_request: contextvars.ContextVar[str] = contextvars.ContextVar("of_the_request", default="nobody's")
    seen: list[str] = []

    async def open_(config: Config) -> Kavach:
        seen.append(of_the_request.get())
        return cast("Kavach", Opened())

    of_the_request.set("alice's")
    await lazy(open_)()
    assert seen == ["nobody's"]


async def test_closing_waits_for_an_opening_and_the_next_call_opens_anew() -> None:
    opener = Opener()
    get_kavach = lazy(opener)
    await get_kavach.close()
    opener.go.clear()
    waiting = asyncio.create_task(get_kavach())
    await asyncio.sleep(0)
    closing = asyncio.create_task(get_kavach.close())
    await asyncio.sleep(0)
    assert not closing.done()
    opener.go.set()
    await asyncio.gather(waiting, closing)
    assert opener.opened[0].closed
    assert await get_kavach() is opener.opened[1] and not opener.opened[1].closed
    await get_kavach.close()
    await get_kavach.close()
    assert opener.calls == 2


async def test_opening_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kavach_core.lazy.START_TIMEOUT", 0.01)
    opener = Opener()
    opener.go.clear()
    with pytest.raises(StoreUnavailable):
        await lazy(opener)()


def test_each_loop_has_its_own() -> None:
    get_kavach = lazy(lambda config: asyncio.sleep(0, cast("Kavach", Opened())))

    async def twice() -> tuple[object, object]:
        return await get_kavach(), await get_kavach()

    first, second = asyncio.run(twice()), asyncio.run(twice())
    assert first[0] is first[1] and second[0] is second[1] and first[0] is not second[0]


async def test_after_a_fork_the_parents_is_let_go_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = Opener()
    get_kavach = lazy(opener)
    parents = await get_kavach()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert await get_kavach() is not parents
    await get_kavach.close()
    assert [opened.closed for opened in opener.opened] == [False, True]


def test_settings_are_checked_at_once_and_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        lazy_kavach(base_url="https://app.example")
    for make in (kavach_fastapi, kavach_starlette):
        make(lazy_kavach(database="sqlite:///never.db"))
    assert list(tmp_path.iterdir()) == []


_FREEZING = """
import asyncio, gc, sys
from kavach_core import LazyKavach
from kavach_core.config import load_config

async def open_(config):
    if "fail" in sys.argv:
        raise ValueError
    return object()

gc.isenabled = lambda: "off" not in sys.argv
get_kavach = LazyKavach(load_config(database="sqlite:///never.db"), open_, freeze="freeze" in sys.argv)
counts = [gc.get_freeze_count()]
for _ in range(2):
    try:
        asyncio.run(get_kavach())
    except ValueError:
        pass
    counts.append(gc.get_freeze_count())
print([count - counts[0] > 1000 for count in counts[1:]], counts[1] == counts[2])
"""


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        (["freeze"], "[True, True] True"),
        ([], "[False, False] True"),
        (["freeze", "off"], "[False, False] True"),
        (["freeze", "fail"], "[False, False] True"),
    ],
)
def test_what_is_loaded_is_set_aside_once(told: list[str], seen: str) -> None:
    """In a process of its own, since it can be done once in each; a second loop opens again and changes nothing."""
    done = subprocess.run([sys.executable, "-c", _FREEZING, *told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == seen


# Over HTTP, in each framework.


@asynccontextmanager
async def counted(
    framework: Framework, database: str, **options: Any
) -> AsyncIterator[tuple[Any, LazyKavach, list[Kavach]]]:
    """An app, its factory, and every real Kavach that was opened."""
    opened: list[Kavach] = []

    async def open_(config: Config) -> Kavach:
        opened.append(await open_kavach(config))
        return opened[-1]

    get_kavach = LazyKavach(load_config(database=database), open_)
    yield framework.build(get_kavach, **options), get_kavach, opened
    await get_kavach.close()


async def test_fifty_first_requests_open_one_database(framework: Framework, sqlite_database: str) -> None:
    async with counted(framework, sqlite_database) as (app, _, opened), client_of(app) as client:
        answers = await asyncio.gather(*(client.get(f"{MOUNT}/agents", headers=TOKEN) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {401} and len(opened) <= 1
        answers = await asyncio.gather(*(client.get("/search", headers=_unknown_agent()) for _ in range(50)))
        assert {error_of(answer) for answer in answers} == {(401, "UNKNOWN_CREDENTIAL")} and len(opened) == 1


@pytest.mark.parametrize("guard", [None, {"protect": ["/dashboard/:path*"]}], ids=["plain", "guarded"])
async def test_the_apps_shutdown_closes_what_was_opened(
    framework: Framework, sqlite_database: str, guard: dict[str, Any] | None
) -> None:
    async with counted(framework, sqlite_database, guard=guard) as (app, get_kavach, opened):
        async with lifespan(app), client_of(app) as client:
            assert opened == [], "starting opens nothing"
            await client.get("/search", headers=_unknown_agent())
            assert len(opened) == 1 and get_kavach._slots
        assert not get_kavach._slots
        # A server may start the app again.
        async with lifespan(app), client_of(app) as client:
            assert error_of(await client.get("/search", headers=_unknown_agent())) == (401, "UNKNOWN_CREDENTIAL")
        assert len(opened) == 2 and not get_kavach._slots


async def test_the_guard_alone_closes_it_and_leaves_the_apps_own_lifespan_intact(sqlite_database: str) -> None:
    steps: list[str] = []
    get_kavach = lazy_kavach(database=sqlite_database)
    kv = kavach_starlette(get_kavach)

    @asynccontextmanager
    async def own(app: Starlette) -> AsyncGenerator[None]:
        steps.append("start")
        yield
        steps.append(f"stop, open={bool(get_kavach._slots)}")

    app = Starlette(routes=[*kv.routes], lifespan=own)
    app.add_middleware(kv.Guard, protect=["/dashboard/:path*"])  # type: ignore[arg-type]
    async with lifespan(app), client_of(app) as client:
        await client.get("/dashboard/x", headers=_unknown_agent())
        assert get_kavach._slots
    assert steps == ["start", "stop, open=True"] and not get_kavach._slots


def _unknown_agent() -> dict[str, str]:
    return bearer(tokens.mint(tokens.TokenKind.AGENT).token)
