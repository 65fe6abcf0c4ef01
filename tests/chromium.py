"""The Chromium of this machine, for the browser tests."""

from __future__ import annotations

import os
import shutil
from typing import Final

#: Set to anything where the browser tests must run: without a Chromium they then fail instead of being skipped.
REQUIRED: Final = "KAVACH_REQUIRE_BROWSER"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of a Chromium: the one `KAVACH_CHROMIUM` names, or else one on the path."""
    named = os.environ.get("KAVACH_CHROMIUM")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


def must_have_chromium() -> bool:
    """Whether doing without is a failure."""
    return bool(os.environ.get(REQUIRED))
