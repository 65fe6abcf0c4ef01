"""The agent an owner is to have: made once, whoever asks at the same moment in whichever process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kavach_core import Agent, AgentStatus, Kavach
from kavach_core.errors import InvalidInput, LimitReached, OwnerSuspended
from kavach_core.resolvers import View, on_sign_in
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, events

FirstAgent = Callable[[str], Awaitable[None]]


def ensuring(kavach: Kavach) -> FirstAgent:
    """A hook as the docs write it."""

    async def first_agent(owner_id: str) -> None:
        await kavach.agents.ensure(owner_id=owner_id, name="default", permissions=["read:notes"])

    return first_agent


def looking_first(kavach: Kavach) -> FirstAgent:
    """A hook that looks whether there is one, and makes it then."""

    async def first_agent(owner_id: str) -> None:
        if not await kavach.agents.list(owner_id=owner_id):
            await kavach.agents.create(owner_id=owner_id, name="default", permissions=["read:notes"])

    return first_agent


async def by_header(view: View) -> str | None:
    return view.header("x-user")


async def agents_after_a_rush(hooks: list[FirstAgent], kavach: Kavach, owner: str) -> int:
    """How many agents an owner has after eight first requests to two processes and a webhook at once."""
    view = View(method="GET", path="/", headers=[(b"x-user", owner.encode())])
    resolvers = [on_sign_in(by_header, hook) for hook in hooks]
    await asyncio.gather(*[resolvers[number % 2](view) for number in range(8)], hooks[0](owner))
    return len(await kavach.agents.list(owner_id=owner))


async def test_processes_and_a_webhook_that_come_together_make_one_agent(open_kavach: OpenKavach) -> None:
    both = [await open_kavach() for _ in range(2)]
    hooks = [ensuring(kavach) for kavach in both]
    assert [await agents_after_a_rush(hooks, both[0], f"user-{number}") for number in range(5)] == [1] * 5


async def test_looking_first_makes_several(open_kavach: OpenKavach) -> None:
    """The negative control."""
    both = [await open_kavach() for _ in range(2)]
    hooks = [looking_first(kavach) for kavach in both]
    assert max([await agents_after_a_rush(hooks, both[0], f"user-{number}") for number in range(10)]) > 1


async def test_there_is_a_token_only_on_what_was_made(kavach: Kavach, clock: FrozenClock) -> None:
    def ensure(**more: object) -> Awaitable[Agent]:
        return kavach.agents.ensure(owner_id="alice", name="default", **more)  # type: ignore[arg-type]

    made = await ensure(permissions=["read:notes"], ttl="1h")
    assert made.token and await kavach.agents.verify(made.token)
    found = await ensure(permissions=["write:everything"], type="service")
    assert found.token is None and found == await kavach.agents.get(made.id)
    assert found.permissions == made.permissions
    clock.advance("1h")
    again = await ensure()
    assert again.id != made.id and again.token and again.status is AgentStatus.ACTIVE
    await kavach.agents.revoke(again.id)
    assert (await ensure()).id not in (made.id, again.id)
    assert await events(kavach) == ["agent.created"] * 2 + ["agent.revoked", "agent.created"]


async def test_a_delegated_agent_of_that_name_stands_for_nobody(kavach: Kavach) -> None:
    giver = await kavach.agents.create(owner_id="alice", name="giver", permissions=["read:notes"])
    child = await kavach.agents.delegate(from_=giver.id, permissions=["read:notes"], name="default")
    others = await kavach.agents.create(owner_id="bob", name="default")
    made = await kavach.agents.ensure(owner_id="alice", name="default")
    assert made.token and made.id not in (child.id, others.id)


async def test_it_refuses_what_creating_refuses(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(max_agents_per_owner=1)
    with pytest.raises(InvalidInput):
        await kavach.agents.ensure(owner_id="alice", name="default", type="delegated")
    await kavach.agents.create(owner_id="alice", name="another")
    with pytest.raises(LimitReached):
        await kavach.agents.ensure(owner_id="alice", name="default")
    assert not (await kavach.agents.ensure(owner_id="alice", name="another")).token
    await kavach.owners.suspend("bob")
    with pytest.raises(OwnerSuspended):
        await kavach.agents.ensure(owner_id="bob", name="default")
