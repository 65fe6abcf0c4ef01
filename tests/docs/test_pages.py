"""Every snippet on every page runs, every printed command works, every link leads somewhere."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from kavach_core import Kavach, LazyKavach
from kavach_core.cli import app as command
from tests.docs.pages import PAGES, README, ROOT, Block, anchors, blocks, links

#: What a line of a `sh` block may begin with. `curl` and assignments belong to the README's first app; its two
#: commands are run, each in an environment of its own, by `.ci/run`.
_RUN_HERE = "kavach "
_RUN_WITH_THE_APP = ("curl ", "python -m uvicorn main:app")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a page makes, it makes in a folder of its own, with no settings but those it shows."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "BASE_URL", "SECRET", "API_KEY", "URL"):
        monkeypatch.delenv(f"KAVACH_{name}", raising=False)


@every_page
async def test_python_runs_from_the_first_snippet_to_the_last(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All snippets of a page share their names, and may await; tests that a page shows are run as tests."""
    # A module that can be found: Litestar looks up there what the annotations of a handler mean.
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names: dict[str, Any] = vars(module)
    try:
        for block in blocks(page):
            if block.language == "python":
                await _result(eval(_compiled(page, block), names))
        for name, value in list(names.items()):
            if name.startswith("test_"):
                await _result(value())
    finally:
        for value in names.values():
            if isinstance(value, Kavach | LazyKavach):
                await value.close()
            elif isinstance(value, TemporaryDirectory):
                value.cleanup()  # otherwise its warning comes when it is collected, in whichever test that is


@every_page
def test_kavach_commands_work(page: Path) -> None:
    lines = [line for line in _shell_lines(page) if line.startswith(_RUN_HERE)]
    assert not CliRunner().invoke(command, ["migrate"]).exit_code
    for line in lines:
        done = CliRunner().invoke(command, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}"


@every_page
def test_nothing_is_printed_that_no_test_runs(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {"python", "sh", "json", "text"}
    for line in _shell_lines(page):
        first_app = page == README and (line.startswith(_RUN_WITH_THE_APP) or re.fullmatch(r"[A-Z]+=\S+", line))
        assert line.startswith(_RUN_HERE) or first_app, f"{page.name}: no test runs {line!r}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(README.parent / target).resolve() for target in links(README)}
    assert {page for page in PAGES if page != README} <= linked
    assert set((ROOT / "examples").glob("*/main.py")) <= linked


def test_the_two_commands_are_two_whole_lines() -> None:
    """`.ci/run` takes them from here, word for word."""
    (block,) = blocks(README, "Two commands")
    assert block.language == "sh"
    demo, test = block.text.splitlines()
    assert demo == 'python -m pip install ".[demo]" && kavach demo'
    assert test == 'python -m pip install -e ".[dev]" && python -m pytest'


def _compiled(page: Path, block: Block) -> CodeType:
    """The block as code whose lines are those of the page."""
    source = "\n" * (block.line - 1) + block.text
    return compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


async def _result(value: Any) -> None:
    if inspect.isawaitable(value):
        await value


def _shell_lines(page: Path) -> list[str]:
    """The lines of all `sh` blocks, without comments and the README's two commands."""
    return [
        line
        for block in blocks(page)
        if block.language == "sh" and block.heading != "Two commands"
        for line in block.text.splitlines()
        if line and not line.startswith("#")
    ]
