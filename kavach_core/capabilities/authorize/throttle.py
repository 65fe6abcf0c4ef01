"""Agents that are refused very often: counted in the store, remembered here until their minute ends.

A process learns of it with the first refusal it records itself. What it turned away meanwhile becomes one audit row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kavach_core.primitives.clock import MINUTE


class Closed(NamedTuple):
    """An agent that is not looked at until `until`, and how many calls were turned away."""

    until: int
    turned_away: int


class Throttle:
    """Who is closed out now. Changes only when a batch has committed, so a batch that runs again counts once."""

    def __init__(self, per_minute: int | None) -> None:
        self.per_minute = per_minute
        self._closed: dict[bytes, Closed] = {}

    def is_closed(self, agent_id: bytes, now: int) -> bool:
        """Whether the agent's calls are turned away at this moment."""
        closed = self._closed.get(agent_id)
        return closed is not None and now < closed.until

    @property
    def closed(self) -> list[bytes]:
        """Agents that are closed out, or were and have no row about it yet."""
        return list(self._closed)

    def ended(self, now: int) -> list[tuple[bytes, int]]:
        """Agents whose minute is over and whose turned-away calls have no row yet, with their number."""
        return [(agent_id, closed.turned_away) for agent_id, closed in self._closed.items() if closed.until <= now]

    def apply(self, turned_away: Mapping[bytes, int], written: list[bytes], now: int) -> None:
        """Take in what a committed batch did: agents closed or turned away again, and those whose row it wrote."""
        for agent_id in written:
            self._closed.pop(agent_id, None)
        for agent_id, count in turned_away.items():
            before = self._closed.get(agent_id)
            self._closed[agent_id] = Closed((now // MINUTE + 1) * MINUTE, count + (before.turned_away if before else 0))
