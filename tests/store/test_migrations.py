"""Migrations: whole or not at all, once, by whoever comes first, and never by an older release."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from kavach_core.errors import MigrationEdited, SchemaMissing, SchemaTooNew, StoreUnavailable
from kavach_core.store import Store, Transaction
from kavach_core.store.dialect import Dialect, SqliteFile, parse_database
from kavach_core.store.migrate import Migration, migrate, shipped, sql, statements, status
from kavach_core.store.open import open_store
from tests.store.conftest import OpenStore

FIRST = Migration("0001_first", "-- one; with a semicolon\ncreate table kavach_a (x text not null);\n")
SECOND = Migration("0002_second", "create table kavach_b (x text); create index kavach_b_x on kavach_b (x);")
FAILING = Migration("0002_second", "create table kavach_b (x text); insert into kavach_nowhere (x) values ('y');")


async def tables(store: Store) -> dict[str, list[tuple[str, bool]]]:
    """Every table of ours, with its columns and whether they may be null."""

    async def look(tx: Transaction) -> dict[str, list[tuple[str, bool]]]:
        rows = await tx.fetch(_SQLITE_COLUMNS if tx.dialect == "sqlite" else _POSTGRES_COLUMNS)
        found: dict[str, list[tuple[str, bool]]] = {}
        for table, column, nullable in rows:
            found.setdefault(str(table), []).append((str(column), bool(nullable)))
        return found

    return await store.read(look)


_SQLITE_COLUMNS = (
    'select t.name, c.name, not c."notnull" from sqlite_master t, pragma_table_info(t.name) c'
    " where t.type = 'table' and t.name like 'kavach_%' order by t.name, c.cid"
)
_POSTGRES_COLUMNS = (
    "select table_name, column_name, is_nullable = 'YES' from information_schema.columns"
    " where table_schema = 'public' and table_name like 'kavach_%' order by table_name, ordinal_position"
)


async def test_both_databases_get_the_same_tables_and_columns(
    opened: OpenStore, sqlite_database: str, postgres_database: str
) -> None:
    on_sqlite, on_postgres = await tables(await opened(sqlite_database)), await tables(await opened(postgres_database))
    assert on_sqlite == on_postgres
    assert "kavach_migrations" in on_sqlite and "kavach_audit" in on_sqlite
    both = [shipped(dialect) for dialect in Dialect]
    assert [migration.name for migration in both[0]] == [migration.name for migration in both[1]]


async def test_migrating_again_does_nothing(database_url: str) -> None:
    dialect = parse_database(database_url).dialect
    everything = [migration.name for migration in shipped(dialect)]
    assert await status(database_url) == [(name, False) for name in everything]
    assert await migrate(database_url) == everything
    assert await migrate(database_url) == []
    assert await status(database_url) == [(name, True) for name in everything]
    assert all(migration.text in sql(dialect) for migration in shipped(dialect))


async def test_the_script_can_be_applied_by_hand(opened: OpenStore, database_url: str) -> None:
    target = parse_database(database_url)
    if isinstance(target, SqliteFile):
        with closing(sqlite3.connect(target.path)) as file:
            file.executescript(sql(target.dialect))
    else:
        connection = await asyncpg.connect(database_url)
        await connection.execute(sql(target.dialect))
        await connection.close()
    assert all(applied for _, applied in await status(database_url))
    by_hand = await tables(await opened(database_url, skip_migrations=True))
    assert by_hand["kavach_audit"] and await migrate(database_url) == []


async def test_only_what_is_due_is_applied(database_url: str) -> None:
    assert await migrate(database_url, [FIRST]) == ["0001_first"]
    assert await status(database_url, [FIRST, SECOND]) == [("0001_first", True), ("0002_second", False)]
    assert await migrate(database_url, [FIRST, SECOND]) == ["0002_second"]


async def test_a_failing_migration_leaves_nothing_behind(database_url: str) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate(database_url, [FIRST, FAILING])
    assert await status(database_url, [FIRST, SECOND]) == [("0001_first", False), ("0002_second", False)]
    assert await migrate(database_url, [FIRST, SECOND]) == ["0001_first", "0002_second"]


async def test_a_newer_database_is_refused(database_url: str) -> None:
    newer = Migration("9999_tomorrow", "create table kavach_tomorrow (x text);")
    await migrate(database_url, [*shipped(parse_database(database_url).dialect), newer])
    for skip in (False, True):
        with pytest.raises(SchemaTooNew, match="9999_tomorrow"):
            await open_store(database_url, skip_migrations=skip)


async def test_an_edited_migration_is_refused(database_url: str) -> None:
    await migrate(database_url, [FIRST])
    with pytest.raises(MigrationEdited, match="0001_first"):
        await migrate(database_url, [Migration(FIRST.name, FIRST.text + " ")])


async def test_skipping_migrations_needs_a_complete_schema(opened: OpenStore, database_url: str) -> None:
    with pytest.raises(SchemaMissing):
        await open_store(database_url, skip_migrations=True)
    await migrate(database_url)
    assert await tables(await opened(database_url, skip_migrations=True))


def test_asking_for_the_status_makes_no_file(tmp_path: Path) -> None:
    assert not any(applied for _, applied in asyncio.run(status(f"sqlite:///{tmp_path}/kavach.db")))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kavach.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreUnavailable):
        asyncio.run(open_store(f"sqlite:///{tmp_path}/kavach.db"))


async def test_migrating_waits_for_a_writer_that_knows_no_wal(sqlite_database: str) -> None:
    """Setting the journal mode does not wait for such a lock by itself."""
    path = sqlite_database.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("create table theirs (x text)")
    other.execute("begin immediate")
    other.execute("insert into theirs values ('x')")
    with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=5)) as impatient:
        impatient.execute("pragma journal_mode=wal")
    migrating = asyncio.create_task(migrate(sqlite_database))
    await asyncio.sleep(0.1)
    other.execute("commit")
    other.close()
    assert await migrating


def test_statements_are_told_apart() -> None:
    text = """
    -- a comment; with a semicolon
    create table a (x text default ';'); create table b (x text);
    create trigger c after insert on a begin delete from b; delete from a; end;
    -- the end;
    """
    found = list(statements(text))
    assert [statement.count("create") for statement in found] == [1, 1, 1]
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in found:
            connection.execute(statement)


async def test_many_processes_boot_at_once(opened: OpenStore, database_url: str) -> None:
    """Every one of them finds or makes the whole schema."""
    boot = f"""
import asyncio, asyncpg, sys
from kavach_core.store.open import open_store
print("ready", flush=True)
sys.stdin.read()
async def main():
    await (await open_store({database_url!r})).close()
asyncio.run(main())
"""
    ends = await asyncio.to_thread(_run_together, [sys.executable, "-c", boot], 8)
    assert [code for code, _ in ends] == [0] * 8, ends
    assert await tables(await opened(database_url, skip_migrations=True))


def _run_together(command: list[str], count: int) -> list[tuple[int, str]]:
    """The exit codes and errors of processes that say when they are ready and then wait for the end of their input."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    errors = [process.communicate()[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]
