"""The command with a database of its own, empty or with a story in it."""

from __future__ import annotations

import pytest

from tests.cli.support import Command, Story, tell


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own Kavach settings reaches a test."""
    for name in ("DATABASE_URL", "BASE_URL", "SECRET", "API_KEY", "URL"):
        monkeypatch.delenv(f"KAVACH_{name}", raising=False)


@pytest.fixture
def kavach(sqlite_database: str) -> Command:
    """The command, with a SQLite file that does not exist yet."""
    return Command(sqlite_database)


@pytest.fixture
def everywhere(database_url: str) -> Command:
    """The command, once on each kind of database."""
    return Command(database_url)


@pytest.fixture
def story(kavach: Command) -> Story:
    """The story, told to the database of `kavach`."""
    return kavach.inside(tell)
