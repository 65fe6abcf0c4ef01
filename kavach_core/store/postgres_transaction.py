"""A transaction on an open PostgreSQL connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final, ParamSpec, TypeVar, cast

from kavach_core.primitives.clock import Clock
from kavach_core.store.dialect import Dialect, with_keys
from kavach_core.store.faults import CommitLost, RunAgain, unavailable
from kavach_core.store.postgres_driver import (
    Connection,
    cut,
    failures,
    is_closed,
    record_without_last,
    sqlstate,
    translated,
)
from kavach_core.store.store import Row, Value
from kavach_core.store.timeline import Timeline
from kavach_core.store.transaction import OpenTransaction

T = TypeVar("T")
P = ParamSpec("P")


class PostgresTransaction(OpenTransaction):
    """A begun transaction. The time is the database's unless a clock was injected."""

    dialect = Dialect.POSTGRES

    def __init__(self, connection: Connection, timeline: Timeline, clock: Clock | None) -> None:
        super().__init__(timeline)
        self._connection = connection
        self._clock = clock

    async def settle_now(self) -> None:
        """Ask for the time, before anything else."""
        if self._clock is not None:
            self.settle(self._clock())
        else:
            self.settle(await self._run(self._connection.fetchval, "select clock_timestamp()"))

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        return await self._run(self._connection.fetch, sql, *values)

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        return await self._run(self._connection.fetchrow, sql, *values)

    async def fetch_facts(self, sql: str, *values: Value) -> Sequence[Row]:
        if self._now is not None:
            return await self.fetch(sql, *values)
        rows = await self._run(self._connection.fetch, _with_time(sql), *values, record_class=record_without_last())
        time = cast(int, rows[0][_TIME])
        self.settle(time if self._clock is None else self._clock())
        return [] if rows[0][0] is None else rows

    async def fetch_each(self, sql: str, values: Sequence[Sequence[Value]]) -> Sequence[Row]:
        return await self._run(self._connection.fetchmany, sql, values) if values else []

    async def fetch_in(self, sql: str, values: Sequence[Value], keys: Sequence[Value]) -> Sequence[Row]:
        return await self.fetch_each(with_keys(sql, len(values) + 1, 1), [(*values, key) for key in keys])

    async def execute(self, sql: str, *values: Value) -> int:
        return _changed(await self._run(self._connection.execute, sql, *values))

    async def execute_each(self, sql: str, values: Sequence[Sequence[Value]]) -> None:
        if values:
            await self._run(self._connection.executemany, sql, values)

    async def _run(self, run: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self.require_sound()
        try:
            return await run(*args, **kwargs)
        except failures() as error:
            raise self.failed(translated(error, self._connection)) from error

    async def commit(self) -> None:
        try:
            status = await self._connection.execute("commit")
        except failures() as error:
            if sqlstate(error).startswith(_SURELY_NOT_COMMITTED):
                raise translated(error, self._connection) from error
            cut(self._connection)
            raise CommitLost from error
        if status != "COMMIT":
            raise RuntimeError(f"COMMIT was answered with {status}.")

    async def roll_back(self) -> None:
        if is_closed(self._connection):
            return
        try:
            await self._connection.execute("rollback")
        except failures():
            cut(self._connection)


async def begin(connection: Connection, statement: str) -> None:
    """Open a transaction.

    Raises `RunAgain` if the connection turns out to have been lost while it was idle, `StoreUnavailable` for anything
    else.
    """
    try:
        await connection.execute(statement)
    except failures() as error:
        lost = is_closed(connection) or sqlstate(error).startswith(_SHUT_DOWN)
        cut(connection)
        raise RunAgain if lost else unavailable() from error


@lru_cache(maxsize=64)
def _with_time(sql: str) -> str:
    """The statement with the time as one more column, in one round trip; a row even where it has none."""
    return (
        f"select q.*, clock.{_TIME} from (select clock_timestamp() as {_TIME}) clock"
        f" left join lateral ({sql}) q on true"
    )


_TIME: Final = "kavach_now"


def _changed(status: str) -> int:
    """How many rows a statement changed, from its status such as `INSERT 0 1`."""
    words = status.split(" ")
    return int(words[-1]) if words[0] in ("INSERT", "UPDATE", "DELETE", "MERGE") else 0


#: Rolled back by the server itself, or a constraint that is checked at the end.
_SURELY_NOT_COMMITTED: Final = ("40", "23")
#: What a server that stopped meanwhile has left behind on an idle connection.
_SHUT_DOWN: Final = ("57P", "08")
