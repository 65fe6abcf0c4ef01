"""Times as people type them: how long ago, how long from now, or when exactly."""

from __future__ import annotations

from datetime import datetime

from kavach_core.errors import InvalidInput
from kavach_core.primitives import clock, duration


def ago(text: str, *, field: str) -> datetime:
    """The moment a duration such as `90d` before now. Raises `InvalidInput`."""
    return clock.to_datetime(clock.system_clock() - duration.to_micros(text, field=field))


def ahead(text: str | None, *, field: str) -> datetime | None:
    """The moment a duration after now; None for none. Raises `InvalidInput`."""
    if text is None:
        return None
    return clock.to_datetime(clock.system_clock() + duration.to_micros(text, field=field))


def when(text: str | None, *, field: str) -> datetime | None:
    """A moment in the past, as a duration before now or as an ISO 8601 time with zone. Raises `InvalidInput`."""
    if text is None:
        return None
    if "-" not in text:
        return ago(text, field=field)
    try:
        return clock.to_datetime(clock.parse_time(text, field=field))
    except OverflowError:
        raise InvalidInput("This time is out of range.", field=field) from None
