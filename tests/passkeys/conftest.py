"""A Kavach for each test, on each kind of database, and a person with an authenticator and a browser."""

from __future__ import annotations

import pytest

from kavach_core import Kavach
from tests.capabilities.conftest import (
    clock,
    home,
    kavach,
    open_kavach,
    postgres_home,
    postgres_template,
    shared_postgres,
    sqlite_home,
    sqlite_kavach,
)
from tests.passkeys.support import Person

__all__ = [
    "clock",
    "home",
    "kavach",
    "open_kavach",
    "postgres_home",
    "postgres_template",
    "shared_postgres",
    "sqlite_home",
    "sqlite_kavach",
]


@pytest.fixture
def person(kavach: Kavach) -> Person:
    """Somebody who has no account yet."""
    return Person(kavach)


@pytest.fixture
def visitor(sqlite_kavach: Kavach) -> Person:
    """The same on SQLite alone, for what is refused before it gets as far as a database."""
    return Person(sqlite_kavach)
