"""What the machine says: CPU time of this process and of a server's, and what a commit to its disk costs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")


def client_cpu() -> float:
    """Seconds of CPU this process has used, in all its threads."""
    return time.process_time()


def process_cpu(pid: int) -> float | None:
    """Seconds of CPU that the threads of a process have used so far; None where there is no /proc."""
    return _cpu_of(pid) if (_PROC / str(pid) / "stat").exists() else None


def tree_cpu(pid: int) -> float | None:
    """The same of a process and its children."""
    if not (_PROC / str(pid) / "stat").exists():
        return None
    return sum(_cpu_of(each) for each in (pid, *_children(pid)))


def _children(pid: int) -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and _stat(int(entry.name))[1:2] == [str(pid)]:
            yield int(entry.name)


def _cpu_of(pid: int) -> float:
    """Of all threads, to the nanosecond where the kernel keeps it so, else in ticks of usually 10 ms."""
    try:
        threads = [*(_PROC / str(pid) / "task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except FileNotFoundError:
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0
    except ProcessLookupError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """The fields of `stat` behind the name, which may hold anything: state, parent, ... Empty for one that ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def sync_ms(directory: Path) -> float:
    """Milliseconds that writing one page and syncing it takes here, the median of twenty."""
    path = directory / "sync"
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(20):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    path.unlink()
    return median(took)
