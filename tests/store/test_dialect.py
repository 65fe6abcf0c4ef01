"""Database URLs, and one statement text for both databases."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import pytest

from kavach_core.errors import ConfigurationError, KavachError
from kavach_core.store import postgres_driver
from kavach_core.store.dialect import Dialect, SqliteFile, numbered, parse_database
from kavach_core.store.open import open_store


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kavach.db",
        "mysql://root@localhost/kavach",
        "postgresql+asyncpg://localhost/kavach",
        "sqlite+aiosqlite:///kavach.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////:memory:",
        "sqlite:///file::memory:?cache=shared",
        "sqlite:///kavach.db?mode=memory",
        "sqlite:///kavach.db?mode=ro",
        "sqlite://kavach.db",
        "sqlite:////no/such/directory/kavach.db",
    ],
)
async def test_a_url_that_names_no_lasting_database_refuses_to_open(url: str) -> None:
    with pytest.raises(ConfigurationError):
        await open_store(url)


def test_two_spellings_of_a_path_are_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").symlink_to(tmp_path)
    spellings = ["sqlite:///kavach.db", f"sqlite:///{tmp_path}/kavach.db", "sqlite:///there/./kavach.db"]
    assert {parse_database(url) for url in spellings} == {SqliteFile(path=str(tmp_path.resolve() / "kavach.db"))}


def test_both_names_of_postgresql_are_understood() -> None:
    for scheme in ("postgres", "postgresql"):
        assert parse_database(f"{scheme}://localhost/kavach").dialect is Dialect.POSTGRES


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://kavach:hunter2@127.0.0.1:1/kavach",
        "postgresql://kavach:hunter2/word@127.0.0.1:1/kavach",
        "postgresql://kavach:hunter2@host:port/kavach",
        "postgresql://kavach:hunter2@[::1/kavach",
        "postgresql://kavach:hunter2@127.0.0.1:1/kavach?sslmode=hunter2",
        "postgresql://kavach:hunter2@127.0.0.1:1,:hunter2/kavach",
        "mysql://kavach:hunter2@127.0.0.1/kavach",
        "postgresql+asyncpg://kavach:hunter2@127.0.0.1/kavach",
        "hunter2",
    ],
)
async def test_a_password_never_shows_in_an_error(url: str) -> None:
    with pytest.raises(KavachError) as caught:
        await open_store(url)
    report = "".join(line for line in traceback.format_exception(caught.value) if not line.lstrip().startswith("File"))
    assert "hunter2" not in report
    assert "hunter2" not in repr(parse_database("postgresql://kavach:hunter2@localhost/kavach"))


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    postgres_driver.driver.cache_clear()
    with pytest.raises(ConfigurationError, match=r"kavach-asgi\[postgres\]"):
        await open_store("postgresql://localhost/kavach")


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("select $2, $1, $10", "select ?2, ?1, ?10"),
        ("select '$1', \"$2\", 'it''s $3', $4", "select '$1', \"$2\", 'it''s $3', ?4"),
        ("select 1 -- not $1\nwhere x = $2", "select 1 -- not $1\nwhere x = ?2"),
    ],
)
def test_parameters_are_rewritten_outside_of_quotes_and_comments(text: str, rewritten: str) -> None:
    assert numbered(text) == rewritten
