"""Callers that are refused very often: closed out in the store until their minute ends, so that every process knows.

A caller is an agent, or one of its tokens that was replaced: whoever holds an old token must not shut out the new one.
What a process turned away meanwhile it counts here, and tells in one audit row when the minute is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kavach_core.capabilities.delegation import Facts
from kavach_core.primitives.clock import MINUTE
from kavach_core.store import Transaction

_CLOSE_AGENT: Final = "update kavach_agents set closed_until = $3 where project_id = $1 and id = $2"
_CLOSE_TOKEN: Final = "update kavach_agent_tokens set closed_until = $3 where project_id = $1 and token_hash = $2"


class Refused(NamedTuple):
    """Who is refused: the agent, and the digest of its token if it no longer has that token."""

    agent_id: bytes
    token: bytes | None

    @property
    def counted(self) -> bytes:
        """What the refusals are counted under."""
        return self.token or self.agent_id


class TurnedAway(NamedTuple):
    """Calls that were turned away in a minute that ends at `until`."""

    until: int
    calls: int


def is_closed(caller: Refused, facts: Facts) -> bool:
    """Whether a caller is turned away at the moment of the facts."""
    known = facts.agents.get(caller.agent_id) if caller.token is None else facts.credentials.get(caller.token)
    until = None if known is None else known.closed_until
    return until is not None and facts.now < until


async def close(tx: Transaction, project: str, callers: Iterable[Refused]) -> None:
    """Turn callers away until the current minute ends. Their agents are locked."""
    until = (tx.now // MINUTE + 1) * MINUTE
    closing = sorted(set(callers), key=lambda caller: caller.counted)
    agents = [(project, caller.agent_id, until) for caller in closing if caller.token is None]
    tokens = [(project, caller.token, until) for caller in closing if caller.token is not None]
    for statement, rows in ((_CLOSE_AGENT, agents), (_CLOSE_TOKEN, tokens)):
        if rows:
            await tx.execute_each(statement, rows)


class Throttle:
    """What this process turned away. Changes only when a batch has committed: one that runs again counts once."""

    def __init__(self, per_minute: int | None) -> None:
        self.per_minute = per_minute
        #: Tell what was turned away even before its minute is over, because there will be no later.
        self.closing = False
        self._turned_away: dict[Refused, TurnedAway] = {}

    @property
    def agents(self) -> list[bytes]:
        """Agents with calls that have no row yet."""
        return [caller.agent_id for caller in self._turned_away]

    def ended(self, now: int) -> list[tuple[Refused, int]]:
        """Callers whose minute is over and whose turned-away calls have no row yet, with their number."""
        return [
            (caller, turned.calls)
            for caller, turned in self._turned_away.items()
            if turned.until <= now or self.closing
        ]

    def apply(self, turned_away: Mapping[Refused, int], written: list[Refused], now: int) -> None:
        """Take in what a committed batch did: callers it turned away, and those whose row it wrote."""
        for caller in written:
            self._turned_away.pop(caller, None)
        for caller, calls in turned_away.items():
            before = self._turned_away.get(caller)
            self._turned_away[caller] = TurnedAway(
                (now // MINUTE + 1) * MINUTE, calls + (before.calls if before else 0)
            )
