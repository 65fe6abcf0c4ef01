"""What a transaction promises, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from kavach_core.errors import StoreUnavailable
from kavach_core.primitives.clock import NEVER
from kavach_core.store import Store, Transaction
from kavach_core.store.faults import DataRejected, UniqueViolation
from tests.store.conftest import OpenStore
from tests.store.support import add, make_things, names, stay


async def test_commits_when_the_function_returns(store: Store) -> None:
    await store.transact(add, "one", 1)
    assert await names(store) == ["one"]


async def test_rolls_back_when_the_function_raises(store: Store) -> None:
    async def add_and_raise(tx: Transaction) -> None:
        await add(tx, "one")
        raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        await store.transact(add_and_raise)
    assert await names(store) == []


async def test_returns_an_exception_that_the_function_returns(store: Store) -> None:
    async def answer(tx: Transaction) -> Exception:
        return KeyError("a value")

    assert isinstance(await store.transact(answer), KeyError)


async def test_rows_are_read_by_name_by_position_and_unpacked(store: Store) -> None:
    async def look(tx: Transaction) -> None:
        await add(tx, "one", 1)
        for row in (
            await tx.fetch_one("select name, number from things"),
            *await tx.fetch("select name, number from things"),
            *await tx.fetch_facts("select name, number from things"),
        ):
            assert row is not None
            name, number = row
            assert (name, number) == (row[0], row[1]) == (row["name"], row["number"]) == ("one", 1)
        assert await tx.fetch_one("select name from things where number = $1", 2) is None

    await store.transact(look)


async def test_execute_tells_how_many_rows_changed(store: Store) -> None:
    async def change(tx: Transaction) -> list[int]:
        return [
            await tx.execute("insert into things (name, number) values ($1, 1), ($2, 1)", "a", "b"),
            await tx.execute("update things set number = number + $1", 1),
            await tx.execute("update things set number = 3 where name = $1", "nobody"),
            await tx.execute("insert into things (name) values ($1) on conflict do nothing", "a"),
            await tx.execute("select name from things"),
            await tx.execute("delete from things"),
        ]

    assert await store.transact(change) == [2, 2, 0, 0, 0, 2]


async def test_runs_a_statement_for_each_tuple(store: Store) -> None:
    async def run(tx: Transaction) -> list[object]:
        await tx.execute_each("insert into things (name, number) values ($1, $2)", [("a", 1), ("b", 2), ("c", 3)])
        await tx.execute_each("insert into things (name, number) values ($1, $2)", [])
        assert await tx.fetch_each("select 1 from things where name = $1", []) == []
        rows = await tx.fetch_each("select number from things where name = $1", [("c",), ("x",), ("a",)])
        return sorted(str(row[0]) for row in rows)

    assert await store.transact(run) == ["1", "3"]


async def test_parameters_bind_by_their_number(store: Store) -> None:
    """sqlite3 alone would bind them in the order in which they appear."""

    async def swap(tx: Transaction) -> tuple[object, ...]:
        await tx.execute("insert into things (number, name) values ($2, $1)", "'$3'", 7)
        row = await tx.fetch_one("select name, number, '$2' from things where number = $2 and name = $1", "'$3'", 7)
        assert row is not None
        return tuple(row)

    assert await store.transact(swap) == ("'$3'", 7, "$2")


async def test_ids_times_and_switches_come_back_as_they_were(store: Store) -> None:
    async def round_trip(tx: Transaction) -> None:
        types = "blob, at integer, yes integer" if tx.dialect == "sqlite" else "uuid, at timestamptz, yes boolean"
        await tx.execute(f"create table kinds (id {types})")
        sent = [(tx.new_id(), tx.now, True), (bytes(16), NEVER, False), (tx.new_id(), -1, True), (None, 0, None)]
        await tx.execute_each("insert into kinds values ($1, $2, $3)", sent)
        assert [tuple(row) for row in await tx.fetch("select * from kinds order by at desc")] == sorted(
            sent, key=lambda row: -int(row[1] or 0)
        )
        assert await tx.fetch_one("select 1 from kinds where id = $1 and at = $2", *sent[0][:2]) is not None
        if tx.dialect == "postgres":
            rows = await tx.fetch("select id from kinds where id = any(cast($1 as uuid[]))", [sent[0][0], sent[2][0]])
            assert {row["id"] for row in rows} == {sent[0][0], sent[2][0]}

    await store.transact(round_trip)


async def test_identifiers_compare_case_sensitively(store: Store) -> None:
    async def compare(tx: Transaction) -> list[str]:
        for name in ("alice", "Alice", "ALICE", "alice "):
            await tx.execute(
                "insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3)", "p", name, tx.now
            )
        found = await tx.fetch("select id from kavach_owners where project_id = $1 and id = $2", "p", "Alice")
        assert await tx.fetch("select id from kavach_owners where project_id = $1", "P") == []
        return [str(row["id"]) for row in found]

    assert await store.transact(compare) == ["Alice"]


async def test_now_never_goes_back_and_ids_keep_its_order(opened: OpenStore, database_url: str) -> None:
    clock = iter([5_000_000, 9_000_000, 2_000_000, 3_000_000, 10_000_000])
    store = await opened(database_url, clock=lambda: next(clock))

    async def look(tx: Transaction) -> tuple[int, int, bytes]:
        return tx.now, tx.floor, tx.new_id()

    seen = [await store.transact(look) for _ in range(3)]
    seen += [await store.read(look), await store.transact(look)]
    assert [now for now, _, _ in seen] == [5_000_000, 9_000_000, 9_000_000, 9_000_000, 10_000_000]
    assert [floor for _, floor, _ in seen] == [0, 5_000_000, 9_000_000, 9_000_000, 9_000_000]
    assert [made for _, _, made in seen] == sorted({made for _, _, made in seen})


async def test_now_is_one_moment(store: Store) -> None:
    async def look(tx: Transaction) -> None:
        before = tx.now
        await stay(tx, 0.01)
        assert tx.now == before

    await store.transact(look)
    await store.read(look)


async def test_a_read_sees_one_snapshot_and_waits_for_no_writer(store: Store) -> None:
    async def count_twice(tx: Transaction) -> tuple[int, int]:
        first = len(await tx.fetch("select name from things"))
        await stay(tx, 0.1)
        return first, len(await tx.fetch("select name from things"))

    async def write_slowly(tx: Transaction) -> None:
        await add(tx, "slow")
        await stay(tx, 0.3)

    writing = asyncio.create_task(store.transact(write_slowly))
    reading = asyncio.create_task(store.read(count_twice))
    await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
    assert reading.done() and not writing.done()
    reading = asyncio.create_task(store.read(count_twice))
    await writing
    assert await reading in [(0, 0), (1, 1)]


async def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await store.read(add, "one")
    await store.transact(add, "two")
    assert await names(store) == ["two"]


@pytest.mark.parametrize(
    ("name", "number", "fault"),
    [
        ("taken", 0, UniqueViolation),
        (None, 0, DataRejected),
        ("lone \ud800 surrogate", 0, DataRejected),
        ("too large", 2**63, DataRejected),
        ("no type", object(), DataRejected),
    ],
)
async def test_a_refused_value_is_told_from_a_failing_database(
    store: Store, name: str, number: int, fault: type[DataRejected]
) -> None:
    await store.transact(add, "taken")
    with pytest.raises(DataRejected) as caught:
        await store.transact(add, name, number)
    assert type(caught.value) is fault
    await store.transact(add, "next")


async def test_a_failed_statement_ends_its_transaction_even_if_the_error_is_caught(store: Store) -> None:
    async def go_on(tx: Transaction) -> None:
        await add(tx, "one")
        with contextlib.suppress(UniqueViolation):
            await add(tx, "one")

    async def say_otherwise(tx: Transaction) -> None:
        try:
            await add(tx, "one")
            await add(tx, "one")
        except UniqueViolation as error:
            raise KeyError("taken") from error

    with pytest.raises(RuntimeError, match="went on"):
        await store.transact(go_on)
    with pytest.raises(KeyError, match="taken"):
        await store.transact(say_otherwise)
    assert await names(store) == []


async def test_a_constraint_checked_at_commit_is_a_refused_value(store: Store) -> None:
    async def create(tx: Transaction) -> None:
        await tx.execute(
            "create table parts (thing text references things (name) on delete cascade deferrable initially deferred)"
        )

    async def orphan(tx: Transaction) -> None:
        await tx.execute("insert into parts (thing) values ($1)", "nobody")

    await store.transact(create)
    with pytest.raises(DataRejected):
        await store.transact(orphan)
    await store.transact(add, "next")


async def test_a_cancelled_caller_leaves_nothing_half_done(opened: OpenStore, database_url: str) -> None:
    """What was begun runs to its end, and its connection is as good as before."""
    store = await opened(database_url, pool_size=1)
    await make_things(store)

    async def two_steps(tx: Transaction, name: str) -> None:
        await add(tx, f"{name} 1")
        await stay(tx, 0.04)
        await add(tx, f"{name} 2")

    for attempt in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002 + attempt * 0.006):
                await store.transact(two_steps, f"try {attempt}")
        await store.transact(add, f"after {attempt}")
    steps = [f"try {attempt} {step}" for attempt in range(6) for step in (1, 2)]
    assert await names(store) == [*(f"after {attempt}" for attempt in range(6)), *steps]


@pytest.mark.parametrize("mistake", [0.0, 0.01, None], ids=["sleep 0", "sleep", "gather"])
async def test_awaiting_anything_else_is_an_error_on_sqlite(
    opened: OpenStore, sqlite_database: str, mistake: float | None
) -> None:
    store = await opened(sqlite_database)
    await make_things(store)

    async def dawdle(tx: Transaction) -> None:
        await add(tx, "one")
        if mistake is None:
            await asyncio.gather(asyncio.Future())
        else:
            await asyncio.sleep(mistake)

    with pytest.raises(RuntimeError, match="may await nothing but its transaction"):
        await store.transact(dawdle)
    assert await names(store) == []


async def test_a_loop_that_is_gone_before_its_answer_is_dropped_quietly(
    opened: OpenStore, sqlite_database: str
) -> None:
    store = await opened(sqlite_database)
    await make_things(store)
    go = threading.Event()

    async def wait_and_add(tx: Transaction) -> None:
        go.wait(5)
        await add(tx, "one")

    def ask_and_leave() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(store.transact(wait_and_add))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()

    await asyncio.to_thread(ask_and_leave)
    go.set()
    await store.transact(add, "two")
    assert await names(store) == ["one", "two"]


async def test_a_closed_store_answers_nobody(store: Store) -> None:
    await store.close()
    await store.close()
    for call in (store.transact(add, "late"), store.read(add, "late")):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


async def test_closing_waits_for_what_is_in_flight(opened: OpenStore, database_url: str) -> None:
    store = await opened(database_url)
    await make_things(store)

    async def add_slowly(tx: Transaction) -> str:
        await stay(tx, 0.1)
        await add(tx, "one")
        return "done"

    asked = asyncio.create_task(store.transact(add_slowly))
    await asyncio.sleep(0.02)
    await store.close()
    assert await asked == "done"
