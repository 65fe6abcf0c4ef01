"""The command as a whole: no secret is printed, no traceback for what is expected, and it starts without a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import Command

_SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://kavach:{_SECRET}@127.0.0.1:1/kavach",
        f"postgresql://kavach:{_SECRET}@[::1/kavach",
        f"postgresql+asyncpg://kavach:{_SECRET}@localhost/kavach",
        f"mysql://kavach:{_SECRET}@localhost/kavach",
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("migrate", "--status"), ("agents", "list"), ("keys", "list")])
def test_the_password_of_the_database_is_never_printed(url: str, command: tuple[str, ...]) -> None:
    line = Command(url).refusal(*command)
    assert line.startswith(("STORE_UNAVAILABLE: ", "CONFIGURATION_ERROR: "))
    assert _SECRET not in line


def test_help_does_not_show_the_url_from_the_environment() -> None:
    assert _SECRET not in Command(f"postgresql://kavach:{_SECRET}@localhost/kavach").out("migrate", "--help")


def test_half_set_security_is_told_in_one_line(kavach: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAVACH_BASE_URL", "https://app.example")
    assert kavach.refusal("keys", "list") == "CONFIGURATION_ERROR: An https base_url needs a secret."


def test_a_bug_is_not_dressed_up(kavach: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only expected failures become one line."""

    def broken(self: object, work: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kavach_core.cli.opening.Target.run", broken)
    assert isinstance(kavach("agents", "list").exception, ZeroDivisionError)


def test_version_names_what_it_runs_on(kavach: Command) -> None:
    assert [line.split()[0] for line in kavach.out("version").splitlines()] == ["kavach", "python", "sqlite", "asyncpg"]
    assert kavach.out("--version") == kavach.out("version")


def test_why_the_database_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes").write_text("These are notes and no database. " * 9)
    for url, why in (
        (f"sqlite:///{tmp_path}/folder", "is a directory"),
        (f"sqlite:///{tmp_path}/notes", "file is not a database"),
        (f"sqlite:///{tmp_path}/mistyped.db", "no database yet"),
        ("postgresql://127.0.0.1:1/kavach", "ConnectionRefusedError"),
    ):
        assert why in Command(url).refusal("agents", "list")


def test_a_database_that_is_not_there_is_told(everywhere: Command) -> None:
    """On PostgreSQL the server says so; a file would be made by `migrate`."""
    mistyped = f"{everywhere.database}_mistyped"
    line = Command(mistyped).refusal("agents", "list")
    assert ("does not exist" if mistyped.startswith("postgresql") else "no database yet") in line


def test_a_real_process_prints_results_errors_and_exit_codes(sqlite_database: str) -> None:
    made = _run(sqlite_database, "keys", "create", "--name", "ci", "--scope", "*")
    assert made.returncode == 0
    assert made.stdout.startswith("kv_live_")
    assert made.stdout.count("\n") == 1
    refused = _run(sqlite_database, "agents", "show", "agt_nobody")
    assert refused.returncode == 1
    assert refused.stderr == "NOT_FOUND: There is no such agent.\n"
    assert _run(sqlite_database, "no-such-noun").returncode == 2


def test_starting_imports_no_driver_and_no_framework() -> None:
    code = (
        "import sys, kavach_core.cli; print(*{'asyncpg', 'starlette', 'fastapi', 'uvicorn', 'httpx'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


def _run(database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kavach_core.cli", *arguments],
        env={**os.environ, "KAVACH_DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
