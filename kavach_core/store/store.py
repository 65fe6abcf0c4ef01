"""What every room may ask of a database: transactions as functions, and lanes that batch.

A transaction is one coroutine function that awaits nothing but its `tx`. On PostgreSQL it runs on one connection; on
SQLite it is driven to its end inside the store's own thread. It may run more than once (after a deadlock, for example),
so it keeps no state of its own between runs. All failures of the database itself are `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Protocol, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Q = TypeVar("Q")
A = TypeVar("A")
Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)

#: What may be bound to a statement. Ids are 16 bytes, times integer microseconds; a list of ids only on PostgreSQL.
Value = str | int | bytes | bool | Sequence[bytes] | None


def same_turn(question: object) -> Hashable:
    """Everybody stands in one line."""
    return None


class Row(Protocol):
    """One row of an answer, by position or by column name."""

    def __getitem__(self, key: int | str, /) -> object: ...
    def __iter__(self) -> Iterator[object]: ...


class Transaction(Protocol):
    """An open transaction. Statements are written with `$1` parameters, one text for both databases."""

    @property
    def now(self) -> int:
        """The only time a transaction uses, in microseconds; the same from the first read to the commit."""
        ...

    @property
    def floor(self) -> int:
        """A time that is certainly past: the newest `now` any transaction of this store has seen; at most `now`."""
        ...

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgres`: which of two texts to use where one cannot serve both."""
        ...

    def new_id(self) -> bytes:
        """A new UUIDv7 at `now`, later than every id this process made before."""
        ...

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """All rows of the answer."""
        ...

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """The first row of the answer, or None."""
        ...

    async def fetch_facts(self, sql: str, *values: Value) -> Sequence[Row]:
        """The first read of a batch: like `fetch`, and settles `now` in the same round trip.

        In a lane on PostgreSQL `now` is the database's time and is not known before this call. The first column of
        the answer must never be null.
        """
        ...

    async def fetch_each(self, sql: str, values: Sequence[Sequence[Value]]) -> Sequence[Row]:
        """The rows of the same statement for each tuple of values, in no promised order.

        They are read by position: this is for many rows, and names cost a tenth of a batched decision on SQLite.
        """
        ...

    async def fetch_in(self, sql: str, values: Sequence[Value], keys: Sequence[Value]) -> Sequence[Row]:
        """The rows of a statement that says `in ({keys})` for all of these keys, in no promised order, by position.

        On SQLite many keys share a run of the statement, which costs half as much as one run each. The statement must
        be planned well for any number of them, in tables that were never analysed.
        """
        ...

    async def execute(self, sql: str, *values: Value) -> int:
        """Run a statement; returns how many rows it changed."""
        ...

    async def execute_each(self, sql: str, values: Sequence[Sequence[Value]]) -> None:
        """Run the same statement for each tuple of values, in the order given."""
        ...


class BatchWorker(Protocol[Q_contra, A_co]):
    """What a lane runs: many questions in one transaction."""

    async def run(self, tx: Transaction, questions: Sequence[Q_contra]) -> Sequence[A_co]:
        """Answer every question, in order. An answer may be an exception instance: its caller alone gets it raised."""
        ...

    def committed(self) -> None:
        """Called once after the transaction of the last `run` is durable, before anyone is answered."""
        ...

    def lost(self) -> None:
        """Called when the outcome of a COMMIT is not known; callers get `StoreUnavailable`."""
        ...


class Lane(Protocol[Q_contra, A_co]):
    """Group commit: questions that wait while one transaction is in flight share the next one."""

    async def submit(self, question: Q_contra) -> A_co:
        """Return the answer after its transaction is committed.

        A caller that is cancelled leaves the batch whole. Raises `StoreUnavailable` if the batch could not be read or
        committed.
        """
        ...


class Store(Protocol):
    """One database, opened."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgres`."""
        ...

    async def transact(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that may write; it is committed when this returns and rolled back when it raises."""
        ...

    async def read(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a transaction that only reads, on one snapshot, beside the writers and without stopping them."""
        ...

    def lane(
        self,
        worker: BatchWorker[Q, A],
        *,
        most: int = 256,
        max_waiting: int = 10_000,
        patience: float = 10.0,
        turn_of: Callable[[Q], Hashable] = same_turn,
    ) -> Lane[Q, A]:
        """A lane of its own for this worker.

        At most `most` questions share a transaction. When `max_waiting` wait already, one is turned away at once with
        `StoreUnavailable`: the next one, or the last of those who have more than their share of the room. Who is not
        answered within `patience` seconds gets the same. `turn_of` tells who a question belongs to; they take turns.
        """
        ...

    async def close(self) -> None:
        """Finish what is in flight and let go of every thread and connection."""
        ...
