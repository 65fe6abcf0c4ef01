"""Programs of users are clean under strict type checking, and the mistakes marked in them are found.

This runs mypy; pyright, which needs a node, reads the same files where it is run on the packages.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent


def test_the_programs_of_users_are_clean_and_their_marked_mistakes_are_mistakes() -> None:
    programs = sorted(str(path) for path in _HERE.glob("user_*.py"))
    assert len(programs) >= 3
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", *programs]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_HERE.parent.parent, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
