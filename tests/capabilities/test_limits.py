"""Counters are forgotten once nothing they hold counts any more, and not before."""

from __future__ import annotations

from kavach_core import Kavach, Reason
from kavach_core.testing import FrozenClock

_LIMITED = {"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 1}}


async def test_only_counters_that_nobody_counted_in_for_a_day_are_forgotten(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await kavach.agents.create(owner_id="alice", name="reader", permissions=[_LIMITED])
    assert await kavach.authorize(agent.id, action="read", resource="repos")
    clock.advance("23h")
    assert await kavach.limits.prune() == 0
    clock.advance("2h")
    assert await kavach.authorize(agent.id, action="read", resource="repos")
    assert await kavach.limits.prune() == 0
    assert (await kavach.authorize(agent.id, action="read", resource="repos")).code is Reason.RATE_LIMITED
    clock.advance("25h")
    assert await kavach.limits.prune() == 1
