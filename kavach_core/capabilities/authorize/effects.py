"""What a batch changes of the things it decided about: last uses, doors that close, and what a spent budget ends.

All of it in one order, the agents by id, so that two batches cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from kavach_core.capabilities.authorize.throttle import Refused, close
from kavach_core.capabilities.budgets import Ledger
from kavach_core.capabilities.budgets.model import Holder
from kavach_core.capabilities.budgets.service import describe, to_budget
from kavach_core.capabilities.delegation import AgentFacts, Facts
from kavach_core.capabilities.delegation import queries as delegations
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.project import queries as projects
from kavach_core.primitives import ids
from kavach_core.primitives.clock import SECOND, idle_from
from kavach_core.store import Transaction

_LOCK: Final = "update kavach_agents set id = id where project_id = $1 and id = $2"
# Not if the `ttl` was changed after the facts were read: what was computed with the old one could come too late.
_USED: Final = """
update kavach_agents set last_used_at = $3, idle_at = $4
where project_id = $1 and id = $2 and (last_used_at is null or last_used_at < $3) and coalesce(ttl, -1) = $5
"""
_REVOKE: Final = """
update kavach_agents set revoked_at = $3, updated_at = $3 where project_id = $1 and id = $2 and revoked_at is null
"""


async def change(
    tx: Transaction, project: str, facts: Facts, *, used: Collection[bytes], closing: Collection[Refused]
) -> None:
    """Write the last use of agents, at most as often as their `ttl` asks for, and close the door to callers."""
    due = [agent_id for agent_id in sorted(used) if _is_due(facts.agents[agent_id], facts.now)]
    if closing:
        changed = {caller.agent_id for caller in closing}.union(due)
        await tx.execute_each(_LOCK, [(project, agent_id) for agent_id in sorted(changed)])
        await close(tx, project, closing)
    if due:
        await tx.execute_each(_USED, [(project, *_slid(facts.agents[agent_id], facts.now)) for agent_id in due])


async def tell_exceeded(tx: Transaction, project: str, ledgers: Iterable[Ledger]) -> None:
    """Announce budgets in which there was not enough."""
    for ledger in ledgers:
        budget = to_budget(ledger)
        data = {**describe(budget), "spent": budget.spent}
        await announce(tx, project, "budget.exceeded", subject=budget.id, owner_id=budget.owner_id, data=data)


async def end(tx: Transaction, project: str, facts: Facts, ledgers: Iterable[Ledger]) -> None:
    """End what these budgets hang on: agents and delegations are revoked, an owner and the project suspended."""
    for ledger in sorted(ledgers, key=lambda ledger: (_END_ORDER[ledger.holder.kind], ledger.row.holder)):
        kind = ledger.holder.kind
        if await _end(tx, project, ledger.holder):
            event = "revoked" if kind in ("agent", "delegation") else "suspended"
            await announce(
                tx,
                project,
                f"{kind}.{event}",
                subject=_subject(project, ledger.holder),
                owner_id=_owner_of(ledger.holder, facts),
                data={"budgetId": ids.BUDGET.text(ledger.row.id)},
            )


async def _end(tx: Transaction, project: str, holder: Holder) -> bool:
    """Returns whether this changed anything."""
    if holder.kind == "project":
        return await projects.suspend(tx, project)
    if holder.owner_id is not None:
        return await owners.suspend(tx, project, holder.owner_id)
    if holder.kind == "delegation":
        return await delegations.revoke(tx, project, holder.raw[1:])
    return await tx.execute(_REVOKE, project, holder.raw[1:], tx.now) == 1


#: As everywhere else: the project, then owners, then agents, then the delegations between them.
_END_ORDER: Final = {"project": 0, "owner": 1, "agent": 2, "delegation": 3}


def _subject(project: str, holder: Holder) -> str:
    return holder.agent_id or holder.delegation_id or holder.owner_id or project


def _owner_of(holder: Holder, facts: Facts) -> str | None:
    agent = facts.agents.get(holder.raw[1:])
    edge = facts.edges.get(holder.raw[1:])
    if agent is None and edge is not None:
        agent = facts.agents.get(edge.from_agent)
    return holder.owner_id if agent is None else agent.owner_id


def _is_due(agent: AgentFacts, now: int) -> bool:
    """Whether the time of last use is written again: at most once a second, or 20 times per `ttl`."""
    pause = SECOND if agent.ttl is None else max(SECOND, agent.ttl // 20)
    return agent.last_used_at is None or now - agent.last_used_at >= pause


def _slid(agent: AgentFacts, now: int) -> tuple[bytes, int, int, int]:
    return agent.id, now, idle_from(now, agent.ttl), -1 if agent.ttl is None else agent.ttl
