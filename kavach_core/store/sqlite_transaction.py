"""A transaction on an open SQLite connection. Its methods return at once, so a function needs one thread hop."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from kavach_core.primitives.clock import Clock
from kavach_core.store.dialect import Dialect, numbered, with_keys
from kavach_core.store.faults import CommitLost, DataRejected, UniqueViolation, unavailable
from kavach_core.store.store import Row, Value
from kavach_core.store.timeline import Timeline
from kavach_core.store.transaction import OpenTransaction

T = TypeVar("T")


class SqliteTransaction(OpenTransaction):
    """A begun transaction; its time is settled from the start."""

    dialect = Dialect.SQLITE

    def __init__(self, connection: sqlite3.Connection, timeline: Timeline, clock: Clock) -> None:
        super().__init__(timeline)
        self._connection = connection
        self.settle(clock())

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        return self._run(sql, values, sqlite3.Cursor.fetchall)

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        return self._run(sql, values, _first)

    async def fetch_facts(self, sql: str, *values: Value) -> Sequence[Row]:
        return self._run(sql, values, sqlite3.Cursor.fetchall)

    async def fetch_each(self, sql: str, values: Sequence[Sequence[Value]]) -> Sequence[Row]:
        self.require_sound()
        # Plain tuples, as the protocol allows: rows with names are dear where there are many.
        text, cursor = numbered(sql), self._connection.cursor()
        cursor.row_factory = None
        execute = cursor.execute
        try:
            return [row for each in values for row in execute(text, each)]
        except _FAILURES as error:
            raise self.failed(translated(error)) from error

    async def fetch_in(self, sql: str, values: Sequence[Value], keys: Sequence[Value]) -> Sequence[Row]:
        found: list[Row] = []
        done = 0
        for size in _SIZES:
            runs = [(*values, *keys[at : at + size]) for at in range(done, len(keys) - size + 1, size)]
            if runs:
                found += await self.fetch_each(with_keys(sql, len(values) + 1, size), runs)
                done += len(runs) * size
        return found

    async def execute(self, sql: str, *values: Value) -> int:
        return self._run(sql, values, _changed)

    async def execute_each(self, sql: str, values: Sequence[Sequence[Value]]) -> None:
        self.require_sound()
        try:
            self._connection.executemany(numbered(sql), values)
        except _FAILURES as error:
            raise self.failed(translated(error)) from error

    def _run(self, sql: str, values: Sequence[Value], take: Callable[[sqlite3.Cursor], T]) -> T:
        self.require_sound()
        try:
            return take(self._connection.execute(numbered(sql), values))
        except _FAILURES as error:
            raise self.failed(translated(error)) from error

    async def commit(self) -> None:
        try:
            self._connection.execute("commit")
        except sqlite3.IntegrityError as error:
            await self.roll_back()
            raise translated(error) from error
        except sqlite3.Error as error:
            await self.roll_back()
            raise CommitLost from error

    async def roll_back(self) -> None:
        if not self._connection.in_transaction:  # SQLite rolls some failures back by itself
            return
        try:
            self._connection.execute("rollback")
        except sqlite3.Error as error:
            self.failed(translated(error))  # the thread closes a connection that is still in a transaction


#: How many keys share a run of a statement, so that few texts serve any number of them.
_SIZES: Final = (32, 8, 1)


def begin(connection: sqlite3.Connection, statement: str) -> None:
    """Open a transaction.

    Raises `StoreUnavailable` if the file is locked for too long or cannot be read.
    """
    try:
        connection.execute(statement)
    except sqlite3.Error as error:
        raise translated(error) from error


def translated(error: Exception) -> Exception:
    """The driver's error in the words of `faults`."""
    if isinstance(error, sqlite3.IntegrityError):
        return UniqueViolation() if error.sqlite_errorname in _UNIQUE else DataRejected()
    return DataRejected() if isinstance(error, _REFUSALS) else unavailable()


def _first(cursor: sqlite3.Cursor) -> Row | None:
    row: Row | None = cursor.fetchone()
    return row


def _changed(cursor: sqlite3.Cursor) -> int:
    return max(cursor.rowcount, 0)


_UNIQUE: Final = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"})
_REFUSALS: Final = (sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError, UnicodeError, OverflowError)
_FAILURES: Final = (sqlite3.Error, UnicodeError, OverflowError)
