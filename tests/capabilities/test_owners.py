"""Suspending, resuming and renaming the humans behind the agents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kavach_core import Agent, Kavach
from kavach_core.capabilities.agents import service as agents_service
from kavach_core.capabilities.delegation import Delegations
from kavach_core.capabilities.delegation import service as delegation_service
from kavach_core.capabilities.owners import Owner, queries
from kavach_core.errors import Conflict, InvalidInput, NotFound, OwnerSuspended
from kavach_core.store import Transaction
from kavach_core.testing import FrozenClock
from tests.capabilities.support import Home, OpenKavach, ask, code, events, make_agent, opener


async def test_a_suspension_stops_every_agent_of_the_owner_and_no_other(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    elsewhere = await open_kavach()  # another Kavach on the same database
    agent, other = await make_agent(kavach), await make_agent(kavach, owner_id="bob")
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    await kavach.owners.suspend("alice")
    for each in (kavach, elsewhere):
        codes = [await code(each, token) for token in (agent.token, child.token, other.token)]
        assert codes == ["OWNER_SUSPENDED", "OWNER_SUSPENDED", "ALLOWED"]
    await elsewhere.owners.resume("alice")
    assert [await code(kavach, token) for token in (agent.token, child.token)] == ["ALLOWED", "ALLOWED"]


async def test_what_expired_during_a_suspension_stays_expired(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, ttl="1h")
    await kavach.owners.suspend("alice")
    clock.advance("1h")
    await kavach.owners.resume("alice")
    assert await code(kavach, agent.token) == "AGENT_IDLE"


async def test_a_suspension_may_come_before_anything_else(kavach: Kavach, clock: FrozenClock) -> None:
    with pytest.raises(NotFound):
        await kavach.owners.get("alice")
    await kavach.owners.resume("alice")
    await kavach.owners.suspend("alice")
    clock.advance("1m")
    await kavach.owners.suspend("alice")
    with pytest.raises(OwnerSuspended):
        await make_agent(kavach)
    owner = await kavach.owners.get("alice")
    assert owner.suspended and owner.suspended_at == owner.created_at
    await kavach.owners.resume("alice")
    await kavach.owners.resume("alice")
    assert await make_agent(kavach) and not (await kavach.owners.get("alice")).suspended
    assert await events(kavach) == ["owner.suspended", "owner.resumed", "agent.created"]


async def test_a_rename_moves_agents_sessions_and_the_suspension(kavach: Kavach) -> None:
    agent, bystander = await make_agent(kavach), await make_agent(kavach, owner_id="carol")
    session = await kavach.sessions.create("alice")
    await ask(kavach, agent.token)
    await kavach.owners.suspend("alice")
    await kavach.owners.rename("alice", "usr-0001")
    assert (await kavach.agents.get(agent.id)).owner_id == "usr-0001"
    assert (await kavach.agents.get(bystander.id)).owner_id == "carol"
    assert await code(kavach, agent.token) == "OWNER_SUSPENDED"
    with pytest.raises(NotFound):
        await kavach.owners.get("alice")
    await kavach.owners.resume("usr-0001")
    live = await kavach.sessions.verify(session.token or "")
    assert live.valid and live.user_id == "usr-0001"
    assert await ask(kavach, agent.token)
    # The record says under which id a thing was done, and finds it under the id of now.
    assert [entry.owner_id for entry in await kavach.audit.query(owner_id="usr-0001")] == [
        "usr-0001",
        "usr-0001",
        "alice",
    ]
    assert await kavach.audit.count(owner_id="alice") == 0


async def _delegate_while_renamed(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> tuple[Agent, Agent]:
    """A giver and its new agent, made by a delegation during which alice is renamed once its facts are read."""
    giver = await make_agent(kavach)
    _rename_after_reading(kavach, agents_service, monkeypatch)
    child = await kavach.agents.delegate(from_=giver.id, permissions=["read:repos"])
    return await kavach.agents.get(giver.id), child


def _rename_after_reading(kavach: Kavach, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load_facts = service.load_facts

    async def rename_first(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(service, "load_facts", load_facts)
        facts = await load_facts(*args, **more)
        await kavach.owners.rename("alice", "usr-0001")
        return facts

    monkeypatch.setattr(service, "load_facts", rename_first)


async def test_a_rename_during_a_delegation_never_parts_giver_and_receiver(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite there is no such moment. With the lock alone, as it was once, the new agent stays behind."""
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        kavach = await open_kavach()
        giver, child = await _delegate_while_renamed(kavach, monkeypatch)
        assert giver.owner_id == child.owner_id == "usr-0001"

        await kavach.owners.rename("usr-0001", "alice")
        giver, receiver = await make_agent(kavach), await make_agent(kavach, "read:more")
        _rename_after_reading(kavach, delegation_service, monkeypatch)
        await kavach.delegations.create(from_agent=giver.id, to_agent=receiver.id, permissions=["read:repos"])
        with pytest.raises(NotFound):
            await kavach.owners.get("alice")

        async def lock_alone(self: Delegations, tx: Transaction, agent_id: bytes, owner_id: str) -> Owner:
            return await queries.lock(tx, postgres_home.project, owner_id)

        await kavach.owners.rename("usr-0001", "alice")
        monkeypatch.setattr(Delegations, "lock_owner", lock_alone)
        giver, child = await _delegate_while_renamed(kavach, monkeypatch)
        assert (giver.owner_id, child.owner_id) == ("usr-0001", "alice")


async def test_20_renames_that_race_with_delegations_leave_one_owner(postgres_home: Home) -> None:
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        kavach = await open_kavach()
        giver = await make_agent(kavach, owner_id="owner-0")
        for number in range(20):
            _, child = await asyncio.gather(
                kavach.owners.rename(f"owner-{number}", f"owner-{number + 1}"),
                kavach.agents.delegate(from_=giver.id, permissions=["read:repos"]),
            )
            owners = {(await kavach.agents.get(agent.id)).owner_id for agent in (giver, child)}
            assert owners == {f"owner-{number + 1}"}


async def test_a_rename_never_merges_two_owners(kavach: Kavach) -> None:
    await make_agent(kavach)
    await make_agent(kavach, owner_id="bob")
    with pytest.raises(Conflict):
        await kavach.owners.rename("alice", "bob")
    with pytest.raises(NotFound):
        await kavach.owners.rename("nobody", "somebody")
    for wrong in ("", "a\x00", "alice", "a\ud800"):
        with pytest.raises(InvalidInput):
            await kavach.owners.rename("alice", wrong)
    results = await asyncio.gather(
        *[kavach.owners.rename("alice", f"alice-{number}") for number in range(8)], return_exceptions=True
    )
    assert [type(result) for result in results if result is not None] == [NotFound] * 7
    assert (await kavach.agents.list(owner_id="bob")).total == 1


@pytest.mark.parametrize(
    "owner_id", ["user_2x9", "auth0|5f7c8ec7", "a/b c", "ünï🦊", "x" * 255, "'; drop table kavach_agents;--"]
)
async def test_an_owner_id_is_never_interpreted(kavach: Kavach, owner_id: str) -> None:
    agent = await make_agent(kavach, owner_id=owner_id)
    assert (await kavach.agents.get(agent.id)).owner_id == owner_id
    await kavach.owners.suspend(owner_id)
    assert await code(kavach, agent.token) == "OWNER_SUSPENDED"
