"""R15: while the database stands still nobody waits for longer than they said, and beyond a full room nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from kavach_core import CallContext, LazyKavach, lazy_kavach
from kavach_core.errors import StoreUnavailable
from tests.capabilities.support import make_agent
from tests.http.app_starlette import build
from tests.http.world import bearer, client_of, error_of
from tests.proofs import faults
from tests.proofs.records import all_rows

_CALLERS, _ROOM = 40, 8
#: Seconds until a caller is told, and what is still at once on a busy machine.
_PATIENCE, _AT_ONCE = 1.0, 0.5
#: Seconds within which calls are allowed again.
_BACK = 5.0


class Told(NamedTuple):
    """What one caller was told, and after how many seconds."""

    key: str
    allowed: bool
    after: float


async def _call(get_kavach: LazyKavach, token: str, key: str) -> Told:
    begin = time.monotonic()
    try:
        kavach = await get_kavach()
        allowed = bool(
            await kavach.authorize(token, action="read", resource="repos", cost=1, context=CallContext(request_id=key))
        )
    except StoreUnavailable:
        allowed = False
    return Told(key, allowed, time.monotonic() - begin)


async def _crowd(get_kavach: LazyKavach, token: str) -> list[Told]:
    calls = [_call(get_kavach, token, f"call {number}") for number in range(_CALLERS)]
    told, _ = await asyncio.gather(asyncio.gather(*calls), _is_503_over_http(get_kavach, token))
    return told


async def _make_agent(get_kavach: LazyKavach) -> str:
    kavach = await get_kavach()
    agent = await make_agent(kavach)
    await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=1000, per="forever")
    return agent.token or ""


def _wait(database: str, *, room: int) -> tuple[list[Told], set[str]]:
    """Have a crowd call while the database stands still, with one over HTTP, and one afterwards.

    Returns what the crowd was told, and the calls on record.
    """
    fault = faults.locked_file if database.startswith("sqlite") else faults.locked_row
    get_kavach = lazy_kavach(database=database, max_waiting=room, answer_within="1s")
    with asyncio.Runner() as runner:
        token = runner.run(_make_agent(get_kavach))
        with fault(database, 0):
            told = runner.run(_crowd(get_kavach, token))
        assert runner.run(_come_back(get_kavach, token)) < _BACK
        rows = runner.run(_all_rows(get_kavach))
        runner.run(get_kavach.close())
    return told, rows


async def _come_back(get_kavach: LazyKavach, token: str) -> float:
    """Call until that is allowed; returns after how many seconds.

    Those who gave up still take room until the transaction that was under way has ended.
    """
    begin = time.monotonic()
    while True:
        if (await _call(get_kavach, token, "after")).allowed:
            return time.monotonic() - begin
        await asyncio.sleep(0.01)


async def _all_rows(get_kavach: LazyKavach) -> set[str]:
    return {row.request_id or "" for row in await all_rows(await get_kavach())}


async def _is_503_over_http(get_kavach: LazyKavach, token: str) -> None:
    """And says when to come back, which `error_of` asks for."""
    async with client_of(build(get_kavach)) as client:
        assert error_of(await client.post("/search", headers=bearer(token))) == (503, "STORE_UNAVAILABLE")


def _told_at_once(told: list[Told]) -> list[Told]:
    return [call for call in told if call.after < _AT_ONCE]


def test_callers_are_told_in_time(database_url: str, figure: Callable[[str], None]) -> None:
    told, record = _wait(database_url, room=_ROOM)
    at_once, longest = _told_at_once(told), max(call.after for call in told)
    figure(
        f"R15 a database stands still, room for {_ROOM}: of {len(told)} callers {len(at_once)} told at once,"
        f" all within {longest:.1f} s ({database_url.partition(':')[0]})"
    )
    assert not any(call.allowed for call in told)
    # As many as there is room for wait, and as many are at most under way.
    assert len(at_once) >= _CALLERS - 2 * _ROOM
    assert not record.intersection(call.key for call in at_once)
    assert all(call.after > 0.9 * _PATIENCE for call in told if call not in at_once)
    assert longest < _PATIENCE + 2


def test_the_same_check_catches_a_room_without_end(sqlite_database: str) -> None:
    """The negative control: where there is room for everybody, nobody is told at once."""
    told, _ = _wait(sqlite_database, room=10_000)
    assert len(_told_at_once(told)) < _CALLERS - 2 * _ROOM
