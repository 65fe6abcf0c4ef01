"""`kavach migrate`: applies, tells and prints, and only what makes things makes a database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.support import Command


def test_status_is_1_until_everything_is_applied(everywhere: Command) -> None:
    before = everywhere("migrate", "--status")
    assert before.exit_code == 1
    assert "due" in before.stdout
    assert "applied 0001_initial" in everywhere.out("migrate")
    assert "due" not in everywhere.out("migrate", "--status")
    assert all(each["applied"] for each in everywhere.json("migrate", "--status"))
    assert everywhere.out("migrate") == "Nothing was due.\n"


def test_the_printed_sql_makes_the_same_tables(kavach: Command, tmp_path: Path, sqlite_database: str) -> None:
    kavach.out("migrate")
    by_hand = sqlite3.connect(tmp_path / "by_hand.db")
    by_hand.executescript(kavach.out("migrate", "--sql"))
    migrated = sqlite3.connect(sqlite_database.removeprefix("sqlite:///"))
    tables = "select sql from sqlite_master where name <> 'kavach_migrations' order by name"
    assert by_hand.execute(tables).fetchall() == migrated.execute(tables).fetchall()
    by_hand.close()
    migrated.close()


def test_sql_can_be_printed_for_either_database_without_having_one(kavach: Command, sqlite_database: str) -> None:
    assert "timestamptz" in kavach.out("migrate", "--sql", "--dialect", "postgres")
    assert "strict" in kavach.out("migrate", "--sql", "--dialect", "sqlite")
    assert not Path(sqlite_database.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("options", [("--sql", "--status"), ("--dialect", "sqlite"), ("--sql", "--dialect", "oracle")])
def test_options_that_do_not_go_together_are_a_usage_error(kavach: Command, options: tuple[str, ...]) -> None:
    assert kavach("migrate", *options).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        ("agents", "list"),
        ("audit", "export"),
        ("keys", "list"),
        ("owners", "suspend", "alice"),
        ("prune", "--older-than", "1d"),
    ],
)
def test_a_mistyped_database_is_told_and_not_made(
    kavach: Command, sqlite_database: str, command: tuple[str, ...]
) -> None:
    assert kavach.refusal(*command).startswith("SCHEMA_MISSING: ")
    assert not Path(sqlite_database.removeprefix("sqlite:///")).exists()
