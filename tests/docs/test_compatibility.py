"""The page about what was tested names the bounds that pyproject.toml has."""

from __future__ import annotations

import re
import tomllib

from tests.docs.pages import ROOT

_PAGE = ROOT / "docs" / "compatibility.md"


def test_the_oldest_releases_are_the_lower_bounds() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    bounds = {name: re.findall(rf"{name}>=([\d.]+)", " ".join(extras[name]))[0] for name in _NAMES}
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| [\d.]+ \|$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower(): oldest for name, oldest in rows} == bounds


_NAMES = ("starlette", "fastapi", "litestar", "quart")
