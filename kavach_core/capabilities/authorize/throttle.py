"""Callers that are refused very often: counted in the store, remembered here until their minute ends.

A caller is an agent, or one of its tokens that was replaced: whoever holds an old token must not shut out the new one.
A process learns of it with the first refusal it records itself. What it turned away meanwhile becomes one audit row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kavach_core.primitives.clock import MINUTE


class Refused(NamedTuple):
    """Who is refused: the agent, and what is counted, its id or the digest of a token it no longer has."""

    agent_id: bytes
    counted: bytes


class Closed(NamedTuple):
    """A caller that is not looked at until `until`, and how many calls were turned away."""

    until: int
    turned_away: int


class Throttle:
    """Who is closed out now. Changes only when a batch has committed, so a batch that runs again counts once."""

    def __init__(self, per_minute: int | None) -> None:
        self.per_minute = per_minute
        #: Tell what was turned away even before its minute is over, because there will be no later.
        self.closing = False
        self._closed: dict[Refused, Closed] = {}

    def is_closed(self, caller: Refused, now: int) -> bool:
        """Whether the caller is turned away at this moment."""
        closed = self._closed.get(caller)
        return closed is not None and now < closed.until

    @property
    def agents(self) -> list[bytes]:
        """Agents that are closed out, or were and have no row about it yet."""
        return [caller.agent_id for caller in self._closed]

    def ended(self, now: int) -> list[tuple[Refused, int]]:
        """Callers whose minute is over and whose turned-away calls have no row yet, with their number."""
        return [
            (caller, closed.turned_away)
            for caller, closed in self._closed.items()
            if closed.until <= now or self.closing
        ]

    def apply(self, turned_away: Mapping[Refused, int], written: list[Refused], now: int) -> None:
        """Take in what a committed batch did: callers closed or turned away again, and those whose row it wrote."""
        for caller in written:
            self._closed.pop(caller, None)
        for caller, count in turned_away.items():
            before = self._closed.get(caller)
            self._closed[caller] = Closed((now // MINUTE + 1) * MINUTE, count + (before.turned_away if before else 0))
