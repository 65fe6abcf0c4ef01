"""The time of one database as this process sees it: it never goes back, and ids are made in its order."""

from __future__ import annotations

import threading

from kavach_core.primitives.ids import IdSource


class Timeline:
    """The newest time seen, and ids that are never older; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = 0
        self._ids = IdSource()

    @property
    def newest(self) -> int:
        """The newest time seen."""
        return self._newest

    def settle(self, at: int) -> int:
        """The time of a transaction whose clock says `at`: that, or the newest time seen if that is later."""
        with self._lock:
            self._newest = max(self._newest, at)
            return self._newest

    def new_id(self, at: int) -> bytes:
        """A new id for the moment `at`, later than every id made here before."""
        return self._ids.new(at)
