"""Transactions that wait for their turn: so many and no more, and not for ever."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest

from kavach_core.errors import StoreUnavailable
from kavach_core.store import Store, Transaction
from tests.store.conftest import OpenStore
from tests.store.support import AddThings, add, make_things, names, stay


async def test_more_transactions_than_may_wait_are_turned_away_at_once(opened: OpenStore, database_url: str) -> None:
    store = await opened(database_url, max_waiting=4, pool_size=1)
    await make_things(store)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        await stay(tx, 0.2)

    holding = asyncio.create_task(store.transact(hold))
    await begun.wait()
    others = [asyncio.create_task(store.transact(add, f"{number}")) for number in range(8)]
    await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    turned_away = [task for task in others if task.done()]
    assert not holding.done()
    assert turned_away == others[-len(turned_away) :] and len(turned_away) in (4, 5)  # who is at it may count too
    for task in turned_away:
        with pytest.raises(StoreUnavailable, match="Too many"):
            await task
    await asyncio.gather(holding, *others[: -len(turned_away)])
    assert await names(store) == [f"{number}" for number in range(8 - len(turned_away))]


async def test_a_locked_file_is_not_waited_for_in_turn(opened: OpenStore, sqlite_database: str) -> None:
    """Each would wait as long as SQLite does, behind all that came before it."""
    store = await opened(sqlite_database, busy_timeout=0.2, patience=0.1)
    await make_things(store)
    other = sqlite3.connect(sqlite_database.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    began = time.monotonic()
    told = await asyncio.gather(*[store.transact(add, f"{n}") for n in range(50)], return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailable] * 50
    assert time.monotonic() - began < 50 * 0.2 / 2
    other.close()
    assert await names(store) == []


async def test_who_waits_too_long_for_a_connection_is_told(opened: OpenStore, postgres_database: str) -> None:
    store = await opened(postgres_database, pool_size=1, patience=0.1)
    await make_things(store)
    holding = asyncio.create_task(store.transact(stay, 0.5))
    await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable):
        await store.transact(add, "one")
    assert not holding.done()
    await holding
    assert await names(store) == []


async def test_who_waits_too_long_in_a_lane_is_told_in_time_and_not_decided_later(store: Store) -> None:
    worker = AddThings(slow=0.4)
    lane = store.lane(worker, patience=0.1)
    first = asyncio.create_task(lane.submit("under way"))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    told = await asyncio.gather(*[lane.submit(f"{number}") for number in range(9)], return_exceptions=True)
    took = time.monotonic() - began
    assert [type(each) for each in told] == [StoreUnavailable] * 9
    with pytest.raises(StoreUnavailable, match="too long"):
        await first
    assert took >= 0.1 and worker.diary == ["run"], "they heard it while the transaction was under way"
    worker.slow = 0
    await store.close()
    assert worker.batches == [["under way"]] and worker.diary == ["run", "committed"]
