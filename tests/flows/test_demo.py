"""`kavach demo`: the story is told as it is, or the exit code says so."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from typer.testing import CliRunner, Result

from kavach_core.cli import app as command
from tests.curl import assignment, curl

# The package's own name for it is the command.
demo = import_module("kavach_core.cli.demo")

_STEPS = 11


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of an app must not reach the demo, and what it makes is here to be looked for."""
    monkeypatch.setenv("KAVACH_DATABASE_URL", f"sqlite:///{tmp_path / 'of-the-app.db'}")
    monkeypatch.setenv("KAVACH_BASE_URL", "https://app.example")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_once_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([*_demo(), "--once"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^ ?(\d+)  ", done.stdout, re.MULTILINE) == [str(step) for step in range(1, _STEPS + 1)]
    assert done.stdout.count("APPROVAL_REQUIRED") == 4 and re.search(r"Retry-After: \d+ seconds", done.stdout)
    assert done.stdout.count("NOT_GRANTED") == 4 and done.stdout.count("CHAIN_CUT") == 4
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_told_again_on_a_database_of_ones_own(database_url: str) -> None:
    for _ in range(2):
        told = _run("--once", "--database", database_url)
        assert told.exit_code == 0, told.output


def test_it_stays_up_for_the_printed_lines_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(_demo(), stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        printed = _up_to(process.stdout, "What agents do from here on:")
        assert _answers(printed) == [200, 403, 403, 401, 200, 204, 401]
        told = _up_to(process.stdout, "AGENT_REVOKED")
        assert [line.split()[-1] for line in told if line] == [
            "ALLOWED",
            "NOT_GRANTED",
            "APPROVAL_REQUIRED",
            "CHAIN_CUT",
            "AGENT_REVOKED",
        ]
        assert "assistant → searcher  read:repos  ✗ CHAIN_CUT" in "\n".join(told)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert rest.strip() == "Stopped."
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", _port(printed))):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "status", "body", "step"),
    [
        pytest.param("GET /me", 200, {"owner": "mallory"}, 1, id="another human"),
        pytest.param("GET /api/kavach/agents/agt_", 200, {"token": "kv_agt_again"}, 2, id="the token twice"),
        pytest.param("POST /search", 401, {"detail": "no"}, 3, id="an agent that is refused"),
        pytest.param("POST /deployments", 200, {"auditId": "aud_x"}, 4, id="a route without a guard"),
        pytest.param("POST /deployments", 403, {"detail": "no"}, 4, id="a refusal without a code"),
        pytest.param("DELETE /api/kavach/delegations/", 204, None, 8, id="a cut that does not cut"),
        pytest.param("GET /api/kavach/approvals", 200, [], 9, id="a question that nobody is shown"),
        pytest.param("POST /api/kavach/approvals/*/approve", 200, {}, 9, id="consent that does not count"),
        pytest.param("PATCH /api/kavach/budgets/", 200, {}, 10, id="a budget that is not raised"),
        pytest.param("GET /api/kavach/agents/agt_*/trace", 200, [], 11, id="an empty record"),
        pytest.param("POST /comments", 200, "what?", 6, id="an answer of another shape"),
    ],
)
def test_a_step_that_is_not_as_told_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, call: str, status: int, body: object, step: int
) -> None:
    whole = demo.make_app

    def broken(database: str, base_url: str) -> FastAPI:
        app = whole(database, base_url)
        app.add_middleware(_Instead, call=call, status=status, body=body)
        return app

    monkeypatch.setattr(demo, "make_app", broken)
    told = _run("--once")
    assert told.exit_code == 1
    assert told.stderr.startswith(f"Step {step} is not as told: ")
    assert told.stderr.count("\n") == 1


def test_without_its_extra_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    told = _run("--once")
    assert told.exit_code == 1
    assert told.output == "CONFIGURATION_ERROR: The demo needs httpx, uvicorn: pip install 'kavach-asgi[demo]'\n"


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/kavach.db", "postgresql://kavach:hunter2@127.0.0.1:1/kavach"]
)
def test_a_database_that_cannot_be_used_is_told_in_one_line(url: str) -> None:
    told = _run("--once", "--database", url)
    assert told.exit_code == 1
    assert told.stderr.count("\n") == 1 and "hunter2" not in told.output


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = _run("--once", "--port", str(other.getsockname()[1]))
    assert told.exit_code == 1
    assert told.output.startswith("CONFIGURATION_ERROR: Port ")
    assert told.output.count("\n") == 1


class _Instead:
    """Answers one call itself; `*` in its path stands for anything."""

    def __init__(self, app: ASGIApp, *, call: str, status: int, body: object) -> None:
        pattern = re.escape(call).replace(r"\*", "[^/]*")
        self._app = app
        self._call = re.compile(pattern + "$" if "trace" in call else pattern + "[^/]*$")
        self._answer = Response(None if body is None else json.dumps(body), status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and self._call.match(f"{scope['method']} {scope['path']}")
        await (self._answer if here else self._app)(scope, receive, send)


def _demo() -> list[str]:
    return [sys.executable, "-m", "kavach_core.cli", "demo"]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["demo", *arguments])


def _up_to(lines: Iterator[str], last: str) -> list[str]:
    read: list[str] = []
    for line in lines:
        read.append(line.rstrip("\n"))
        if last in line:
            return read
    raise AssertionError("\n".join(read))


def _port(printed: list[str]) -> int:
    return int(next(line.rpartition(":")[2] for line in printed if line.startswith("URL=")))


def _answers(printed: list[str]) -> list[int]:
    """Do what the printed lines say, as a shell would, and return the status of each call."""
    variables: dict[str, str] = {}
    statuses: list[int] = []
    for line in printed:
        if found := assignment(line):
            variables.update([found])
        elif line.startswith("curl "):
            statuses.append(curl(line, variables).status_code)
    return statuses
