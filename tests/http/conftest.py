"""The same app in every framework, on a fresh database, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from secrets import token_hex
from typing import Final

import pytest

from kavach_core.testing import FrozenClock
from tests.conftest import fresh_database
from tests.http.frameworks import FRAMEWORKS, Framework
from tests.http.world import OpenWorld, World, worlds


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest) -> Framework:
    """One framework; the test runs once for each."""
    assert isinstance(request.param, Framework)
    return request.param


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


@pytest.fixture
def clock() -> FrozenClock:
    """Noon on a Tuesday, until a test moves it."""
    return FrozenClock()


@pytest.fixture
async def open_world(framework: Framework, sqlite_database: str, clock: FrozenClock) -> AsyncGenerator[OpenWorld]:
    """Opens worlds on one SQLite file, with settings and adapter options of the test's choice."""
    async with worlds(framework, sqlite_database, clock) as open_one:
        yield open_one


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    """One where humans may grant anything."""
    return await open_world(grantable=["*:*"])


@pytest.fixture(scope="session")
def shared_postgres(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of the migrated database that tests share, each in a project of its own."""
    with fresh_database(postgres_url, migrated_template) as url:
        yield url


#: Every framework on one kind of database in turn: both kinds meet every promise, without every pair of them.
_PAIRS = [(framework, place % 2 == 1) for place, framework in enumerate(FRAMEWORKS)]


@pytest.fixture(params=_PAIRS, ids=lambda pair: f"{pair[0].name}-{'postgres' if pair[1] else 'sqlite'}")
def stored(request: pytest.FixtureRequest) -> tuple[Framework, str]:
    """A framework and the URL of its database."""
    framework, on_postgres = request.param
    return framework, str(request.getfixturevalue("shared_postgres" if on_postgres else "sqlite_database"))


#: For what no framework has a part in, and the contract tests hold to be the same in all.
ONE_FRAMEWORK: Final = pytest.mark.parametrize("framework", FRAMEWORKS[:1], ids=["starlette"], indirect=True)
ON_BOTH_DATABASES: Final = pytest.mark.parametrize("stored", _PAIRS[:2], ids=["sqlite", "postgres"], indirect=True)


@pytest.fixture
async def stored_world(stored: tuple[Framework, str], clock: FrozenClock) -> AsyncGenerator[World]:
    """A world where humans may grant anything and chains are short, on both kinds of database."""
    framework, database = stored
    async with worlds(framework, database, clock) as open_world:
        yield await open_world(grantable=["*:*"], max_delegation_depth=3, project=f"project-{token_hex(6)}")
