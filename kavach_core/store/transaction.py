"""One run of a transaction function, with the rules both databases share.

A statement that failed ends its transaction: PostgreSQL knows it no other way, so SQLite does the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, TypeVarTuple

from kavach_core.store.faults import DataRejected
from kavach_core.store.store import Row, Transaction, Value
from kavach_core.store.timeline import Timeline

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def carry_out(tx: OpenTransaction, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run the function in a transaction that was begun; commit when it returns, roll back when it raises.

    A failure of the database comes out even if the function catches it.

    Raises what the function raises, `RunAgain`, `CommitLost`, `StoreUnavailable`, and RuntimeError for a function that
    catches a failed statement and goes on.
    """
    try:
        result = await function(tx, *args)
        if tx.fault is not None:
            raise RuntimeError("This transaction caught the error of a statement and went on.") from tx.fault
    except BaseException:
        await tx.roll_back()
        if tx.fault is not None and not isinstance(tx.fault, DataRejected):
            raise tx.fault from tx.fault.__cause__
        raise
    await tx.commit()
    return result


class OpenTransaction(ABC):
    """A begun transaction: its time, its ids and the first failure of its statements."""

    dialect: str

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._now: int | None = None
        self._floor = timeline.newest
        #: The first failure of a statement, in the words of `faults`.
        self.fault: Exception | None = None

    @property
    def now(self) -> int:
        """The time of this transaction."""
        if self._now is None:
            raise RuntimeError("In a lane on PostgreSQL `now` is not known before `fetch_facts`.")
        return self._now

    @property
    def floor(self) -> int:
        """The newest time seen before this transaction began."""
        return self._floor

    def settle(self, at: int) -> None:
        """Fix the time of this transaction from a clock that says `at`."""
        self._now = self._timeline.settle(at)

    def new_id(self) -> bytes:
        """A new id at `now`."""
        return self._timeline.new_id(self.now)

    def require_sound(self) -> None:
        """Refuse to go on after a statement failed, with the same error again."""
        if self.fault is not None:
            raise self.fault

    def failed(self, fault: Exception) -> Exception:
        """Remember the first failure of a statement; returns it to be raised."""
        self.fault = self.fault or fault
        return fault

    @abstractmethod
    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]: ...

    @abstractmethod
    async def fetch_one(self, sql: str, *values: Value) -> Row | None: ...

    @abstractmethod
    async def fetch_facts(self, sql: str, *values: Value) -> Sequence[Row]: ...

    @abstractmethod
    async def fetch_each(self, sql: str, values: Sequence[Sequence[Value]]) -> Sequence[Row]: ...

    @abstractmethod
    async def fetch_in(self, sql: str, values: Sequence[Value], keys: Sequence[Value]) -> Sequence[Row]: ...

    @abstractmethod
    async def execute(self, sql: str, *values: Value) -> int: ...

    @abstractmethod
    async def execute_each(self, sql: str, values: Sequence[Sequence[Value]]) -> None: ...

    @abstractmethod
    async def commit(self) -> None:
        """Make it durable.

        Raises `CommitLost` if that may or may not have happened, and a fault if it surely has not.
        """

    @abstractmethod
    async def roll_back(self) -> None:
        """Undo everything; never raises for a database that is gone."""
