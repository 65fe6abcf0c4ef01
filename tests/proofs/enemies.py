"""First something is excluded, then something is granted that matters only to who has forgotten that: what, and how."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kavach_core import Kavach, create_kavach
from kavach_core.capabilities.delegation import Facts
from tests.capabilities.support import ask, make_agent
from tests.proofs.crew import Orders

Ids = Mapping[str, str]
Change = Callable[[Kavach, Ids], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Trial:
    """Before it the token opens nothing; the grant alone would let it in, and after the exclusion it must not."""

    prepare: Callable[[Kavach, str], Awaitable[Ids]]
    exclude: Change
    grant: Change


async def _one(kavach: Kavach, owner_id: str) -> Ids:
    """An agent that may do something else."""
    agent = await make_agent(kavach, "read:issues", owner_id=owner_id)
    return {"owner": owner_id, "agent": agent.id, "token": agent.token or ""}


async def _budgeted(kavach: Kavach, owner_id: str) -> Ids:
    budget = await kavach.budgets.create(limit=5, per="day", owner_id=owner_id)
    return {**await _one(kavach, owner_id), "budget": budget.id}


async def _delegated(kavach: Kavach, owner_id: str) -> Ids:
    """An agent with a delegation from another, which was narrowed meanwhile."""
    root = await make_agent(kavach, owner_id=owner_id)
    ids = await _one(kavach, owner_id)
    link = await kavach.delegations.create(from_agent=root.id, to_agent=ids["agent"], permissions=["read:repos"])
    await kavach.agents.update(root.id, permissions=["read:issues"])
    return {**ids, "root": root.id, "delegation": link.id}


async def _suspended(kavach: Kavach, owner_id: str) -> Ids:
    """An agent below another, and an owner who is suspended."""
    root = await make_agent(kavach, owner_id=owner_id)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    await kavach.owners.suspend(owner_id)
    return {"owner": owner_id, "root": root.id, "token": child.token or "", "delegation": child.delegation_id}


def _give(kavach: Kavach, ids: Ids) -> Awaitable[object]:
    return kavach.agents.update(ids["agent"], permissions=["read:issues", "read:repos"])


TRIALS: dict[str, Trial] = {
    "owner bounded": Trial(
        _one, lambda kavach, ids: kavach.owners.set_permissions(ids["owner"], ["read:issues"]), _give
    ),
    "owner suspended": Trial(_one, lambda kavach, ids: kavach.owners.suspend(ids["owner"]), _give),
    "token rotated": Trial(_one, lambda kavach, ids: kavach.agents.rotate(ids["agent"]), _give),
    "budget emptied": Trial(_budgeted, lambda kavach, ids: kavach.budgets.update(ids["budget"], limit=0), _give),
    "delegation cut": Trial(
        _delegated,
        lambda kavach, ids: kavach.delegations.revoke(ids["delegation"]),
        lambda kavach, ids: kavach.agents.update(ids["root"], permissions=["read:repos"]),
    ),
    "chain cut": Trial(
        _suspended,
        lambda kavach, ids: kavach.delegations.revoke(ids["delegation"]),
        lambda kavach, ids: kavach.owners.resume(ids["owner"]),
    ),
    "root narrowed": Trial(
        _suspended,
        lambda kavach, ids: kavach.agents.update(ids["root"], permissions=["read:issues"]),
        lambda kavach, ids: kavach.owners.resume(ids["owner"]),
    ),
}


@asynccontextmanager
async def trying(database: str, skew: str, variant: str) -> AsyncGenerator[Orders]:
    """A process whose clock is wrong by so many milliseconds. `variant` is `facts`, or `clocks`: not done."""
    if variant == "clocks":
        _believe_clocks()
    wrong_by = int(skew) * 1000

    def clock() -> int:
        return time.time_ns() // 1000 + wrong_by

    async with await create_kavach(database=database, skip_migrations=True, clock=clock) as kavach:

        async def change(kind: str, what: str, ids: Ids) -> None:
            await getattr(TRIALS[kind], what)(kavach, ids)

        async def check(token: str) -> bool:
            return bool(await ask(kavach, token))

        yield {"change": change, "check": check}


def _believe_clocks() -> None:
    """What Kavach does not do: take what ends later than its own clock says for what has not ended yet."""
    original = Facts.__init__

    def init(self: Facts, *, now: int, agents: Any, edges: Any, credentials: Any, **more: Any) -> None:
        def past(row: Any) -> Any:
            names = {"revoked_at", "suspended_at", "retired_at"} & set(row._fields)
            return row._replace(**{name: None for name in names if (getattr(row, name) or 0) > now})

        agents, edges, credentials = (
            {key: past(row) for key, row in rows.items()} for rows in (agents, edges, credentials)
        )
        original(self, now=now, agents=agents, edges=edges, credentials=credentials, **more)

    Facts.__init__ = init  # type: ignore[method-assign]
