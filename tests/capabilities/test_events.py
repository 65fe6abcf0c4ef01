"""Every change announces itself in its own transaction, and a change that fails announces nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kavach_core import Kavach
from kavach_core.capabilities.agents import queries
from kavach_core.errors import KavachError
from kavach_core.store import Transaction
from tests.capabilities.support import count, events, make_agent, select


async def test_every_change_writes_one_event(kavach: Kavach) -> None:
    agent = await make_agent(kavach, name="scout")
    other = await make_agent(kavach)
    await kavach.agents.update(agent.id, name="new", metadata={})
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"], name="child")
    link = await kavach.delegations.create(from_agent=agent.id, to_agent=other.id, permissions=["read:repos"])
    await kavach.delegations.revoke(link.id)
    await kavach.agents.rotate(agent.id, cut_children=True)
    await kavach.agents.revoke(agent.id)
    rows = await select(
        kavach,
        "select type, subject, owner_id, data from kavach_events where project_id = $1 order by id",
        kavach.config.project,
    )
    told = [(kind, subject, owner, json.loads(data)) for kind, subject, owner, data in rows]
    edge = {"fromAgent": agent.id, "toAgent": child.id, "depth": 1}
    assert told == [
        ("agent.created", agent.id, "alice", {"name": "scout", "type": "autonomous"}),
        ("agent.created", other.id, "alice", {"name": "agent", "type": "autonomous"}),
        ("agent.updated", agent.id, "alice", {"changed": ["metadata", "name"]}),
        ("delegation.created", child.delegation_id, "alice", edge),
        ("agent.created", child.id, "alice", {"name": "child", "type": "delegated"}),
        ("delegation.created", link.id, "alice", {**edge, "toAgent": other.id}),
        ("delegation.revoked", link.id, told[6][2], {}),
        ("delegation.revoked", child.delegation_id, told[7][2], {}),
        ("agent.rotated", agent.id, "alice", {"cut": True}),
        ("agent.revoked", agent.id, "alice", {}),
    ]
    assert told[6][2] == told[7][2] == "alice"


async def test_a_refused_change_announces_nothing(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    for refused in (
        kavach.agents.delegate(from_=agent.id, permissions=["write:repos"]),
        kavach.delegations.create(from_agent=agent.id, to_agent=agent.id, permissions=["read:repos"]),
        kavach.agents.update("agt_" + "0" * 32, name="x"),
        kavach.owners.rename("nobody", "somebody"),
    ):
        with pytest.raises(KavachError):
            await refused
    assert await events(kavach) == ["agent.created"]


async def test_a_change_that_is_rolled_back_announces_nothing(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure comes after the event was written."""
    agent = await make_agent(kavach)
    update, insert = queries.update, queries.insert

    async def write_and_fail(write: Any, tx: Transaction, *args: Any) -> None:
        await write(tx, *args)
        raise KeyError("after the write")

    monkeypatch.setattr(queries, "update", lambda tx, *args: write_and_fail(update, tx, *args))
    monkeypatch.setattr(queries, "insert", lambda tx, *args: write_and_fail(insert, tx, *args))
    for failing in (
        kavach.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        kavach.agents.rotate(agent.id),
        kavach.agents.revoke(agent.id),
    ):
        with pytest.raises(KeyError):
            await failing
    assert await events(kavach) == ["agent.created"]
    assert [await count(kavach, f"kavach_{table}") for table in ("agents", "delegations", "agent_tokens")] == [1, 0, 1]
    assert (await kavach.agents.verify(agent.token or "")).valid


async def test_concurrent_revokes_announce_once(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    await asyncio.gather(*[kavach.delegations.revoke(child.delegation_id) for _ in range(8)])
    await asyncio.gather(*[kavach.agents.revoke(agent.id) for _ in range(8)])
    assert (await events(kavach)).count("delegation.revoked") == (await events(kavach)).count("agent.revoked") == 1
