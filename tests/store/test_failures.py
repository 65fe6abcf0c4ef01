"""A database that cannot be read or written is `StoreUnavailable`, promptly; and when it is back, so is the store."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kavach_core.errors import StoreUnavailable
from kavach_core.store import Store, Transaction
from kavach_core.store.open import open_store
from tests.postgres_server import PostgresServer
from tests.store.conftest import OpenStore
from tests.store.support import AddThings, add, make_things, names, proxy_before, stay


async def test_a_locked_file_is_unavailable_until_it_is_let_go(opened: OpenStore, sqlite_database: str) -> None:
    store = await opened(sqlite_database, busy_timeout=0.05)
    await make_things(store)
    worker = AddThings()
    lane = store.lane(worker)
    other = sqlite3.connect(sqlite_database.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreUnavailable):
        await store.transact(add, "one")
    with pytest.raises(StoreUnavailable):
        await lane.submit("two")
    assert await names(store) == []
    other.close()
    await store.transact(add, "three")
    assert await lane.submit("four") == "FOUR"
    assert worker.diary == ["run", "committed"]


def test_only_begin_immediate_waits_for_a_lock(tmp_path: Path) -> None:
    """The negative control: a transaction that begins by reading cannot wait its turn to write."""
    first, second = (sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=5) for _ in range(2))
    first.execute("pragma journal_mode=wal")
    first.execute("create table counted (n integer)")
    first.execute("insert into counted values (0)")
    for connection in (first, second):
        connection.execute("begin")
        connection.execute("select n from counted").fetchall()
    first.execute("update counted set n = n + 1")
    first.execute("commit")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("update counted set n = n + 1")
    first.close()
    second.close()


async def test_reading_and_writing_back_waits_its_turn_beside_another_process(
    opened: OpenStore, sqlite_database: str
) -> None:
    store = await opened(sqlite_database)
    await make_things(store)
    await store.transact(add, "counter")

    async def count(tx: Transaction) -> None:
        row = await tx.fetch_one("select number from things")
        assert row is not None
        await tx.execute("update things set number = $1", int(str(row["number"])) + 1)

    def count_elsewhere() -> None:
        other = sqlite3.connect(sqlite_database.removeprefix("sqlite:///"), isolation_level=None, timeout=5)
        for _ in range(50):
            other.execute("begin immediate")
            other.execute("update things set number = number + 1")
            other.execute("commit")
        other.close()

    elsewhere = asyncio.create_task(asyncio.to_thread(count_elsewhere))
    for _ in range(50):
        await store.transact(count)
    await elsewhere
    assert await store.read(_numbers) == [100]


async def _numbers(tx: Transaction) -> list[object]:
    return [row["number"] for row in await tx.fetch("select number from things")]


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A directory of one's own, and no right to write where others may not; root has every right."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    if os.geteuid() != os.getuid():
        os.seteuid(os.getuid())
    directory.chmod(0o755)
    shutil.rmtree(directory)


async def test_a_file_that_may_only_be_read_is_unavailable(opened: OpenStore, as_nobody: Path) -> None:
    url = f"sqlite:///{as_nobody}/kavach.db"
    await (await opened(url)).close()
    for file in (as_nobody / "kavach.db", as_nobody):
        file.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)
    with pytest.raises(StoreUnavailable):
        await open_store(url)


async def test_a_full_database_is_unavailable_and_changes_nothing(opened: OpenStore, sqlite_database: str) -> None:
    store = await opened(sqlite_database)
    await make_things(store)

    async def fill(tx: Transaction) -> None:
        await add(tx, "first")
        await tx.fetch("pragma max_page_count = 1")  # never below what there is
        await add(tx, "x" * 1_000_000)

    async def make_room(tx: Transaction) -> None:
        await tx.fetch("pragma max_page_count = 1000000")
        await add(tx, "after")

    with pytest.raises(StoreUnavailable):
        await store.transact(fill)
    await store.transact(make_room)
    assert await names(store) == ["after"]


async def test_a_commit_that_fails_on_the_disk_is_lost(opened: OpenStore, sqlite_database: str) -> None:
    """Nothing is answered as if it were durable, and nothing runs again."""
    store = await opened(sqlite_database)
    await make_things(store)
    worker = AddThings()
    lane = store.lane(worker)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        answers = await asyncio.gather(lane.submit("one"), store.transact(add, "two"), return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert worker.diary == ["run", "lost"]
    await store.transact(add, "three")
    assert await names(store) == ["three"]


async def test_postgresql_that_was_down_is_found_again_by_the_next_call(opened: OpenStore) -> None:
    with PostgresServer() as server:
        store = await opened(server.url, pool_size=6)
        await make_things(store)
        worker = AddThings()
        lane = store.lane(worker)
        await asyncio.gather(*[store.transact(add, f"before {number}") for number in range(6)], lane.submit("before"))
        server.stop()
        await _is_refused_quickly(store)
        server.start()
        assert await lane.submit("after") == "AFTER"
        await asyncio.gather(*[store.transact(add, f"after {number}") for number in range(6)])
        server.restart()  # this time nobody asked while it was down
        assert await lane.submit("again") == "AGAIN"
        await asyncio.gather(*[store.transact(add, f"again {number}") for number in range(6)])
        assert len(await names(store)) == 21
        assert "lost" not in worker.diary
        server.stop()
        await _is_refused_quickly(store)
        await store.close()


async def _is_refused_quickly(store: Store) -> None:
    started = time.monotonic()
    lane = store.lane(AddThings())
    calls = [store.transact(add, "during"), store.read(add, "during"), lane.submit("during"), lane.submit("during 2")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 4
    assert time.monotonic() - started < 5


async def test_a_server_that_does_not_answer_is_given_up(opened: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kavach_core.store.postgres_driver.CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreUnavailable):
        async with asyncio.timeout(5):
            await open_store(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/x")


@pytest.mark.parametrize("cut", ["cut before", "cut after"])
async def test_a_connection_lost_during_commit_never_runs_again(
    opened: OpenStore, postgres_database: str, cut: str
) -> None:
    direct = await opened(postgres_database)
    await make_things(direct)
    async with proxy_before(postgres_database) as proxy:
        store = await opened(proxy.url)
        worker = AddThings()
        lane = store.lane(worker)
        assert await lane.submit("before") == "BEFORE"
        proxy.at_commit = cut
        batch = await asyncio.gather(lane.submit("a"), lane.submit("b"), return_exceptions=True)
        with pytest.raises(StoreUnavailable, match="not known"):
            await store.transact(add, "c")
        proxy.at_commit = "pass"
        assert [type(answer) for answer in batch] == [StoreUnavailable] * 2
        assert worker.diary == ["run", "committed", "run", "lost"]
        assert proxy.commits == 2
        assert await lane.submit("after") == "AFTER"
        await store.transact(add, "after too")
        committed = ["a", "b", "c"] if cut == "cut after" else []
        assert await names(direct) == sorted(["before", "after", "after too", *committed])
        await store.close()


async def test_a_backend_cut_off_before_commit_changes_nothing(opened: OpenStore, postgres_database: str) -> None:
    store = await opened(postgres_database, pool_size=1)
    await make_things(store)
    runs: list[str] = []

    async def cut_oneself_off(tx: Transaction) -> None:
        runs.append("run")
        await add(tx, "one")
        await tx.fetch("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreUnavailable):
        await store.transact(cut_oneself_off)
    await store.transact(add, "two")
    assert (await names(store), runs) == (["two"], ["run"])


async def test_a_deadlock_runs_again_whole(opened: OpenStore, postgres_database: str) -> None:
    """Two transactions that lock in opposite order; locking in one order is the rule, this is the net below it."""
    store = await opened(postgres_database)
    await make_things(store)
    await store.transact(add, "a")
    await store.transact(add, "b")
    runs: list[str] = []

    async def lock_both(tx: Transaction, first: str, second: str) -> None:
        runs.append(first)
        await tx.execute("set local deadlock_timeout = '20ms'")
        await tx.execute("update things set number = number + 1 where name = $1", first)
        await stay(tx, 0.05)
        await tx.execute("update things set number = number + 1 where name = $1", second)

    await asyncio.gather(store.transact(lock_both, "a", "b"), store.transact(lock_both, "b", "a"))
    assert await store.read(_numbers) == [2, 2]
    assert len(runs) > 2


async def test_a_deadlock_that_never_ends_is_unavailable(opened: OpenStore, postgres_database: str) -> None:
    store = await opened(postgres_database)
    await make_things(store)
    worker = Deadlocked()
    lane = store.lane(worker)
    answers = await asyncio.gather(lane.submit("a"), lane.submit("b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert worker.batches == [["a", "b"]] * 5
    assert worker.diary == ["run"] * 5


class Deadlocked(AddThings):
    """Says what a server says that has found a deadlock."""

    async def run(self, tx: Transaction, questions: list[str]) -> list[str | Exception]:
        answers = await super().run(tx, questions)
        await tx.execute("do $$ begin raise exception using errcode = '40P01'; end $$")
        return list(answers)


async def test_a_statement_whose_table_was_altered_meanwhile_runs_again(
    opened: OpenStore, postgres_database: str
) -> None:
    store, other = await opened(postgres_database, pool_size=1), await opened(postgres_database)
    await make_things(store)
    await store.transact(add, "one", 1)

    async def every(tx: Transaction) -> list[object]:
        return [tuple(row) for row in await tx.fetch("select * from things")]

    async def alter(tx: Transaction) -> None:
        await tx.execute("alter table things add column more text")

    assert await store.read(every) == [("one", 1)]
    await other.transact(alter)
    assert await store.read(every) == [("one", 1, None)]
