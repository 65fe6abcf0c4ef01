"""The PostgreSQL engine: a pool for transactions, and a connection of its own for each lane.

A store belongs to the event loop that opened it. Transactions run in tasks of the store's own, so that a cancelled
caller leaves none half done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any, Final, TypeVar, TypeVarTuple

from kavach_core.primitives.clock import Clock
from kavach_core.primitives.tasks import start_task
from kavach_core.store.batch import BatchLane, Traffic
from kavach_core.store.dialect import Dialect
from kavach_core.store.faults import CommitLost, RunAgain, outcome_unknown, too_many, unavailable
from kavach_core.store.postgres_driver import Connection, Pool, connect, create_pool, cut, failures, is_closed
from kavach_core.store.postgres_transaction import PostgresTransaction, begin
from kavach_core.store.store import A, BatchWorker, Q, Transaction, same_turn
from kavach_core.store.timeline import Timeline
from kavach_core.store.transaction import carry_out

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: How often a transaction is run before its deadlocks count as a failure of the database.
_RUNS: Final = 5
#: Seconds to wait for connections to close.
_CLOSE_TIMEOUT: Final = 5.0

_WRITE: Final = "begin isolation level read committed read write"
_READ: Final = "begin isolation level repeatable read read only"

#: Lanes run few texts with many values: planned once, and never by what an empty table suggested.
_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "enable_bitmapscan": "off",
}
#: Batches between two plannings of the same statements, after those at the first, second, fourth, eighth ...
_REPLAN_EVERY: Final = 4096
#: PgBouncer refuses session settings at connect, so they are set in each transaction.
_WRITE_WITH_PLANS: Final = "; ".join([_WRITE, *(f"set local {name} = {value}" for name, value in _PLANS.items())])

#: Lends a connection that is open and in no transaction.
Source = Callable[[], AbstractAsyncContextManager[Connection]]


class PostgresStore:
    """One database, for the event loop that opened it."""

    def __init__(
        self, url: str, pool: Pool, *, clock: Clock | None, pgbouncer: bool, max_waiting: int, patience: float
    ) -> None:
        self._url = url
        self._pool = pool
        self._clock = clock
        self._pgbouncer = pgbouncer
        self._max_waiting = max_waiting
        self._patience = patience
        self._timeline = Timeline()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dedicated: list[DedicatedConnection] = []
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, *, clock: Clock | None, pgbouncer: bool, pool_size: int, max_waiting: int, patience: float
    ) -> PostgresStore:
        """A store whose connections are opened when they are needed."""
        pool = await create_pool(url, size=pool_size, pgbouncer=pgbouncer)
        return cls(url, pool, clock=clock, pgbouncer=pgbouncer, max_waiting=max_waiting, patience=patience)

    @property
    def dialect(self) -> str:
        """`postgres`."""
        return Dialect.POSTGRES

    async def transact(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that may write; it runs to its end even if the caller is cancelled."""
        return await self._ask(self._whole(_WRITE, function, *args))

    async def read(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that only reads, on one snapshot."""
        return await self._ask(self._whole(_READ, function, *args))

    def lane(
        self,
        worker: BatchWorker[Q, A],
        *,
        most: int = 256,
        max_waiting: int = 10_000,
        patience: float = 10.0,
        turn_of: Callable[[Q], Hashable] = same_turn,
    ) -> BatchLane[Q, A]:
        """A lane with a connection and a task of its own."""
        dedicated = DedicatedConnection(self._url, pgbouncer=self._pgbouncer)
        self._dedicated.append(dedicated)
        opening = _WRITE_WITH_PLANS if self._pgbouncer else _WRITE

        async def transact(function: Callable[[Transaction], Awaitable[T]]) -> T:
            return await self._run(dedicated.lend, opening, False, function)

        async def serve(lane: BatchLane[Any, Any]) -> None:
            try:
                while await lane.step(transact):
                    pass
            except BaseException:
                lane.abandon()
                raise

        def wake(lane: BatchLane[Any, Any]) -> None:
            self._start(serve(lane), Context())

        return BatchLane(
            worker,
            traffic=Traffic(most, max_waiting, patience, turn_of),
            require_open=self._require_open,
            wake=wake,
        )

    async def close(self) -> None:
        """Finish what is in flight and close every connection."""
        if self._closed:
            return
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        for dedicated in self._dedicated:
            await dedicated.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def _require_open(self) -> None:
        if self._closed:
            raise unavailable("The store is closed.")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("This store was opened in another event loop; open one in this loop.")

    async def _ask(self, transaction: Coroutine[Any, Any, T]) -> T:
        try:
            self._require_open()
            if len(self._tasks) >= self._max_waiting:
                raise too_many()
        except BaseException:
            transaction.close()
            raise
        return await asyncio.shield(self._start(transaction))

    def _start(self, work: Coroutine[Any, Any, T], context: Context | None = None) -> asyncio.Task[T]:
        task = start_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _whole(self, opening: str, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        try:
            return await self._run(self._lend, opening, True, function, *args)
        except CommitLost as lost:
            raise outcome_unknown(lost) from lost

    async def _run(
        self,
        source: Source,
        opening: str,
        settled: bool,
        function: Callable[[Transaction, *Ts], Awaitable[T]],
        *args: *Ts,
    ) -> T:
        """Carry the function out, again whole after a deadlock or on a connection that was lost while idle."""
        reason: RunAgain | None = None
        for _ in range(_RUNS):
            try:
                async with source() as connection:
                    await begin(connection, opening)
                    tx = PostgresTransaction(connection, self._timeline, self._clock)
                    if settled:
                        await tx.settle_now()
                    return await carry_out(tx, function, *args)
            except RunAgain as again:
                reason = again
        raise unavailable() from reason

    @asynccontextmanager
    async def _lend(self) -> AsyncGenerator[Connection]:
        try:
            connection = await self._pool.acquire(timeout=self._patience)
        except failures() as error:
            raise unavailable() from error
        try:
            with _left_clean(connection):
                yield connection
        finally:
            await self._pool.release(connection)


class DedicatedConnection:
    """The connection of one lane, opened when first lent and again after it was lost."""

    def __init__(self, url: str, *, pgbouncer: bool) -> None:
        self._url = url
        self._pgbouncer = pgbouncer
        self._connection: Connection | None = None
        self._lent = 0

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Connection]:
        """The open connection; only one borrower at a time.

        Raises `StoreUnavailable` if it cannot be opened.
        """
        connection = self._connection
        if connection is None or is_closed(connection):
            settings = None if self._pgbouncer else _PLANS
            connection = await connect(self._url, settings=settings, pgbouncer=self._pgbouncer)
            self._connection = connection
        with _left_clean(connection):
            await self._plan_anew(connection)
            yield connection

    async def _plan_anew(self, connection: Connection) -> None:
        """Forget plans now and then. One that was made while a table was empty would stay, however large it grows."""
        self._lent += 1
        grown = self._lent & (self._lent - 1) == 0 or self._lent % _REPLAN_EVERY == 0
        if self._pgbouncer or not grown:
            return
        try:
            await connection.execute("discard plans")
        except failures() as error:
            cut(connection)
            raise RunAgain from error

    async def close(self) -> None:
        """Close it politely, or at once if the server does not answer."""
        if self._connection is not None and not is_closed(self._connection):
            try:
                await self._connection.close(timeout=_CLOSE_TIMEOUT)
            except failures():
                cut(self._connection)


@contextmanager
def _left_clean(connection: Connection) -> Generator[None]:
    """Cut a connection that would be left inside a transaction or in the middle of a statement."""
    try:
        yield
    except asyncio.CancelledError:
        cut(connection)
        raise
    finally:
        if not is_closed(connection) and connection.is_in_transaction():
            cut(connection)
