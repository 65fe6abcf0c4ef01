"""Stopping at once: an agent, a chain, an owner, everybody. One call, one row, and the next decision everywhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from kavach_core import Kavach, ServiceIdentity
from kavach_core.capabilities.authorize import effects
from kavach_core.errors import ProjectSuspended
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, ask, code, events, make_agent, select

SWITCHES = ("agent", "chain", "owner", "project")
_CUT = {"agent": "AGENT_REVOKED", "chain": "CHAIN_CUT", "owner": "OWNER_SUSPENDED", "project": "PROJECT_SUSPENDED"}
#: What a switch may change beside its one row: that it announces it.
_TABLES = ("owners", "agents", "delegations", "projects", "agent_tokens", "sessions", "budgets", "approvals", "audit")


async def _rows(kavach: Kavach) -> Counter[tuple[Any, ...]]:
    found = Counter[tuple[Any, ...]]()
    for table in _TABLES:
        rows = await select(kavach, f"select * from kavach_{table} where project_id = $1", kavach.config.project)
        found.update((table, *row) for row in rows)
    return found


@pytest.mark.parametrize("switch", SWITCHES)
async def test_a_switch_is_one_call_and_one_row_and_holds_from_the_next_decision_on(
    kavach: Kavach, open_kavach: OpenKavach, switch: str
) -> None:
    """For all below, in every process, for `verify` and `authorize`; nobody else notices."""
    elsewhere = await open_kavach()
    root = await make_agent(kavach)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    below = [await kavach.agents.delegate(from_=child.id, permissions=["read:repos"]) for _ in range(5)]
    below.append(await kavach.agents.delegate(from_=below[0].id, permissions=["read:repos"]))
    aside = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    stranger = await make_agent(kavach, owner_id="bob")
    await kavach.owners.set_permissions("alice", ["*:*"])
    await kavach.budgets.create(limit=1000, per="day")
    assert all([await ask(elsewhere, agent.token) for agent in (root, child, *below, aside, stranger)])
    before, told = await _rows(kavach), await events(kavach)
    await {
        "agent": lambda: kavach.agents.revoke(child.id),
        "chain": lambda: kavach.delegations.revoke(child.delegation_id),
        "owner": lambda: kavach.owners.suspend("alice"),
        "project": kavach.project.suspend,
    }[switch]()
    after = await _rows(kavach)
    assert sum((before - after).values()) == sum((after - before).values()) == 1
    assert len(await events(kavach)) == len(told) + 1
    end = "CHAIN_CUT" if switch in ("agent", "chain") else _CUT[switch]
    for agent in below:
        assert await code(elsewhere, agent.token) == end
        assert (await elsewhere.agents.verify(agent.token or "")).code == end  # type: ignore[union-attr]
    assert await code(elsewhere, child.token) == _CUT[switch]
    for agent in (root, aside):
        assert await code(elsewhere, agent.token) == ("ALLOWED" if switch in ("agent", "chain") else end)
    assert await code(elsewhere, stranger.token) == ("PROJECT_SUSPENDED" if switch == "project" else "ALLOWED")


async def test_a_suspended_project_refuses_agents_alone(kavach: Kavach, clock: FrozenClock) -> None:
    """Humans and keys go on; nothing new is handed on; what expires meanwhile stays expired."""
    agent, idle = await make_agent(kavach), await make_agent(kavach, ttl="1h")
    other = await make_agent(kavach)
    session, key = await kavach.sessions.create("alice"), await kavach.keys.create(name="ci", scopes=["*"])
    await kavach.project.suspend()
    clock.advance("1m")
    await kavach.project.suspend()
    project = await kavach.project.get()
    assert project.suspended and project.suspended_at and project.suspended_at < clock.now
    assert (await kavach.sessions.verify(session.token or "")).valid
    assert isinstance(await kavach.keys.verify(key.key or ""), ServiceIdentity)
    new = await make_agent(kavach)
    assert await code(kavach, new.token) == "PROJECT_SUSPENDED"
    for handing_on in (
        kavach.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        kavach.delegations.create(from_agent=agent.id, to_agent=other.id, permissions=["read:repos"]),
    ):
        with pytest.raises(ProjectSuspended):
            await handing_on
    assert (await kavach.remaining(agent)).calls == 0
    clock.advance("1h")
    await kavach.project.resume()
    await kavach.project.resume()
    assert [await code(kavach, each.token) for each in (agent, new, idle)] == ["ALLOWED", "ALLOWED", "AGENT_IDLE"]
    assert not (await kavach.project.get()).suspended
    told = [event for event in await events(kavach) if event.startswith("project")]
    assert told == ["project.suspended", "project.resumed"]


async def test_a_project_nobody_said_anything_about_is_not_suspended(kavach: Kavach) -> None:
    await kavach.project.resume()
    assert not (await kavach.project.get()).suspended and (await kavach.project.get()).id == kavach.config.project
    assert await events(kavach) == []


async def test_the_record_says_that_the_project_was_suspended(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.project.suspend()
    decision = await ask(kavach, agent.token)
    (entry,) = await kavach.audit.query()
    assert (entry.id, entry.code, entry.result) == (decision.audit_id, "PROJECT_SUSPENDED", "denied")
    assert decision.identity is None


async def test_of_many_who_end_a_thing_at_once_one_tells(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """A budget that ends its owner, spent by two processes, while somebody suspends and resumes them."""
    both = kavach, await open_kavach()
    agents = [await make_agent(kavach) for _ in range(2)]
    await kavach.budgets.create(owner_id="alice", limit=0, per="forever", action="revoke")
    decisions = await asyncio.gather(*[ask(both[call % 2], agents[call % 2].token) for call in range(16)])
    assert {decision.code.value for decision in decisions} <= {"BUDGET_EXCEEDED", "OWNER_SUSPENDED"}
    told = Counter(await events(kavach))
    assert (told["owner.suspended"], told["budget.exceeded"]) == (1, 1)
    await kavach.owners.resume("alice")
    assert await code(kavach, agents[0].token) == "BUDGET_EXCEEDED"
    assert await code(kavach, agents[0].token) == "OWNER_SUSPENDED"
    told = Counter(await events(kavach))
    assert (told["owner.suspended"], told["budget.exceeded"]) == (2, 1)


def test_what_a_budget_ends_is_ended_in_the_order_of_all_locks() -> None:
    """As everywhere: a batch that ends several things cannot wait for another one crosswise."""
    assert sorted(effects._END_ORDER, key=effects._END_ORDER.__getitem__) == ["project", "owner", "agent", "delegation"]
