"""A process that cuts a chain when told to and acknowledges it, if it lives that long."""

from __future__ import annotations

import asyncio

from kavach_core import Kavach, create_kavach
from tests.proofs.mortals import Mouth, Orders


def work(mouth: Mouth, orders: Orders, database: str, variant: str) -> None:
    """Say True when ready; take a delegation and the agents below it, and say True when that chain is cut."""
    asyncio.run(_work(mouth, orders, database, variant))


async def _work(mouth: Mouth, orders: Orders, database: str, variant: str) -> None:
    async with await create_kavach(database=database, skip_migrations=True) as kavach:
        # So that whatever is opened when it is first needed, is.
        await kavach.agents.list(limit=1)
        mouth.send(True)
        delegation_id, below = orders.recv()
        await (_one_by_one(kavach, below) if variant == "one by one" else kavach.delegations.revoke(delegation_id))
        mouth.send(True)


async def _one_by_one(kavach: Kavach, agents: list[str]) -> None:
    """What Kavach does not do: end everything below, one after the other, from the leaves up."""
    for agent_id in reversed(agents):
        await kavach.agents.revoke(agent_id)
