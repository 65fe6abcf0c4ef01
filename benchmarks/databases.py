"""The databases that are measured: fresh, on this machine's disk, and durable as in production."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.machine import sync_ms, tree_cpu
from tests.postgres_server import PostgresServer


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


#: Starts a backend and takes it down again.
Start = Callable[[], AbstractAsyncContextManager[Backend]]


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
        )


async def _ask(url: str, sql: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(sql))
    finally:
        await connection.close()
