"""What may befall a database while it is used. Each is a context manager: inside it the fault is there."""

from __future__ import annotations

import asyncio
import resource
import subprocess
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from tests.postgres_server import PostgresServer
from tests.proofs.enduring import hold_lock
from tests.proofs.mortals import Mortal

#: Makes a fault for a database and the process that uses it.
Fault = Callable[[str, int], AbstractContextManager[None]]


@contextmanager
def locked_file(database: str, pid: int) -> Generator[None]:
    """Another process holds the lock of a SQLite file."""
    holder = Mortal(hold_lock, database.removeprefix("sqlite:///"))
    holder.hear()
    try:
        yield
    finally:
        holder.tell("let go")
        holder.hear()
        holder.await_end()


@contextmanager
def no_room_for_files(database: str, pid: int) -> Generator[None]:
    """The process can write to no file any more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(directory: Path, size: str) -> Generator[Fault]:
    """Mount a small disk of its own at a directory; gives the fault of being full. Skips where one may not mount."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", directory], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield partial(_full, directory / "ballast")
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def _full(ballast: Path, database: str, pid: int) -> Generator[None]:
    """There is no room left on the disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def stopped(server: PostgresServer) -> Generator[None]:
    """PostgreSQL is not there."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def locked_row(database: str, pid: int) -> Generator[None]:
    """Another session of PostgreSQL holds a row that decisions need."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database))
        runner.run(connection.execute("begin; update kavach_budgets set spent = spent"))
        try:
            yield
        finally:
            runner.run(connection.execute("rollback"))
            runner.run(connection.close())


@contextmanager
def disk_said_full(database: str, pid: int) -> Generator[None]:
    """PostgreSQL says, where the record is written, that there is no room on the disk."""
    with _before_each_record(database, "raise exception 'No space left on device' using errcode = 'disk_full'"):
        yield


@contextmanager
def slow_disk(database: str, pid: int) -> Generator[None]:
    """PostgreSQL takes a minute to write a record."""
    with _before_each_record(database, "perform pg_sleep(60)"):
        yield


@contextmanager
def _before_each_record(database: str, statement: str) -> Generator[None]:
    fault = f"""
    create function kavach_fault() returns trigger language plpgsql as $$ begin {statement}; return new; end $$;
    create trigger kavach_fault before insert on kavach_audit for each row execute function kavach_fault();
    """
    asyncio.run(_execute(database, fault))
    try:
        yield
    finally:
        asyncio.run(_execute(database, "drop function kavach_fault cascade"))


async def _execute(database: str, statements: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
