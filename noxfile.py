"""The supported versions at both ends: `nox` runs what docs/compatibility.md says was tested.

Needs nothing but nox: `python -m pip install nox`. Pythons that are not on the machine are left out, and nox says so.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: What a framework's own behaviour can break.
FRAMEWORK_TESTS = ["tests/adapters", "tests/http", "tests/typing", "examples"]

nox.options.sessions = ["frameworks"]
nox.options.default_venv_backend = "venv"


def oldest() -> list[str]:
    """The lower bound of every framework, exactly, as the extras in pyproject.toml have it."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    bounds = {
        name: version
        for extra in ("starlette", "fastapi", "litestar", "quart")
        for name, version in re.findall(r"(\w+)>=([\d.]+)", " ".join(extras[extra]))
    }
    return [f"{name}=={version}" for name, version in bounds.items()]


@nox.session(python=[PYTHONS[0], PYTHONS[2], PYTHONS[3]])
@nox.parametrize("versions", ["oldest", "newest"])
def frameworks(session: nox.Session, versions: str) -> None:
    """The tests that a framework could break, with its oldest supported and its newest release."""
    session.install("-e", ".[dev]")
    if versions == "oldest":
        session.install(*oldest())
    # Old releases use what their newer dependencies have deprecated since.
    told = ["-W", "ignore:The anyio.abc:DeprecationWarning"] if versions == "oldest" else []
    session.run("python", "-m", "pytest", "-q", *told, *FRAMEWORK_TESTS, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Everything that the everyday run has."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "-q", *session.posargs)
