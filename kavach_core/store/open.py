"""From a database URL to an open store."""

from __future__ import annotations

from kavach_core.primitives.clock import Clock
from kavach_core.store.dialect import SqliteFile, parse_database
from kavach_core.store.migrate import migrate, require_migrated
from kavach_core.store.postgres import PostgresStore
from kavach_core.store.sqlite import SqliteStore
from kavach_core.store.store import Store


async def open_store(
    database: str,
    *,
    clock: Clock | None = None,
    pgbouncer: bool = False,
    skip_migrations: bool = False,
    pool_size: int = 8,
    busy_timeout: float = 5.0,
    max_waiting: int = 10_000,
    patience: float = 10.0,
) -> Store:
    """Open a database and bring it up to this release.

    Args:
        database: `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://...`.
        clock: What tells the time; None means the process's clock on SQLite and the database's on PostgreSQL.
        pgbouncer: Whether a PgBouncer in transaction mode stands before PostgreSQL.
        skip_migrations: Only check that the schema is complete.
        pool_size: How many connections to PostgreSQL transactions may use; each lane has one more.
        busy_timeout: Seconds to wait for another process's lock on a SQLite file; the first opener's counts.
        max_waiting: Transactions that may wait for their turn; the next one is turned away at once.
        patience: Seconds one may wait for its turn.

    Raises `ConfigurationError` for a URL that cannot be used, `SchemaTooNew`, `MigrationEdited`, `SchemaMissing` with
    `skip_migrations`, and `StoreUnavailable`. No message repeats the URL.
    """
    target = parse_database(database)
    await (require_migrated if skip_migrations else migrate)(database)
    if isinstance(target, SqliteFile):
        return SqliteStore(
            target.path, clock=clock, busy_timeout=busy_timeout, max_waiting=max_waiting, patience=patience
        )
    return await PostgresStore.open(
        target.url,
        clock=clock,
        pgbouncer=pgbouncer,
        pool_size=pool_size,
        max_waiting=max_waiting,
        patience=patience,
    )
