"""Where files go that need not outlive the run: in memory where there is room, so that the disk has nothing to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
#: The bytes that have to be free in memory before anything is put there; containers often have less.
_ROOM: Final = 2 << 30


def memory_or(directory: Path) -> Path:
    """A directory to make such files below: one in memory, else this one."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else directory
