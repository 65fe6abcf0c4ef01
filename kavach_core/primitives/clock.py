"""Time: integer microseconds inside, aware UTC datetimes outside.

The store decides what time it is (`Transaction.now`); this module only converts and names the units.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from kavach_core.errors import InvalidInput

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

#: "Has no end", as stored: 9999-12-31 00:00 UTC. An integer, so that ends can be compared and clamped without cases.
NEVER: Final = 253_402_214_400 * SECOND

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: What tells the time, in microseconds. Tests pass their own.
Clock = Callable[[], int]


def system_clock() -> int:
    """The process's own wall clock, in microseconds."""
    return time.time_ns() // 1000


def idle_from(used_at: int, ttl: int | None) -> int:
    """When something last used at a moment will have been idle for its `ttl`; `NEVER` without one."""
    return NEVER if ttl is None else used_at + ttl


def to_datetime(micros: int) -> datetime:
    """The aware UTC datetime of a stored time."""
    return _EPOCH + micros * _MICROSECOND


def optional_datetime(micros: int | None) -> datetime | None:
    """Like `to_datetime`; None and `NEVER` are None."""
    return None if micros is None or micros >= NEVER else to_datetime(micros)


def to_micros(moment: datetime, *, field: str = "time") -> int:
    """The stored time of an aware datetime, 1970 for anything before it.

    Raises `InvalidInput` for a naive one, because its zone would be a guess, and for what is no datetime at all.
    """
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not all type-checked
        raise InvalidInput("This must be a datetime.", field=field)
    if moment.tzinfo is None:
        raise InvalidInput("The time needs a zone, such as Z or +02:00.", field=field)
    try:
        return max(0, min((moment - _EPOCH) // _MICROSECOND, NEVER))
    except OverflowError:
        raise InvalidInput("This time is out of reach.", field=field) from None


def parse_time(text: str, *, field: str = "time") -> int:
    """Read an ISO 8601 time with zone; a space stands for the `+` that a URL lost.

    Raises `InvalidInput` for anything else.
    """
    try:
        moment = datetime.fromisoformat(_restore_plus(text.strip()))
    except ValueError:
        raise InvalidInput("This is not an ISO 8601 time.", field=field) from None
    return to_micros(moment, field=field)


def _restore_plus(text: str) -> str:
    head, gap, zone = text.rpartition(" ")
    return f"{head}+{zone}" if gap and "T" in head and ":" in zone else text


def iso(micros: int) -> str:
    """ISO 8601 in UTC with milliseconds, as it goes over the wire."""
    return to_datetime(micros).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_datetime(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, of an aware datetime."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
