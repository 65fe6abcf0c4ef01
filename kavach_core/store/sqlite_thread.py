"""One SQLite connection and the thread it lives in: jobs go in, and run one after another.

What SQLite remembers of an open file is copied by a fork and wrong in the child, which would then ignore the locks of
others. So a fork waits until every connection is closed between two jobs, and the parent opens them again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final
from urllib.parse import quote
from weakref import WeakSet

from kavach_core.store.faults import unavailable

# Audit rows dirty pages of the agent index at random. With checkpoints every 32 MB and not every 4 most are written
# once: a decision costs 1.2 times as much at a million rows as at none, and not 1.3.
_WRITER: Final = (
    "journal_mode=wal",
    "wal_autocheckpoint=8000",
    "synchronous=full",
    "cache_size=-64000",
    "foreign_keys=on",
)
_READER: Final = ("query_only=on", "cache_size=-16000")


class Link:
    """The connection of one thread, opened when first asked for, and again after it could not be opened."""

    def __init__(self, path: str, *, busy_timeout: float, read_only: bool) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None

    def connection(self) -> sqlite3.Connection:
        """The open connection.

        Raises `StoreUnavailable` if the file cannot be opened.
        """
        if self._connection is None:
            try:
                self._connection = self._open()
            except sqlite3.Error as error:
                raise unavailable() from error
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, timeout=self._busy_timeout)
        connection.row_factory = sqlite3.Row
        try:
            for pragma in _READER if self._read_only else _WRITER:
                connection.execute(f"pragma {pragma}").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def end_job(self) -> None:
        """Make sure that no job leaves a transaction behind."""
        if self._connection is not None and self._connection.in_transaction:
            self.close()

    def close(self) -> None:
        """Close the connection, which rolls back what is open; the next job opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def connect(path: str, *, timeout: float, mode: str = "rw") -> sqlite3.Connection:
    """Open the file; `timeout` is how many seconds to wait for the locks of others. `mode` as in a SQLite URI.

    Raises `sqlite3.Error`, with what stands in the way as its cause where that can be told.
    """
    try:
        return sqlite3.connect(
            f"file:{quote(path)}?mode={mode}",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise error from _obstacle(Path(path))


def _obstacle(path: Path) -> OSError | None:
    """Why a file cannot be opened, which SQLite says of all reasons alike.

    The file is not opened for that: to close it would let go of every lock this process has on it.
    """
    if path.is_dir():
        return IsADirectoryError("the database is a directory")
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        return PermissionError("permission denied")
    return None if path.exists() else FileNotFoundError("there is no such file")


class ConnectionThread:
    """A thread with one connection. Jobs get its link and must not raise."""

    def __init__(self, path: str, *, name: str, busy_timeout: float, read_only: bool = False) -> None:
        self._link = Link(path, busy_timeout=busy_timeout, read_only=read_only)
        self._jobs: SimpleQueue[Callable[[Link], None] | None] = SimpleQueue()
        self._pausing = False
        self._paused = threading.Event()
        self._resume = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        with _forking:
            _threads.add(self)
            self._thread.start()

    def post(self, job: Callable[[Link], None]) -> None:
        """Run the job after those posted before."""
        self._jobs.put(job)

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return self._jobs.qsize()

    def stop(self) -> None:
        """Let the thread end after what it has to do, including what its jobs still post."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _work(self) -> None:
        stopping = False
        while not (stopping and self._jobs.empty()):
            job = self._jobs.get()
            if self._pausing:
                self._link.close()
                self._paused.set()
                self._resume.wait()
            if job is None:
                stopping = True
            else:
                job(self._link)
                self._link.end_job()
        self._link.close()

    def pause(self) -> None:
        """Return when the connection is closed and the thread waits for `resume`; the current job is finished."""
        self._paused.clear()
        self._resume.clear()
        self._pausing = True
        self._jobs.put(_nothing)
        while self._thread.is_alive() and not self._paused.wait(0.1):
            pass

    def resume(self) -> None:
        """Go on after `pause`."""
        self._pausing = False
        self._resume.set()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return self._thread is threading.current_thread()


def _nothing(link: Link) -> None:
    """A job that only wakes the thread."""


_threads: WeakSet[ConnectionThread] = WeakSet()
_forking = threading.Lock()


def _before_fork() -> None:
    _forking.acquire()
    for thread in _threads:
        if not thread.is_current:
            thread.pause()


def _after_fork_in_parent() -> None:
    for thread in _threads:
        thread.resume()
    _forking.release()


def _after_fork_in_child() -> None:
    _threads.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
