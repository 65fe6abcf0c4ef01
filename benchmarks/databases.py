"""The databases that are measured: fresh, on this machine's disk, and durable as in production."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.machine import sync_ms, tree_cpu
from benchmarks.report import Row, say
from kavach_core.config import Config, load_config
from kavach_core.store import Store
from kavach_core.store.open import open_store
from tests.postgres_server import PostgresServer, PostgresUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of database, running."""

    name: str
    version: str
    durability: str
    #: Makes an empty database of this name and returns its URL.
    create: Callable[[str], Awaitable[str]]
    #: Seconds of CPU of the database's own processes.
    server_cpu: Callable[[], float | None]
    #: The first of those processes; None where the database lives in the process that uses it.
    pid: int | None = None


async def _refuse(name: str) -> str:
    raise RuntimeError(f"{name} is to be made, and there is no database")


#: What stands in the rows of something that has none.
NO_DATABASE: Final = Backend(
    name="none", version="none", durability="nothing is written", create=_refuse, server_cpu=lambda: 0.0
)

#: Starts a backend and takes it down again.
Start = Callable[[], AbstractAsyncContextManager[Backend]]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database."""

    store: Store
    config: Config


async def on_both(measure: Callable[[Backend], Awaitable[Sequence[Row]]]) -> list[Row]:
    """Measure on SQLite, and on PostgreSQL where there is one."""
    rows: list[Row] = []
    for start in (sqlite, postgres):
        try:
            async with start() as backend:
                say(f"{backend.version}: {backend.durability}")
                rows += await measure(backend)
        except PostgresUnavailable as error:
            say(f"[red]No PostgreSQL, so half of this bench is missing: {error}[/]")
    return rows


@asynccontextmanager
async def opened(backend: Backend, name: str) -> AsyncGenerator[Opened]:
    """An empty database of this name, migrated and open."""
    url = await backend.create(name)
    store = await open_store(url)
    try:
        yield Opened(store, load_config(database=url))
    finally:
        await store.close()


@asynccontextmanager
async def sqlite() -> AsyncGenerator[Backend]:
    """SQLite in temporary files."""
    with tempfile.TemporaryDirectory(prefix="kavach-bench-") as directory:
        folder = Path(directory)

        async def create(name: str) -> str:
            return f"sqlite:///{folder / name}.db"

        yield Backend(
            name="sqlite",
            version=f"SQLite {sqlite3.sqlite_version}",
            durability=f"WAL, synchronous=FULL; a synced page takes {sync_ms(folder):.2f} ms here",
            create=create,
            server_cpu=lambda: 0.0,
        )


@asynccontextmanager
async def postgres() -> AsyncGenerator[Backend]:
    """A PostgreSQL cluster of its own that syncs every commit.

    Autovacuum is off, so that its work does not fall into the window of whoever is measured at that moment.
    """
    with PostgresServer(durable=True, settings={"autovacuum": "off"}) as server, tempfile.TemporaryDirectory() as near:

        async def create(name: str) -> str:
            await _ask(server.url, f"create database {name}")
            return urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))

        yield Backend(
            name="postgres",
            version=f"PostgreSQL {await _ask(server.url, 'show server_version')}",
            durability=f"fsync=on, synchronous_commit=on; a synced page takes {sync_ms(Path(near)):.2f} ms here",
            create=create,
            server_cpu=lambda: tree_cpu(server.pid),
            pid=server.pid,
        )


async def _ask(url: str, sql: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(sql))
    finally:
        await connection.close()
