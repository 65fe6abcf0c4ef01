"""The two ways of loading the facts of a decision find the same, on the same data."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kavach_core import Kavach
from kavach_core.capabilities.delegation.loader import _Found
from kavach_core.primitives import ids, tokens
from kavach_core.store import Transaction
from kavach_core.testing import FrozenClock
from tests.capabilities.support import Home, make_agent, opener, store_of


async def test_one_statement_and_a_walk_by_level_find_the_same(postgres_home: Home, clock: FrozenClock) -> None:
    """Both run on PostgreSQL; SQLite only ever walks."""
    async with opener(database=postgres_home.database, project=postgres_home.project, clock=clock) as open_kavach:
        kavach = await open_kavach()
        agents, secrets = await _a_tangle(kavach, clock)
        asked = (
            [([], [agent]) for agent in agents] + [([token], []) for token in secrets] + [(secrets, agents), ([], [])]
        )
        for by_token, by_id in asked:
            walked, at_once = await store_of(kavach).read(_load_both, kavach.config.project, by_token, by_id)
            assert vars(walked) == vars(at_once)
            assert by_token == by_id == [] or walked.agents
        everything, _ = await store_of(kavach).read(_load_both, kavach.config.project, secrets, agents)
        assert (len(everything.agents), len(everything.credentials)) == (len(agents), len(secrets))
        elsewhere, _ = await store_of(kavach).read(_load_both, "another project", secrets, agents)
        assert vars(elsewhere) == vars(_Found())


async def _load_both(tx: Transaction, project: str, by_token: list[bytes], by_id: list[bytes]) -> tuple[_Found, _Found]:
    walked, at_once = _Found(), _Found()
    await walked.load_by_level(tx, project, by_token, by_id)
    await at_once.load_at_once(tx, project, by_token, by_id)
    return walked, at_once


async def _a_tangle(kavach: Kavach, clock: FrozenClock) -> tuple[list[bytes], list[bytes]]:
    """Founding chains, a diamond, ended and expired links, a suspended owner, rotated tokens; ids and token digests."""
    root, twin = await make_agent(kavach, "*:*"), await make_agent(kavach, "*:*")
    children = [await kavach.agents.delegate(from_=root.id, permissions=["read:repos"]) for _ in range(2)]
    leaf = await kavach.agents.delegate(from_=children[0].id, permissions=["read:repos"])
    middle, last = [await kavach.agents.create(owner_id="alice", name="m") for _ in range(2)]
    made = [root, twin, *children, leaf, middle, last, await make_agent(kavach, owner_id="bob")]
    for giver, receiver in ((root, middle), (twin, middle), (middle, last), (children[1], last), (leaf, middle)):
        await kavach.delegations.create(from_agent=giver.id, to_agent=receiver.id, permissions=["read:repos"])
    for _ in range(2):
        ended = await kavach.delegations.create(from_agent=twin.id, to_agent=last.id, permissions=["read:repos"])
    await kavach.delegations.revoke(ended.id)
    soon = clock.now + timedelta(hours=1)
    await kavach.delegations.create(from_agent=twin.id, to_agent=leaf.id, permissions=["read:repos"], expires_at=soon)
    await kavach.delegations.revoke(children[0].delegation_id)
    rotated = await kavach.agents.rotate(middle.id)
    await kavach.owners.suspend("bob")
    clock.advance("1h")
    digests = [tokens.digest(each.token) for each in (*made, rotated) if each.token]
    return [ids.AGENT.raw(agent.id) for agent in made], digests


@pytest.mark.parametrize("chain", [0, 1, 6])
async def test_a_decision_loads_its_own_chain_and_nothing_else(kavach: Kavach, chain: int) -> None:
    agent = await make_agent(kavach, "*:*")
    for depth in range(chain):
        await kavach.agents.delegate(from_=agent.id, permissions=["*:*"], name="aside")
        agent = await kavach.agents.delegate(from_=agent.id, permissions=["*:*"], max_depth=None if depth else 6)
    found = await store_of(kavach).read(_load, kavach.config.project, ids.AGENT.raw(agent.id))
    assert (len(found.agents), len(found.edges)) == (chain + 1, chain)


async def _load(tx: Transaction, project: str, agent_id: bytes) -> _Found:
    found = _Found()
    await (found.load_at_once if tx.dialect == "postgres" else found.load_by_level)(tx, project, [], [agent_id])
    return found
