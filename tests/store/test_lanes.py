"""Group commit: what a lane promises its callers and its worker, on both databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from kavach_core.errors import InvalidInput, StoreUnavailable
from kavach_core.store import Store, Transaction
from tests.store.conftest import OpenStore
from tests.store.support import AddThings, add, names, stay


async def test_those_who_wait_share_the_next_transaction_in_the_order_they_came(store: Store) -> None:
    worker = AddThings(slow=0.02)
    lane = store.lane(worker)
    questions = [f"{number:02}" for number in range(64)]
    answers = await asyncio.gather(*map(lane.submit, questions))
    assert answers == questions
    assert [question for batch in worker.batches for question in batch] == questions
    assert len(worker.batches) <= 3
    assert await names(store) == questions


async def test_a_lone_question_does_not_wait_for_others(store: Store) -> None:
    worker = AddThings()
    lane = store.lane(worker)
    assert [await lane.submit(name) for name in "abc"] == ["A", "B", "C"]
    assert worker.diary == ["run", "committed"] * 3


async def test_a_batch_has_at_most_so_many_questions(store: Store) -> None:
    worker = AddThings(slow=0.01)
    lane = store.lane(worker, most=10)
    await asyncio.gather(*[lane.submit(str(number)) for number in range(35)])
    assert max(map(len, worker.batches)) == 10


async def test_an_answer_may_be_an_error_for_one_caller(store: Store) -> None:
    lane = store.lane(AddThings())
    answers = await asyncio.gather(*map(lane.submit, ["a", "refuse", "b"]), return_exceptions=True)
    assert [answers[0], type(answers[1]), answers[2]] == ["A", KeyError, "B"]
    assert await names(store) == ["a", "b", "refuse"]


async def test_a_refused_value_fails_its_own_call_only(store: Store) -> None:
    await store.transact(add, "taken")
    worker = AddThings()
    lane = store.lane(worker)
    questions = ["a", "b", "lone \ud800 surrogate", "c", "d", "e", "taken", "f"]
    answers = await asyncio.gather(*map(lane.submit, questions), return_exceptions=True)
    assert [type(answer) for answer in answers] == [
        InvalidInput if question in ("lone \ud800 surrogate", "taken") else str for question in questions
    ]
    assert await names(store) == ["a", "b", "c", "d", "e", "f", "taken"]
    assert "lost" not in worker.diary


async def test_the_worker_hears_of_the_commit_before_anyone_is_answered(store: Store) -> None:
    worker = AddThings()
    lane = store.lane(worker)

    async def ask(name: str) -> None:
        await lane.submit(name)
        worker.diary.append("answered")

    await asyncio.gather(ask("a"), ask("b"))
    assert [entry for entry in worker.diary if entry != "run"][:2] == ["committed", "answered"]
    assert worker.diary.count("committed") == len(worker.batches)


class Broken(AddThings):
    """Has a bug that shows for some questions."""

    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[str | Exception]:
        answers = await super().run(tx, questions)
        if "bug" in questions:
            raise ZeroDivisionError("a bug")
        return answers[1:] if "short" in questions else answers


@pytest.mark.parametrize(("question", "error"), [("bug", ZeroDivisionError), ("short", RuntimeError)])
async def test_a_bug_in_the_worker_reaches_its_callers_and_the_lane_goes_on(
    store: Store, question: str, error: type[Exception]
) -> None:
    worker = Broken()
    lane = store.lane(worker)
    with pytest.raises(error):
        await lane.submit(question)
    assert await lane.submit("after") == "AFTER"
    assert worker.diary == ["run", "run", "committed"]
    assert await names(store) == ["after"]


async def test_cancelled_callers_leave_the_batch_whole_and_are_skipped_before_it(store: Store) -> None:
    worker = AddThings(slow=0.1)
    lane = store.lane(worker)
    first = [asyncio.create_task(lane.submit(name)) for name in ("in flight", "in flight too")]
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(lane.submit(name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    first[0].cancel()
    waiting[1].cancel()
    answers = await asyncio.gather(*first, *waiting, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, False, True, False]
    assert await names(store) == ["a", "c", "in flight", "in flight too"]


async def test_too_many_waiting_calls_are_turned_away_at_once(store: Store) -> None:
    lane = store.lane(AddThings(slow=0.1), max_waiting=4)
    first = asyncio.create_task(lane.submit("first"))
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(lane.submit(str(number))) for number in range(6)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in waiting] == [False] * 4 + [True] * 2
    assert not first.done()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str] * 4 + [StoreUnavailable] * 2
    assert await first == "FIRST"


async def test_a_busy_lane_lets_other_transactions_through(store: Store) -> None:
    lane = store.lane(AddThings(slow=0.01), most=1)
    flood = [asyncio.create_task(lane.submit(str(number))) for number in range(40)]
    await asyncio.sleep(0)
    await store.transact(add, "other")
    assert sum(task.done() for task in flood) < 10
    await asyncio.gather(*flood)


async def test_two_lanes_do_not_disturb_each_other(store: Store) -> None:
    workers = [AddThings(slow=0.002), AddThings(slow=0.002)]
    lanes = [store.lane(worker) for worker in workers]
    await asyncio.gather(*[lanes[number % 2].submit(str(number)) for number in range(60)])
    assert sorted(name for worker in workers for batch in worker.batches for name in batch) == await names(store)


class Facts:
    """Reads facts, and notes the time it saw and what it read."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[list[tuple[object, ...]]]:
        floor = tx.floor
        rows = await tx.fetch_facts(
            "with known as (select name, number from things where name = $1) select name, number from known order by 1",
            questions[0],
        )
        assert tx.new_id()
        self.seen.append((floor, tx.now))
        return [[tuple(row) for row in rows] for _ in questions]

    def committed(self) -> None: ...

    def lost(self) -> None: ...


async def test_facts_settle_the_time_and_come_as_they_were_asked_for(store: Store) -> None:
    await store.transact(add, "here", 1)
    worker = Facts()
    lane = store.lane(worker)
    assert await lane.submit("here") == [("here", 1)]
    assert await lane.submit("nobody") == []
    (first_floor, first), (floor, now) = worker.seen
    assert 0 < first_floor <= first == floor <= now


async def test_an_injected_clock_is_the_time_of_a_lane(opened: OpenStore, store: Store, database_url: str) -> None:
    worker = Facts()
    lane = (await opened(database_url, clock=lambda: 4_000_000_000_000_000)).lane(worker)
    await lane.submit("nobody")
    assert worker.seen[0][1] == 4_000_000_000_000_000


async def test_a_lane_serves_callers_of_several_loops(opened: OpenStore, sqlite_database: str) -> None:
    """One SQLite store may be shared by threads that each have a loop."""
    store = await opened(sqlite_database)
    await store.transact(_create)
    lane = store.lane(AddThings())

    def ask(prefix: str) -> None:
        async def many() -> None:
            assert await asyncio.gather(*[lane.submit(f"{prefix}{n:02}") for n in range(40)]) == [
                f"{prefix.upper()}{n:02}" for n in range(40)
            ]

        asyncio.run(many())

    await asyncio.gather(*[asyncio.to_thread(ask, prefix) for prefix in "abc"])
    assert len(await names(store)) == 120
    assert sum(thread.name == "kavach-writer" for thread in threading.enumerate()) == 1


async def _create(tx: Transaction) -> None:
    await tx.execute("create table things (name text not null primary key, number bigint)")


async def test_closing_answers_those_who_wait_and_lets_nobody_in(store: Store) -> None:
    lane = store.lane(AddThings(slow=0.05), most=2)
    waiting = [asyncio.create_task(lane.submit(str(number))) for number in range(5)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="closed"):
        await lane.submit("late")
    await closing
    assert await asyncio.gather(*waiting) == list("01234")


async def test_a_lane_whose_task_is_torn_down_leaves_nobody_waiting(opened: OpenStore, postgres_database: str) -> None:
    """As when somebody cancels every task of the loop."""
    store = await opened(postgres_database)
    await store.transact(_create)
    worker = AddThings(slow=0.2)
    lane = store.lane(worker, most=1)
    callers = [asyncio.create_task(lane.submit(name)) for name in ("in flight", "waiting")]
    await asyncio.sleep(0.05)
    for task in asyncio.all_tasks() - {*callers, asyncio.current_task()}:
        task.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    worker.slow = 0.0
    assert await lane.submit("next") == "NEXT"
    assert worker.diary == ["run", "lost", "run", "committed"]
    assert await names(store) == ["next"]


class Dawdler(AddThings):
    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[str | Exception]:
        answers = await super().run(tx, questions)
        if "sleep" in questions:
            await asyncio.sleep(0)
        return answers


async def test_a_worker_that_awaits_anything_else_is_an_error_on_sqlite(
    opened: OpenStore, sqlite_database: str
) -> None:
    store = await opened(sqlite_database)
    await store.transact(_create)
    lane = store.lane(Dawdler())
    with pytest.raises(RuntimeError, match="may await nothing but its transaction"):
        await lane.submit("sleep")
    assert await lane.submit("next") == "NEXT"
    assert await names(store) == ["next"]


async def test_questions_wait_while_a_transaction_of_another_kind_has_the_writer(store: Store) -> None:
    async def hold(tx: Transaction) -> None:
        await add(tx, "held")
        await stay(tx, 0.05)

    lane = store.lane(AddThings())
    _, answer = await asyncio.gather(store.transact(hold), lane.submit("a"))
    assert answer == "A"
    assert await names(store) == ["a", "held"]
