"""Durations as people write them: `"30m"`, `"2h"`, `"7d"`, seconds, or a timedelta."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives.clock import DAY, HOUR, MINUTE, SECOND

Duration = str | int | timedelta

_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_LONGEST: Final = 3650 * DAY


def to_micros(value: Duration, *, field: str = "ttl") -> int:
    """Microseconds of a duration; a bare number is seconds.

    Raises `InvalidInput` unless it lies between one second and ten years.
    """
    micros = _read(value, field)
    if not SECOND <= micros <= _LONGEST:
        raise InvalidInput("A duration lies between one second and ten years.", field=field)
    return micros


def _read(value: Duration, field: str) -> int:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, int) and not isinstance(value, bool):
        return value * SECOND
    if isinstance(value, str) and len(value) <= 12 and value[:-1].isascii() and value[:-1].isdigit():
        unit = _UNITS.get(value[-1])
        if unit:
            return int(value[:-1]) * unit
    raise InvalidInput('A duration is written like "90s", "30m", "2h" or "7d".', field=field)


def to_text(micros: int) -> str:
    """The shortest exact spelling in whole units: `"2h"`, `"90s"`."""
    for unit in ("w", "d", "h", "m"):
        if micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros // SECOND}s"
