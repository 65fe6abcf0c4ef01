"""The README's first app, pasted and started, answers as the README shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.curl import assignment, curl
from tests.docs.pages import README, blocks

_HEADING = "A first app"
_SHOWN_AT = "http://localhost:8000"
_MADE_UP = re.compile(r"(?:kv_agt|agt|dlg|aud)_\w+\.\.\.")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of the first app, saved as the README says and started with the README's command."""
    app, *_ = (block for block in blocks(README, _HEADING) if block.language == "python")
    start, *_ = (block for block in blocks(README, _HEADING) if block.language == "sh")
    (tmp_path / "main.py").write_text(app.text, encoding="utf-8")
    python, *words = start.text.split()
    assert python == "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAVACH_")}
    process = subprocess.Popen(
        [sys.executable, *words, "--port", "0"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield _address(process)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
        assert "Traceback" not in complaints
    finally:
        process.kill()
        process.communicate()


def test_the_curl_lines_answer_as_shown(url: str) -> None:
    """Ids and tokens are made up on the page; each must be the same wherever the page repeats it."""
    live: dict[str, str] = {}
    variables: dict[str, str] = {}
    calls = 0
    for line, status, shown in _walk():
        if found := assignment(line):
            variables[found[0]] = live[found[1]]
            continue
        answer = curl(line, variables, moved={_SHOWN_AT: url})
        calls += 1
        assert answer.status_code == status, f"{line}\n{answer.text}"
        if shown is not None:
            _compare(shown, answer.json(), live)
    assert calls == 7


def _address(process: subprocess.Popen[str]) -> str:
    said: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"running on (http://[\d.:]+)", line):
            return found[1]
    raise AssertionError("".join(said))


def _walk() -> Iterator[tuple[str, int, Any]]:
    """Assignments, and calls with the status their comment ends in and the body that is shown next, if any is."""
    status, waiting = 0, ""
    for block in blocks(README, _HEADING):
        if block.language == "json":
            yield waiting, status, json.loads(block.text)
            waiting = ""
            continue
        for line in block.text.splitlines() if block.language == "sh" else ():
            if line.startswith("# "):
                if waiting:
                    yield waiting, status, None
                status, waiting = int(line.rpartition(" ")[2]), ""
            elif line.startswith("curl "):
                waiting = line
            elif assignment(line):
                yield line, 0, None


def _compare(shown: Any, answered: Any, live: dict[str, str]) -> None:
    if isinstance(shown, dict):
        assert shown.keys() == answered.keys()
        for key, value in shown.items():
            _compare(value, answered[key], live)
    elif isinstance(shown, str) and _MADE_UP.fullmatch(shown):
        prefix = shown.rpartition("_")[0]
        assert answered.startswith(f"{prefix}_")
        assert live.setdefault(shown, answered) == answered
    else:
        assert answered == shown
