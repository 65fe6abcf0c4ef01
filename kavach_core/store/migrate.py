"""Migrations: numbered SQL files inside the package, applied in one transaction under a lock, so that many processes
can boot at once. The database keeps the name and SHA-256 of each file it has.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from kavach_core.errors import MigrationEdited, SchemaMissing, SchemaTooNew
from kavach_core.primitives.clock import system_clock
from kavach_core.store import postgres_driver, sqlite_thread
from kavach_core.store.dialect import Dialect, PostgresServer, SqliteFile, parse_database
from kavach_core.store.faults import unavailable


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name without the ending, such as `0001_initial`, and its text."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def shipped(dialect: Dialect) -> Sequence[Migration]:
    """The migrations of this release, in order."""
    folder = files("kavach_core.store") / "migrations" / dialect.value
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    ]


def sql(dialect: Dialect) -> str:
    """One script that brings an empty database up to this release, and notes that it did: to be read or run by hand."""
    table = _TABLE_SQLITE if dialect is Dialect.SQLITE else _TABLE_POSTGRES
    now = "strftime('%s', 'now') * 1000000" if dialect is Dialect.SQLITE else "clock_timestamp()"
    parts = ["begin;", f"{table.strip()};"]
    for migration in shipped(dialect):
        noted = f"values ('{migration.name}', '{migration.digest}', {now});"
        parts += [f"-- {migration.name}\n{migration.text.rstrip()}", f"insert into kavach_migrations {noted}"]
    return "\n\n".join([*parts, "commit;"]) + "\n"


async def migrate(database: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Bring the database up to this release, whole or not at all; returns the names that were applied now.

    Raises `SchemaTooNew`, `MigrationEdited`, and `StoreUnavailable` if the database cannot be changed.
    """
    target = parse_database(database)
    wanted = shipped(target.dialect) if migrations is None else migrations
    if isinstance(target, SqliteFile):
        return await asyncio.to_thread(_migrate_sqlite, target.path, wanted)
    return await _migrate_postgres(target, wanted)


async def status(database: str, migrations: Sequence[Migration] | None = None) -> list[tuple[str, bool]]:
    """The migrations of this release, each with whether the database has it. Changes nothing.

    Raises `SchemaTooNew`, `MigrationEdited`, and `StoreUnavailable` if the database cannot be read.
    """
    target = parse_database(database)
    wanted = shipped(target.dialect) if migrations is None else migrations
    if isinstance(target, SqliteFile):
        applied = await asyncio.to_thread(_applied_sqlite, target.path)
    else:
        applied = await _applied_postgres(target)
    due = _due(wanted, applied)
    return [(migration.name, migration not in due) for migration in wanted]


async def require_migrated(database: str, migrations: Sequence[Migration] | None = None) -> None:
    """Raise `SchemaMissing` unless the database has every migration of this release, and what `status` raises."""
    found = await status(database, migrations)
    missing = [name for name, applied in found if not applied]
    if missing:
        new = " (there is no database yet, or an empty one)" if len(missing) == len(found) else ""
        raise SchemaMissing(f"Migrations are due{new}: {', '.join(missing)}. Run `kavach migrate`.")


def _due(wanted: Sequence[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """What is still to be applied."""
    known = {migration.name: migration for migration in wanted}
    for name, digest in applied.items():
        if name not in known:
            raise SchemaTooNew(f"The database has the migration {name}, which this release does not know.")
        if known[name].digest != digest:
            raise MigrationEdited(f"The migration {name} was changed after it was applied to this database.")
    return [migration for migration in wanted if migration.name not in applied]


def _migrate_sqlite(path: str, wanted: Sequence[Migration]) -> list[str]:
    try:
        connection = sqlite_thread.connect(path, timeout=_LOCK_TIMEOUT, mode="rwc")
        try:
            _set_wal(connection)
            connection.execute("begin immediate")
            due = _due(wanted, _read_applied(connection))
            for migration in due:
                for statement in statements(migration.text):
                    connection.execute(statement)
            _record(connection, due)
            connection.execute("commit")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unavailable("The database cannot be migrated.") from error
    return [migration.name for migration in due]


def _set_wal(connection: sqlite3.Connection) -> None:
    """Changing the journal mode does not always wait for the locks of others, so it is tried again."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            connection.execute("pragma journal_mode=wal").fetchall()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _read_applied(connection: sqlite3.Connection) -> dict[str, str]:
    known = "select 1 from sqlite_master where type = 'table' and name = 'kavach_migrations'"
    if connection.execute(known).fetchone() is None:
        return {}
    return dict(connection.execute("select name, digest from kavach_migrations").fetchall())


def _record(connection: sqlite3.Connection, applied: Sequence[Migration]) -> None:
    connection.execute(_TABLE_SQLITE)
    connection.executemany(
        "insert into kavach_migrations (name, digest, applied_at) values (?, ?, ?)",
        [(migration.name, migration.digest, system_clock()) for migration in applied],
    )


def _applied_sqlite(path: str) -> dict[str, str]:
    if not Path(path).exists():
        return {}
    try:
        connection = sqlite_thread.connect(path, timeout=_LOCK_TIMEOUT)
        try:
            return _read_applied(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unavailable() from error


def statements(text: str) -> Iterator[str]:
    """The single statements of a SQL file; semicolons in comments, strings and triggers do not end one."""
    rest = ""
    for piece in re.split("(?<=;)", text):
        rest += piece
        if sqlite3.complete_statement(rest):
            yield rest.strip()
            rest = ""


async def _migrate_postgres(server: PostgresServer, wanted: Sequence[Migration]) -> list[str]:
    connection = await postgres_driver.connect(server.url, pgbouncer=True)
    try:
        await connection.execute("begin isolation level read committed read write")
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        due = _due(wanted, await _read_applied_postgres(connection))
        for migration in due:
            await connection.execute(migration.text)
        await connection.execute(_TABLE_POSTGRES)
        await connection.executemany(
            "insert into kavach_migrations (name, digest, applied_at) values ($1, $2, clock_timestamp())",
            [(migration.name, migration.digest) for migration in due],
        )
        await connection.execute("commit")
    except postgres_driver.failures() as error:
        raise unavailable("The database cannot be migrated.") from error
    finally:
        connection.terminate()
    return [migration.name for migration in due]


async def _applied_postgres(server: PostgresServer) -> dict[str, str]:
    connection = await postgres_driver.connect(server.url, pgbouncer=True)
    try:
        return await _read_applied_postgres(connection)
    except postgres_driver.failures() as error:
        raise unavailable() from error
    finally:
        connection.terminate()


async def _read_applied_postgres(connection: postgres_driver.Connection) -> dict[str, str]:
    if await connection.fetchval("select to_regclass('kavach_migrations') is null"):
        return {}
    rows = await connection.fetch("select name, digest from kavach_migrations")
    return {str(row["name"]): str(row["digest"]) for row in rows}


#: Seconds to wait for other processes that migrate the same file.
_LOCK_TIMEOUT: Final = 30.0
#: The advisory lock under which every process migrates.
_LOCK: Final = 0x6B61_7661_6368

_TABLE_SQLITE: Final = """
create table if not exists kavach_migrations (
    name text not null primary key,
    digest text not null,
    applied_at integer not null
) strict, without rowid
"""
_TABLE_POSTGRES: Final = """
create table if not exists kavach_migrations (
    name text not null primary key,
    digest text not null,
    applied_at timestamptz not null
)
"""
