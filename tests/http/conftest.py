"""The same app in every framework, on a fresh database, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from kavach_core.testing import FrozenClock
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
