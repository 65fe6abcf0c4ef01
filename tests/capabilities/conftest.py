"""A Kavach for each test, on each kind of database, with a clock that stands still.

SQLite is a file for each test. PostgreSQL is one database for the run and a project for each test, because making a
database costs more than most tests; one that needs a database to itself asks for `database_url`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterator

import pytest

from kavach_core import Kavach
from kavach_core.testing import FrozenClock
from tests.capabilities.support import Home, OpenKavach, opener
from tests.conftest import fresh_database


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


@pytest.fixture(scope="session")
def shared_postgres(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of the migrated database that the tests of this run share."""
    with fresh_database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture
def sqlite_home(sqlite_database: str) -> Home:
    return Home(sqlite_database, "default")


@pytest.fixture
def postgres_home(shared_postgres: str) -> Home:
    return Home(shared_postgres, f"project-{secrets.token_hex(6)}")


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest) -> Home:
    """Where a test's Kavach lives: a database and a project. The test runs once on each kind of database."""
    found = request.getfixturevalue(f"{request.param}_home")
    assert isinstance(found, Home)
    return found


@pytest.fixture
def clock() -> FrozenClock:
    """Noon on a Tuesday, until a test moves it."""
    return FrozenClock()


@pytest.fixture
async def open_kavach(home: Home, clock: FrozenClock) -> AsyncGenerator[OpenKavach]:
    """Opens Kavachs like `create_kavach`, at the test's home and time unless told otherwise."""
    async with opener(database=home.database, project=home.project, clock=clock) as open_one:
        yield open_one


@pytest.fixture
async def kavach(open_kavach: OpenKavach) -> Kavach:
    """A Kavach where nothing has happened yet."""
    return await open_kavach()


@pytest.fixture
async def sqlite_kavach(sqlite_home: Home, clock: FrozenClock) -> AsyncGenerator[Kavach]:
    """One on SQLite alone, for what never gets as far as a database."""
    async with opener(database=sqlite_home.database, clock=clock) as open_one:
        yield await open_one()
