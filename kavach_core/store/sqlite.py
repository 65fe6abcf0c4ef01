"""The SQLite engine: one per process and file, shared by every event loop, with a writer thread and a reader thread.

A transaction is one hop: its coroutine is driven to its end inside the thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final, TypeVar, TypeVarTuple

from kavach_core.primitives.clock import Clock, system_clock
from kavach_core.store.batch import BatchLane, Traffic
from kavach_core.store.dialect import Dialect
from kavach_core.store.faults import CommitLost, outcome_unknown, too_many, too_slow, unavailable
from kavach_core.store.loops import call_in, fail, give
from kavach_core.store.sqlite_thread import ConnectionThread, Link
from kavach_core.store.sqlite_transaction import SqliteTransaction, begin
from kavach_core.store.store import A, BatchWorker, Q, Transaction, same_turn
from kavach_core.store.timeline import Timeline
from kavach_core.store.transaction import carry_out

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WRITE: Final = "begin immediate"
_READ: Final = "begin deferred"


class SqliteStore:
    """A handle on the engine of one file. Loops and threads may share it, and each may open its own."""

    def __init__(
        self, path: str, *, clock: Clock | None, busy_timeout: float, max_waiting: int, patience: float
    ) -> None:
        self._engine = _hold(path, busy_timeout)
        self._clock = clock or system_clock
        self._max_waiting = max_waiting
        self._patience = patience
        self._closed = False

    @property
    def dialect(self) -> str:
        """`sqlite`."""
        return Dialect.SQLITE

    async def transact(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that may write; it runs to its end even if the caller is cancelled."""
        self._require_open()
        return await self._ask(self._engine.writer, _WRITE, function, *args)

    async def read(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that only reads, on one snapshot."""
        self._require_open()
        return await self._ask(self._engine.reader, _READ, function, *args)

    def lane(
        self,
        worker: BatchWorker[Q, A],
        *,
        most: int = 256,
        max_waiting: int = 10_000,
        patience: float = 10.0,
        turn_of: Callable[[Q], Hashable] = same_turn,
    ) -> BatchLane[Q, A]:
        """A lane whose batches run in the writer thread, in turn with other transactions."""
        traffic = Traffic(most, max_waiting, patience, turn_of)
        return BatchLane(worker, traffic=traffic, require_open=self._require_open, wake=self._serve)

    async def close(self) -> None:
        """Let go of the engine; the last one to do so waits for what is in flight and ends its threads."""
        if not self._closed and not self._engine.inherited:
            self._closed = True
            await asyncio.to_thread(_let_go, self._engine)

    def _require_open(self) -> None:
        if self._engine.inherited:
            raise RuntimeError("This store was opened before a fork; open one in this process.")
        if self._closed:
            raise unavailable("The store is closed.")

    async def _ask(
        self, thread: ConnectionThread, opening: str, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts
    ) -> T:
        if thread.waiting >= self._max_waiting:
            raise too_many()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        give_up_at = time.monotonic() + self._patience

        def job(link: Link) -> None:
            try:
                if time.monotonic() > give_up_at:  # else each would wait for a locked file in turn
                    raise too_slow()
                result = drive(carry_out(self._begin(link, opening), function, *args))
            except CommitLost as lost:
                call_in(loop, fail, future, outcome_unknown(lost))
            except BaseException as error:  # whatever it is, it belongs to the caller; the thread goes on
                call_in(loop, fail, future, error)
            else:
                call_in(loop, give, future, result)

        thread.post(job)
        return await future

    def _serve(self, lane: BatchLane[Any, Any]) -> None:
        def job(link: Link) -> None:
            async def transact(function: Callable[[Transaction], Awaitable[T]]) -> T:
                return drive(carry_out(self._begin(link, _WRITE), function))

            try:
                more = drive(lane.step(transact))
            except BaseException:  # the callers of the batch were told; the thread goes on
                lane.abandon()
            else:
                if more:
                    self._engine.writer.post(job)

        self._engine.writer.post(job)

    def _begin(self, link: Link, opening: str) -> SqliteTransaction:
        connection = link.connection()
        begin(connection, opening)
        return SqliteTransaction(connection, self._engine.timeline, self._clock)


def drive(transaction: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits nothing but its transaction.

    Raises RuntimeError for one that awaits anything else; its transaction is rolled back.
    """
    try:
        transaction.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except RuntimeError as error:
        if "event loop" in str(error):
            raise RuntimeError(_AWAITS_ELSE) from error
        raise
    transaction.close()
    raise RuntimeError(_AWAITS_ELSE)


_AWAITS_ELSE: Final = (
    "A transaction function may await nothing but its transaction: no sleep, no gather, no network. "
    "Do that before or after the transaction."
)


class SqliteEngine:
    """The two threads of one file, and the time as they see it."""

    def __init__(self, path: str, busy_timeout: float) -> None:
        self.path = path
        self.timeline = Timeline()
        self.writer = ConnectionThread(path, name="kavach-writer", busy_timeout=busy_timeout)
        self.reader = ConnectionThread(path, name="kavach-reader", busy_timeout=busy_timeout, read_only=True)
        self.holders = 0
        #: Whether this is a forked child's copy, which has no threads.
        self.inherited = False


_engines: dict[str, SqliteEngine] = {}
_lock = threading.Lock()


def _hold(path: str, busy_timeout: float) -> SqliteEngine:
    with _lock:
        engine = _engines.get(path) or _engines.setdefault(path, SqliteEngine(path, busy_timeout))
        engine.holders += 1
        return engine


def _let_go(engine: SqliteEngine) -> None:
    with _lock:
        engine.holders -= 1
        if engine.holders:
            return
        del _engines[engine.path]
    for thread in (engine.writer, engine.reader):
        thread.stop()
    for thread in (engine.writer, engine.reader):
        thread.join()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.inherited = True
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
