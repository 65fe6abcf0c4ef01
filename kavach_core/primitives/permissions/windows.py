"""Daily time windows in UTC: the start belongs to a window, the end does not, and it may cross midnight."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.checks import check_object, within

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = 24 * 60
_MICROSECONDS_PER_MINUTE = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """From `start` to `end`, both `HH:MM` in UTC. Raises InvalidInput for other text, or when they are equal."""

    start: str
    end: str
    #: Minutes after midnight, and how long the window is open.
    opens: int = field(init=False, repr=False, compare=False)
    minutes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        opens = _minute(self.start, "start")
        minutes = (_minute(self.end, "end") - opens) % _DAY
        if minutes == 0:
            raise InvalidInput("A window starts and ends at different times.", field="end")
        object.__setattr__(self, "opens", opens)
        object.__setattr__(self, "minutes", minutes)

    def contains(self, now: int) -> bool:
        """Tell whether `now`, in microseconds since the epoch, is inside."""
        return (now // _MICROSECONDS_PER_MINUTE - self.opens) % _DAY < self.minutes

    def covers(self, other: TimeWindow) -> bool:
        """Tell whether the other window is never open while this one is closed."""
        return (other.opens - self.opens) % _DAY + other.minutes <= self.minutes

    def meet(self, other: TimeWindow) -> tuple[TimeWindow, ...]:
        """Give the windows, none, one or two, in which both are open."""
        # Seen from our start, theirs is open from `begin` to `stop`, and a part past the day's end comes around again.
        begin = (other.opens - self.opens) % _DAY
        stop = begin + other.minutes
        parts = ((begin, min(stop, self.minutes)), (0, min(stop - _DAY, self.minutes)))
        return tuple(self._part(*part) for part in parts if part[0] < part[1])

    def to_wire(self) -> dict[str, str]:
        """The window as it is written."""
        return {"start": self.start, "end": self.end}

    def _part(self, begin: int, stop: int) -> Self:
        return type(self)(start=_clock(self.opens + begin), end=_clock(self.opens + stop))


def check_window(value: object, field: str) -> TimeWindow:
    """Return a window given as one or as `{start, end}`, or raise InvalidInput."""
    if isinstance(value, TimeWindow):
        return value
    ends = check_object(value, field, known=("start", "end"))
    start, end = (_check_clock(ends.get(name), within(field, name)) for name in ("start", "end"))
    if start == end:
        raise InvalidInput("A window starts and ends at different times.", field=field)
    return TimeWindow(start=start, end=end)


def _check_clock(value: object, field: str) -> str:
    _minute(value, field)
    return str(value)


def _minute(value: object, field: str) -> int:
    clock = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if clock is None:
        raise InvalidInput("A time of day is HH:MM, from 00:00 to 23:59, in UTC.", field=field)
    return int(clock[1]) * 60 + int(clock[2])


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"
