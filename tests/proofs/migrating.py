"""A process that migrates one statement at a time and is killed before the one it was told."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from kavach_core.errors import StoreUnavailable
from kavach_core.store import postgres_driver, sqlite_thread
from kavach_core.store.migrate import migrate, statements
from tests.proofs.mortals import Mouth, Orders


def work(mouth: Mouth, orders: Orders, database: str, variant: str, die_at: int) -> None:
    """Migrate; if that came to its end, say with how many statements, or why it could not."""
    steps = _Steps(die_at, in_one=variant == "kavach")
    connect, connect_file = postgres_driver.connect, sqlite_thread.connect

    async def stepwise(url: str, **options: Any) -> Any:
        return _Postgres(await connect(url, **options), steps)

    def stepwise_file(path: str, **options: Any) -> Any:
        return _Sqlite(connect_file(path, **options), steps)

    postgres_driver.connect = stepwise
    sqlite_thread.connect = stepwise_file
    try:
        asyncio.run(migrate(database))
        mouth.send(steps.taken)
    except StoreUnavailable as error:
        mouth.send(error.cause)


class _Steps:
    """Counts statements, and ends the process at one of them."""

    def __init__(self, die_at: int, *, in_one: bool) -> None:
        self._die_at = die_at
        self._in_one = in_one
        self.taken = 0

    def allows(self, statement: str) -> bool:
        """Come to a statement; returns whether it is to be run.

        What Kavach does not do: leave out the transaction around all of them.
        """
        self.taken += 1
        if self.taken == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._in_one or not statement.startswith(("begin", "commit"))


class _Sqlite:
    """As much of a connection as migrating needs."""

    def __init__(self, connection: sqlite3.Connection, steps: _Steps) -> None:
        self._connection = connection
        self._steps = steps
        self.close = connection.close

    def execute(self, statement: str) -> sqlite3.Cursor:
        return self._connection.execute(statement if self._steps.allows(statement) else "select 1")

    def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        for each in values:
            self._steps.allows(statement)
            self._connection.execute(statement, each)


class _Postgres:
    """As much of a connection as migrating needs. A file of several statements is sent one by one."""

    def __init__(self, connection: postgres_driver.Connection, steps: _Steps) -> None:
        self._connection = connection
        self._steps = steps
        self.fetch, self.fetchval, self.terminate = connection.fetch, connection.fetchval, connection.terminate

    async def execute(self, text: str, *values: Any) -> None:
        for statement in [text] if values else list(statements(text)) or [text]:
            if self._steps.allows(statement):
                await self._connection.execute(statement, *values)

    async def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        for each in values:
            self._steps.allows(statement)
            await self._connection.execute(statement, *each)
