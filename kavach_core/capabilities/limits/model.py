"""A count over the current minute and the 59 before it, and what is counted of those who want to get in, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kavach_core.primitives.clock import MINUTE, SECOND

_MINUTES: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to get in, which may be a guess."""

    #: What it is at, by whatever names an account; None where only a secret is shown.
    account: str | None = None
    #: The address it comes from, if that is known.
    address: str | None = None
    #: The browser it comes from, where that got into this account before.
    browser: bytes | None = None


class Window:
    """Counts by minute of the last hour. Read it, take from it, and write `text` back; older minutes fall off."""

    __slots__ = ("_counts", "_minute", "has_begun_minute")

    def __init__(self, text: str, now: int) -> None:
        self._minute = now // MINUTE
        self._counts: dict[int, int] = {}
        for pair in text.split(","):
            if pair:
                minute, _, count = pair.partition(":")
                self._keep(int(minute), int(count))
        #: Whether nothing was counted in the current minute yet when this was read.
        self.has_begun_minute = self._minute not in self._counts

    def _keep(self, minute: int, count: int) -> None:
        if minute > self._minute - _MINUTES:
            self._counts[minute] = count

    @property
    def text(self) -> str:
        """As it is stored."""
        return ",".join(f"{minute}:{count}" for minute, count in self._counts.items())

    @property
    def hour(self) -> int:
        """Units taken in the current minute and the 59 before it."""
        return sum(self._counts.values())

    @property
    def minute(self) -> int:
        """Units taken in the current minute."""
        return self._counts.get(self._minute, 0)

    def last(self, minutes: int) -> int:
        """Units taken in the current minute and those before it, `minutes` in all."""
        return sum(count for minute, count in self._counts.items() if minute > self._minute - minutes)

    def take(self, units: int = 1) -> None:
        """Count units in the current minute."""
        self._counts[self._minute] = self.minute + units

    def give_back(self) -> None:
        """Take back the newest unit, if one is left."""
        counted = [minute for minute, count in self._counts.items() if count > 0]
        if counted:
            self._counts[max(counted)] -= 1

    def retry_after(self, limit: int, now: int, minutes: int = _MINUTES) -> int:
        """Whole seconds until one more unit fits under `limit` in so many minutes, if nothing else is taken.

        All of them for a limit of none.
        """
        if limit <= 0:
            return minutes * 60
        left = self.last(minutes)
        for minute in sorted(minute for minute in self._counts if minute > self._minute - minutes):
            left -= self._counts[minute]
            if left < limit:
                return _seconds_until((minute + minutes) * MINUTE, now)
        return 1


def minute_ends_in(now: int) -> int:
    """Whole seconds until the current minute ends, at least one."""
    return _seconds_until((now // MINUTE + 1) * MINUTE, now)


def _seconds_until(moment: int, now: int) -> int:
    return max(1, -((now - moment) // SECOND))
