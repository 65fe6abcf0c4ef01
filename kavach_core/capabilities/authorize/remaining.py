"""What an agent may still spend: of each budget on the paths of its grants, and by the best of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kavach_core.capabilities.authorize.policy import holders_on
from kavach_core.capabilities.budgets import Budget, Ledger
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.budgets.service import to_budget
from kavach_core.capabilities.delegation import load_facts
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import NotFound
from kavach_core.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is left. Budgets that only warn stand in no call's way and are not counted in `calls` and `cost`."""

    #: Calls by the grant that has most left; None if nothing bounds them, 0 for an agent that does not live.
    calls: int | None
    #: The same for units of cost.
    cost: int | None
    #: Every budget on the paths of the agent's living grants.
    budgets: tuple[Budget, ...]


async def remaining(tx: Transaction, project: str, sets: PermissionSets, agent_id: bytes) -> Remaining:
    """Return what an agent may still spend now. Raises `NotFound`."""
    facts = await load_facts(tx, project, sets, agents=(agent_id,))
    agent = facts.agents.get(agent_id)
    if agent is None:
        raise NotFound("There is no such agent.")
    if facts.agent_end(agent_id) is not None:
        return Remaining(calls=0, cost=0, budgets=())
    paths = [
        holders_on(path, facts)
        for path in facts.paths_of(agent)
        if (path[-1].edge_id is None and not path[-1].permissions.is_empty)
        or (path[-1].edge_id is not None and facts.edge_lives(path[-1].edge_id))
    ]
    found: dict[bytes, list[Ledger]] = {}
    for ledger in await budgets.of_holders(tx, project, {holder for holders in paths for holder in holders}):
        found.setdefault(ledger.row.holder, []).append(ledger)
    by_path = [[ledger for holder in holders for ledger in found.get(holder, ())] for holders in paths]
    return Remaining(
        calls=_most(_least(ledger for ledger in ledgers if ledger.measures_calls) for ledgers in by_path),
        cost=_most(_least(ledger for ledger in ledgers if not ledger.measures_calls) for ledgers in by_path),
        budgets=tuple(to_budget(ledger) for ledgers in found.values() for ledger in ledgers),
    )


def _least(ledgers: Iterable[Ledger]) -> int | None:
    return min((ledger.left for ledger in ledgers if not ledger.only_warns), default=None)


def _most(left: Iterable[int | None]) -> int | None:
    """The most of several paths; None, unbounded, if one of them is. Nothing for an agent without grants."""
    every = list(left)
    bounded = [each for each in every if each is not None]
    return None if len(bounded) < len(every) else max(bounded, default=0)
