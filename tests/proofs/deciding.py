"""A process that has decisions made and acknowledges each, until it is killed; it outlives a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

from kavach_core import Kavach, lazy_kavach
from kavach_core.errors import StoreUnavailable
from tests.capabilities.support import limited, make_agent
from tests.proofs.mortals import Mouth, Orders
from tests.proofs.variants import open_early

#: Callers of one process at a time, and seconds they wait before they ask a database again that was away.
_CALLERS = 8
_PAUSE = 0.02
#: More than any proof spends.
_PLENTY = 2**53 - 1

GetKavach = Callable[[], Awaitable[Kavach]]


class World(NamedTuple):
    """Who calls: a sub-agent within rate and budgets, the agent above it, which may not do it, and a poor one."""

    rated: str
    child: str
    root: str
    poor: str


async def make_world(kavach: Kavach) -> World:
    """Agents with a rate, and budgets of every kind on what they hang from."""
    root = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=_PLENTY))
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    poor = await make_agent(kavach, owner_id="bob")
    for measure in ("calls", "cost"):
        await kavach.budgets.create(measure=measure, limit=_PLENTY, per="forever", agent_id=root.id)
        await kavach.budgets.create(measure=measure, limit=_PLENTY, per="forever", owner_id="alice")
        await kavach.budgets.create(measure=measure, limit=_PLENTY, per="forever")
    await kavach.budgets.create(agent_id=poor.id, limit=100, per="forever")
    return World(root.id, child.token or "", root.token or "", poor.token or "")


def work(mouth: Mouth, orders: Orders, database: str, variant: str, world: World) -> None:
    """Acknowledge decision after decision as (audit id, code); say None for each that could not be made."""
    asyncio.run(_work(mouth, lazy_kavach(database=database) if variant == "kavach" else _early(database), world))


def _early(database: str) -> GetKavach:
    opened: list[Kavach] = []

    async def get() -> Kavach:
        if not opened:
            opened.append(await open_early(database))
        return opened[0]

    return get


async def _work(mouth: Mouth, get_kavach: GetKavach, world: World) -> None:
    await asyncio.gather(*[_call(mouth, get_kavach, world, number) for number in range(_CALLERS)])


async def _call(mouth: Mouth, get_kavach: GetKavach, world: World, number: int) -> None:
    tokens = ((world.child, "read"), (world.root, "write"), (world.child, "read"), (world.poor, "read"))
    for turn in count(number):
        token, action = tokens[turn % len(tokens)]
        try:
            kavach = await get_kavach()
            decision = await kavach.authorize(token, action=action, resource="repos", cost=5)
            mouth.send((decision.audit_id, decision.code.value))
            if decision.allowed and decision.audit_id is not None:
                settlement = await kavach.settle(decision.audit_id, 3)
                mouth.send((settlement.audit_id, "SETTLED"))
        except StoreUnavailable:
            mouth.send(None)
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(0.001)  # several processes share a SQLite file by chance; this gives the others one
