"""What we use of asyncpg: connections with our codecs, and its errors in the words of `faults`.

asyncpg is imported when the first PostgreSQL URL is opened, never before.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

from kavach_core.errors import ConfigurationError
from kavach_core.store.faults import DataRejected, RunAgain, UniqueViolation, unavailable
from kavach_core.store.store import Row, Value

#: Seconds until a connection attempt, and a statement, are given up.
CONNECT_TIMEOUT: Final = 5.0
COMMAND_TIMEOUT: Final = 30.0


class Connection(Protocol):
    """The part of asyncpg's connection that is used here."""

    async def execute(self, query: str, *args: Value) -> str: ...
    async def executemany(self, command: str, args: Iterable[Sequence[Value]]) -> None: ...
    async def fetch(self, query: str, *args: Value, record_class: type | None = None) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: Value) -> Row | None: ...
    async def fetchmany(self, query: str, args: Iterable[Sequence[Value]]) -> list[Row]: ...
    async def fetchval(self, query: str, *args: Value) -> Any: ...
    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109
    async def set_type_codec(
        self, typename: str, *, schema: str, encoder: object, decoder: object, format: str
    ) -> None: ...
    def is_closed(self) -> bool: ...
    def is_in_transaction(self) -> bool: ...
    def terminate(self) -> None: ...


class Pool(Protocol):
    """The part of asyncpg's pool that is used here."""

    async def acquire(self, *, timeout: float) -> Connection: ...  # noqa: ASYNC109
    async def release(self, connection: Connection) -> None: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


@cache
def driver() -> Any:
    """The asyncpg module.

    Raises `ConfigurationError` if it is not installed.
    """
    try:
        return importlib.import_module("asyncpg")
    except ImportError as error:
        raise ConfigurationError("PostgreSQL needs asyncpg: pip install 'kavach-asgi[postgres]'.") from error


async def connect(url: str, *, settings: Mapping[str, str] | None = None, pgbouncer: bool = False) -> Connection:
    """Open a connection of its own; `settings` are the server settings of its session.

    Raises `StoreUnavailable` if the server does not answer within five seconds or refuses, `ConfigurationError` for a
    URL that it cannot read.
    """
    try:
        connection: Connection = await driver().connect(url, server_settings=settings, **_options(pgbouncer))
    except driver().ClientConfigurationError:
        raise _unreadable() from None
    except failures() as error:
        raise unavailable() from error
    except ValueError:
        raise _unreadable() from None
    try:
        await set_codecs(connection)
    except failures() as error:
        cut(connection)
        raise unavailable() from error
    return connection


async def create_pool(url: str, *, size: int, pgbouncer: bool) -> Pool:
    """A pool that opens connections as they are needed, at most `size`."""
    pool: Pool = await driver().create_pool(
        url, min_size=0, max_size=size, init=set_codecs, reset=_leave_as_it_is, **_options(pgbouncer)
    )
    return pool


def _options(pgbouncer: bool) -> dict[str, Any]:
    # Behind PgBouncer the next transaction may run on another server connection, which knows no prepared statement.
    cache = {"statement_cache_size": 0} if pgbouncer else {}
    return {"timeout": CONNECT_TIMEOUT, "command_timeout": COMMAND_TIMEOUT, **cache}


def _unreadable() -> ConfigurationError:
    # Never chained: the driver's own message may repeat a part of the URL, password included.
    return ConfigurationError("The PostgreSQL URL cannot be read.")


def is_closed(connection: Connection) -> bool:
    """Whether the connection is gone; the pool takes one back as soon as it is lost, and then it answers no more."""
    try:
        return connection.is_closed()
    except driver().InterfaceError:
        return True


def cut(connection: Connection) -> None:
    """End the connection at once, which rolls back what is open on it."""
    with suppress(driver().InterfaceError):
        connection.terminate()


async def _leave_as_it_is(connection: Connection) -> None:
    """Transactions leave no session state, so a connection needs no reset and no round trip for it."""


async def set_codecs(connection: Connection) -> None:
    """Ids are 16 bytes and times integer microseconds, in and out."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encode_time, decoder=_decode_time, format="binary"
    )


_INT64: Final = struct.Struct("!q")
_YEAR_2000: Final = 946_684_800_000_000


def _encode_time(micros: int) -> bytes:
    return _INT64.pack(micros - _YEAR_2000)


def _decode_time(data: bytes) -> int:
    (since_2000,) = _INT64.unpack(data)
    return int(since_2000) + _YEAR_2000


@cache
def record_without_last() -> type:
    """A row whose iteration leaves out its last column."""
    return type("RecordWithoutLast", (driver().Record,), {"__slots__": (), "__iter__": _iterate_without_last})


def _iterate_without_last(record: Any) -> Iterator[object]:
    return iter(record[:-1])


@cache
def failures() -> tuple[type[Exception], ...]:
    """All that a statement can raise, apart from mistakes in our own code."""
    asyncpg = driver()
    return (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


def translated(error: Exception, connection: Connection) -> Exception:
    """The driver's error in the words of `faults`."""
    asyncpg = driver()
    if isinstance(error, (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)):
        return RunAgain()
    if isinstance(error, asyncpg.UniqueViolationError):
        return UniqueViolation()
    if isinstance(error, asyncpg.InterfaceError):
        return unavailable() if is_closed(connection) else DataRejected()
    state = sqlstate(error)
    if state in _RUN_AGAIN:
        return RunAgain()
    return DataRejected() if state.startswith(_REFUSALS) else unavailable()


def sqlstate(error: Exception) -> str:
    """The SQLSTATE of a server error; empty for all others."""
    return getattr(error, "sqlstate", None) or ""


_RUN_AGAIN: Final = frozenset({"40001", "40P01"})
#: Data exceptions, cardinality and integrity violations, and values too large for an index.
_REFUSALS: Final = ("21", "22", "23", "54")
