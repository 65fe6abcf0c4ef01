"""Figures of proofs, told in one line each at the end of the run, whichever worker ran them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.postgres_server import PostgresServer


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell what a proof found, in one line such as `R1 acknowledged rows lost: 0 of 8915 over 40 kills (SQLite)`."""
    return lambda line: record_property("figure", line)


@pytest.fixture(scope="session")
def own_server(postgres_url: str) -> Iterator[PostgresServer]:
    """A PostgreSQL that syncs as in production, and that a proof may stop; skipped where there is none at all."""
    # Recovery syncs every file first; one call for the whole file system does the same and does not take seconds.
    with PostgresServer(durable=True, settings={"recovery_init_sync_method": "syncfs"}) as server:
        yield server
