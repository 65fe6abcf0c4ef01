"""Overload: who asks a lot waits for themselves, beyond the bound it is no at once, and nothing is half done."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from kavach_core import Decision, Kavach, create_kavach
from kavach_core.config import load_config
from kavach_core.errors import StoreUnavailable
from kavach_core.runtime import Runtime
from kavach_core.store import Lane, Transaction
from kavach_core.store.open import open_store
from kavach_core.store.store import same_turn
from tests.capabilities.support import WatchedStore, all_entries, ask, make_agent

_WAITING, _BATCH = 2_000, 50


class Counted:
    """A worker that counts its batches, and notes in which one every owner's call was decided last."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.batches = 0
        self.last_of: dict[object, int] = {}

    async def run(self, tx: Transaction, questions: Sequence[Any]) -> Sequence[Any]:
        self.batches += 1
        self.last_of.update((question.turn, self.batches) for question in questions)
        return await self._worker.run(tx, questions)

    def committed(self) -> None:
        self._worker.committed()

    def lost(self) -> None:
        self._worker.lost()


class CountedStore(WatchedStore):
    """A store whose lane counts, with small batches, and with or without turns."""

    counted: Counted
    turns: bool = True

    def lane(self, worker: Any, **traffic: Any) -> Lane[Any, Any]:
        self.counted = Counted(worker)
        if not self.turns:
            traffic["turn_of"] = same_turn
        return super().lane(self.counted, **{**traffic, "most": _BATCH})


@asynccontextmanager
async def busy_kavach(database: str, *, turns: bool) -> AsyncGenerator[tuple[Kavach, Counted, str]]:
    """One where an owner has 2,000 calls waiting at any time; and the token of an agent of a quiet one."""
    store = CountedStore(await open_store(database))
    store.turns = turns
    async with Kavach(Runtime(store, load_config(database=database))) as kavach:
        busy = [(await make_agent(kavach, owner_id="busy")).token for _ in range(5)]
        quiet = (await make_agent(kavach, owner_id="quiet")).token or ""
        for token in (*busy, quiet):
            assert await ask(kavach, token)  # from now on it is known whose they are

        async def call(token: str | None) -> None:
            while True:
                await ask(kavach, token)

        callers = [asyncio.create_task(call(busy[number % 5])) for number in range(_WAITING)]
        await asyncio.sleep(0)
        try:
            yield kavach, store.counted, quiet
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)


async def batches_waited(database: str, *, turns: bool, calls: int) -> float:
    """How many batches a quiet owner's call waits for, its own included, beside the one under way when it comes."""
    waits: list[int] = []
    async with busy_kavach(database, turns=turns) as (kavach, counted, quiet):
        for _ in range(calls):
            before = counted.batches
            assert await ask(kavach, quiet)
            waits.append(counted.last_of["quiet"] - before)
    return statistics.mean(waits)


@pytest.mark.parametrize("calls", [5, pytest.param(400, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
async def test_a_quiet_owner_does_not_wait_for_a_busy_one(
    database_url: str, calls: int, figure: Callable[[str], None]
) -> None:
    waits = await batches_waited(database_url, turns=True, calls=calls)
    without = await batches_waited(database_url, turns=False, calls=1)
    figure(
        f"fairness: a quiet owner waits {waits:.1f} batches while another has {_WAITING:,} calls waiting"
        f" ({without:.0f} without turns, {_kind(database_url)})"
    )
    assert waits < 3
    assert without > 0.5 * _WAITING / _BATCH  # the negative control: everybody stands in one line


@pytest.mark.parametrize("decided", ["here", "elsewhere"])
async def test_a_quiet_owner_does_not_wait_for_the_settlements_of_a_busy_one(database_url: str, decided: str) -> None:
    """Settlements take the turn of whose call they settle, or share a few; with one each, all would come first."""
    store = CountedStore(await open_store(database_url))
    async with (
        Kavach(Runtime(store, load_config(database=database_url))) as kavach,
        await create_kavach(database=database_url) as other,
    ):
        busy = (await make_agent(kavach, owner_id="busy")).token
        quiet = (await make_agent(kavach, owner_id="quiet")).token
        assert await ask(kavach, quiet)
        decider = kavach if decided == "here" else other
        spent = await asyncio.gather(*[ask(decider, busy, cost=2) for _ in range(1_000)])
        settling = [asyncio.ensure_future(kavach.settle(each.audit_id or "", 1)) for each in spent]
        await asyncio.sleep(0)
        before = store.counted.batches
        assert await ask(kavach, quiet)
        assert store.counted.last_of["quiet"] - before <= 3
        assert all(settled.actual == 1 for settled in await asyncio.gather(*settling))


@asynccontextmanager
async def held(database: str) -> AsyncGenerator[None]:
    """Nothing can be written meanwhile."""
    if database.startswith("sqlite"):
        file = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        file.execute("begin immediate")
        try:
            yield
        finally:
            file.close()
    else:
        connection = await asyncpg.connect(database)
        try:
            async with connection.transaction():
                await connection.execute("lock table kavach_audit, kavach_sessions in share row exclusive mode")
                yield
        finally:
            await connection.close()


async def refused(call: Awaitable[object]) -> float:
    """Seconds until a call was told that the database cannot be used."""
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        await call
    return time.perf_counter() - began


@pytest.mark.parametrize("what", ["decisions", "other calls"])
async def test_a_call_beyond_those_that_may_wait_hears_so_at_once(
    database_url: str, what: str, figure: Callable[[str], None]
) -> None:
    """And not when there is room for it: those who came before wait as long as the database does."""
    async with await create_kavach(database=database_url, max_waiting=100) as kavach:
        token = (await make_agent(kavach)).token

        def call() -> Awaitable[object]:
            return ask(kavach, token) if what == "decisions" else kavach.sessions.create("alice")

        async with held(database_url):
            first = asyncio.ensure_future(call())
            await asyncio.sleep(0.05)  # it is under way, and goes on when it can
            early = [asyncio.ensure_future(call()) for _ in range(200)]
            answers = asyncio.gather(first, *early, return_exceptions=True)
            await asyncio.wait({early[-1]})
            waiting = sum(not task.done() for task in early)
            took = statistics.median([await refused(call()) for _ in range(50)])
            assert sum(not task.done() for task in early) == waiting and waiting in (99, 100)
        told = [isinstance(answer, StoreUnavailable) for answer in await answers]
    figure(
        f"overload: beyond {waiting} {what} that wait the next hears so in {took * 1e6:.0f} µs ({_kind(database_url)})"
    )
    assert took < 0.005
    assert sum(told) == 200 - waiting


async def test_cancelled_callers_leave_nothing_half_done(database_url: str) -> None:
    """Whoever is cancelled when, what is spent is what is on record, and who was told yes is on record."""
    chance = random.Random(5)
    async with await create_kavach(database=database_url) as kavach:
        agent = await make_agent(kavach)
        budget = await kavach.budgets.create(limit=60, per="forever", agent_id=agent.id)
        callers: list[asyncio.Task[Decision]] = []
        for _ in range(300):
            callers.append(asyncio.create_task(ask(kavach, agent.token)))
            if chance.random() < 0.5:
                chance.choice(callers).cancel()
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.004)
        told = await asyncio.gather(*callers, return_exceptions=True)
        assert any(isinstance(each, asyncio.CancelledError) for each in told)
        entries = {entry.id: entry for entry in await all_entries(kavach)}
        allowed = [entry for entry in entries.values() if entry.result == "allowed"]
        assert len(allowed) == (await kavach.budgets.get(budget.id)).spent == 60
        for decision in told:
            if isinstance(decision, Decision):
                assert decision.allowed == (entries[decision.audit_id or ""].result == "allowed")


def _kind(database: str) -> str:
    return database.partition(":")[0]
