"""For the tests of an app: a clock that stands still, and a Kavach on a database that is gone afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Unpack

from kavach_core.config import Settings
from kavach_core.kavach import Kavach, create_kavach
from kavach_core.primitives import clock, duration
from kavach_core.primitives.duration import Duration

__all__ = ["FrozenClock", "temporary_kavach"]

_START: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)


class FrozenClock:
    """A clock that stands still until it is moved: `create_kavach(clock=FrozenClock())`.

    Kavach's time never goes back, so neither does this clock.
    """

    def __init__(self, at: datetime = _START) -> None:
        """Stand at this moment. Raises `InvalidInput` for one without a zone."""
        self._at = clock.to_micros(at, field="at")

    def __call__(self) -> int:
        """The time in microseconds, as the store asks for it."""
        return self._at

    @property
    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        return clock.to_datetime(self._at)

    def advance(self, by: Duration) -> None:
        """Move on by `"90s"`, `"2h"`, seconds, or a timedelta of any size. Raises ValueError for one that goes back."""
        micros = by // timedelta(microseconds=1) if isinstance(by, timedelta) else duration.to_micros(by, field="by")
        self._move(self._at + micros)

    def move_to(self, at: datetime) -> None:
        """Move on to a moment. Raises ValueError for one that is past and `InvalidInput` for one without a zone."""
        self._move(clock.to_micros(at, field="at"))

    def _move(self, to: int) -> None:
        if to < self._at:
            raise ValueError("A clock does not go back.")
        self._at = to


@asynccontextmanager
async def temporary_kavach(**settings: Unpack[Settings]) -> AsyncGenerator[Kavach]:
    """Open a Kavach on a SQLite file of its own; leaving closes it and removes the file.

    Takes the settings of `create_kavach`, such as `clock=FrozenClock()`; `database=` puts it somewhere else. What
    happens is real: SQLite in a temporary file is the fake.
    """
    directory = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="kavach-")
    try:
        given: Settings = {"database": f"sqlite:///{Path(directory.name) / 'kavach.db'}", **settings}
        async with await create_kavach(**given) as kavach:
            yield kavach
    finally:
        await asyncio.to_thread(directory.cleanup)
