"""The apps of the HTTP tests, in every framework, on a SQLite file with a clock that stands still."""

from __future__ import annotations

from tests.http.conftest import clock, framework, open_world, world

__all__ = ["clock", "framework", "open_world", "world"]
