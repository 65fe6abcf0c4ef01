"""Handing on and taking back: sources, limits, depth, and what a cut does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kavach_core import Agent, Delegation, DelegationStatus, Kavach
from kavach_core.capabilities.delegation import service
from kavach_core.errors import (
    CrossOwner,
    Cycle,
    FinalState,
    InvalidInput,
    KavachError,
    LimitReached,
    NotFound,
    OwnerSuspended,
    TooDeep,
    Widens,
)
from kavach_core.primitives.permissions import parse_permissions
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, ask, code, count, events, limited, make_agent, run, select


async def lend(kavach: Kavach, giver: Agent, receiver: Agent, *permissions: Any, **more: Any) -> Delegation:
    """Delegate between two existing agents; `read:repos` if nothing is named."""
    return await kavach.delegations.create(
        from_agent=giver.id, to_agent=receiver.id, permissions=permissions or ("read:repos",), **more
    )


async def chain(kavach: Kavach, length: int, *permissions: Any) -> tuple[list[Agent], list[Delegation]]:
    """Agents of which each has `permissions` from the one before; the first has them of its own."""
    permissions = permissions or ("read:repos",)
    agents = [await make_agent(kavach, *permissions)]
    links: list[Delegation] = []
    for _ in range(length):
        agents.append(await kavach.agents.create(owner_id="alice", name="link"))
        links.append(await lend(kavach, agents[-2], agents[-1], *permissions))
    return agents, links


# What may be handed on.


async def test_a_delegated_permission_works_for_the_receivers_own_token_and_can_be_handed_on(kavach: Kavach) -> None:
    agents, links = await chain(kavach, 2, "read:repos:*")
    assert links[1].source_id == links[0].id and links[0].source_id is None
    assert await ask(kavach, agents[2].token, "read:repos:a")
    assert await code(kavach, agents[2].token, "read:repos") == "NOT_GRANTED"


async def test_the_source_is_the_givers_own_first_else_the_oldest_that_covers_all(
    kavach: Kavach, clock: FrozenClock
) -> None:
    root, giver, receiver = [await make_agent(kavach, *given) for given in (["*:*"], ["read:own"], ["x:x"])]
    lent: list[Delegation] = []
    for given in (["read:a"], ["read:a", "read:b"], ["read:a", "read:b", "read:own"]):
        clock.advance("1s")
        lent.append(await lend(kavach, root, giver, *given))
    chosen = [
        (await lend(kavach, giver, receiver, *asked)).source_id
        for asked in (["read:own"], ["read:a"], ["read:b"], ["read:a", "read:b"], ["read:own", "read:b"])
    ]
    assert chosen == [None, lent[0].id, lent[1].id, lent[1].id, lent[2].id]
    await kavach.delegations.revoke(lent[1].id)
    assert (await lend(kavach, giver, receiver, "read:b")).source_id == lent[2].id


async def test_permissions_of_several_sources_are_never_added_up(kavach: Kavach) -> None:
    """The error says of each source what it does not cover."""
    root, giver, receiver = [await make_agent(kavach, *given) for given in (["*:*"], ["read:a"], ["x:x"])]
    lent = await lend(kavach, root, giver, "read:b")
    with pytest.raises(Widens) as caught:
        await lend(kavach, giver, receiver, "read:a", "read:b")
    assert caught.value.details["sources"] == [
        {"source": "own", "uncovered": (("b", "read"),)},
        {"source": lent.id, "uncovered": (("a", "read"),)},
    ]


RATE, WINDOW = (
    limited("repos", "read", maxCallsPerHour=5),
    limited("repos", "read", timeWindow={"start": "09:00", "end": "17:00"}),
)


@pytest.mark.parametrize(
    "held, asked",
    [
        (["read:app"], ["read:app:*"]),
        (["read:app"], ["write:app"]),
        (["read:app"], [{"resource": "app", "actions": ["*"]}]),
        (["read:app:*"], ["read:app:**"]),
        (["read:app:*"], ["read:*"]),
        (["read:a", "read:b"], ["read:*"]),
        ([RATE], [limited("repos", "read", maxCallsPerHour=6)]),
        ([WINDOW], [limited("repos", "read", timeWindow={"start": "08:00", "end": "17:00"})]),
        (
            [limited("repos", "read", ipAllowlist=["10.0.0.0/8"])],
            [limited("repos", "read", ipAllowlist=["10.0.0.0/8", "11.0.0.1"])],
        ),
        (
            [limited("repos", "read", allowedArgPatterns=["path=/tmp/*"])],
            [limited("repos", "read", allowedArgPatterns=["path=*"])],
        ),
        (
            [limited("repos", "read", allowedArgPatterns=["path=/tmp/*"])],
            [limited("repos", "read", allowedArgPatterns=["other=/tmp/*"])],
        ),
    ],
    ids=str,
)
async def test_nothing_wider_than_the_givers_is_handed_on(
    sqlite_kavach: Kavach, held: list[Any], asked: list[Any]
) -> None:
    giver, receiver = await make_agent(sqlite_kavach, *held), await make_agent(sqlite_kavach)
    with pytest.raises(Widens):
        await lend(sqlite_kavach, giver, receiver, *asked)
    with pytest.raises(Widens):
        await sqlite_kavach.agents.delegate(from_=giver.id, permissions=asked)
    assert await count(sqlite_kavach, "kavach_delegations") == 0


async def test_a_constraint_left_out_is_inherited_and_a_tighter_one_holds_too(kavach: Kavach) -> None:
    giver = await make_agent(kavach, RATE, limited("mail", "send", requireApproval=True))
    free = await kavach.agents.delegate(from_=giver.id, permissions=["read:repos", "send:mail"])
    tight = await kavach.agents.delegate(from_=giver.id, permissions=[limited("repos", "read", maxCallsPerHour=1)])
    assert await code(kavach, free.token, "send:mail") == "APPROVAL_REQUIRED"
    assert [await code(kavach, tight.token) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]
    assert [await code(kavach, free.token) for _ in range(5)] == ["ALLOWED"] * 4 + ["RATE_LIMITED"]


@pytest.mark.parametrize(
    "permissions", [[], "read:repos", [f"read:r{number}" for number in range(201)], ["read:\x00"]], ids=str
)
async def test_a_delegation_gives_1_to_200_clean_permissions(sqlite_kavach: Kavach, permissions: Any) -> None:
    giver, receiver = await make_agent(sqlite_kavach, "*:*"), await make_agent(sqlite_kavach)
    with pytest.raises(InvalidInput):
        await sqlite_kavach.delegations.create(from_agent=giver.id, to_agent=receiver.id, permissions=permissions)


# To whom.


async def test_nobody_on_the_path_may_receive(kavach: Kavach) -> None:
    agents, _ = await chain(kavach, 2)
    for giver, receiver in ((0, 0), (1, 1), (2, 1), (2, 0), (1, 0)):
        with pytest.raises(Cycle):
            await lend(kavach, agents[giver], agents[receiver])
    assert await count(kavach, "kavach_delegations") == 2


async def test_two_agents_may_give_each_other_what_is_their_own(kavach: Kavach) -> None:
    one, two = await make_agent(kavach, "read:a"), await make_agent(kavach, "read:b")
    await lend(kavach, one, two, "read:a")
    await lend(kavach, two, one, "read:b")
    assert await ask(kavach, one.token, "read:b") and await ask(kavach, two.token, "read:a")


async def test_giver_and_receiver_have_one_owner(kavach: Kavach) -> None:
    giver, receiver = await make_agent(kavach), await make_agent(kavach, owner_id="bob")
    with pytest.raises(CrossOwner):
        await lend(kavach, giver, receiver)


async def test_ended_and_unknown_agents_neither_give_nor_receive(kavach: Kavach, clock: FrozenClock) -> None:
    live, ended = await make_agent(kavach), await make_agent(kavach, expires_at=clock.now + timedelta(hours=1))
    clock.advance("1h")
    nobody = "agt_" + "0" * 32
    pairs: list[tuple[str, str, type[KavachError]]] = [
        (live.id, ended.id, FinalState),
        (ended.id, live.id, FinalState),
        (live.id, nobody, NotFound),
        (nobody, live.id, NotFound),
    ]
    for giver, receiver, error in pairs:
        with pytest.raises(error):
            await kavach.delegations.create(from_agent=giver, to_agent=receiver, permissions=["read:repos"])
    other = await make_agent(kavach)
    await kavach.owners.suspend("alice")
    with pytest.raises(OwnerSuspended):
        await lend(kavach, live, other)


async def test_live_delegations_into_and_out_of_an_agent_are_limited(
    kavach: Kavach, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_INTO", 2)
    monkeypatch.setattr(service, "MOST_OUT_OF", 3)
    givers = [await make_agent(kavach) for _ in range(3)]
    receivers = [await make_agent(kavach) for _ in range(3)]
    first = await lend(kavach, givers[0], receivers[0])
    await lend(kavach, givers[1], receivers[0], expires_at=clock.now + timedelta(hours=1))
    with pytest.raises(LimitReached):
        await lend(kavach, givers[2], receivers[0])
    clock.advance("1h")
    await lend(kavach, givers[2], receivers[0])
    await kavach.delegations.revoke(first.id)
    for receiver in receivers:
        await lend(kavach, givers[0], receiver)
    with pytest.raises(LimitReached):
        await kavach.agents.delegate(from_=givers[0].id, permissions=["read:repos"])
    await kavach.agents.revoke(receivers[1].id)
    await kavach.agents.delegate(from_=givers[0].id, permissions=["read:repos"])


async def test_a_giver_that_is_idle_takes_up_no_room(
    kavach: Kavach, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_INTO", 1)
    receiver = await make_agent(kavach)
    await lend(kavach, await make_agent(kavach, ttl="1h"), receiver)
    clock.advance("1h")
    await lend(kavach, await make_agent(kavach), receiver)


async def test_16_concurrent_delegations_fill_the_limit_exactly(
    kavach: Kavach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_INTO", 5)
    receiver, givers = await make_agent(kavach), [await make_agent(kavach) for _ in range(16)]
    results = await asyncio.gather(*[lend(kavach, giver, receiver) for giver in givers], return_exceptions=True)
    assert [type(result) for result in results].count(LimitReached) == 11
    assert await count(kavach, "kavach_delegations") == 5


def test_the_limits_are_those_that_are_documented() -> None:
    assert (service.MOST_INTO, service.MOST_OUT_OF, service.MOST_PAIRS) == (100, 1000, 200)


# Depth and ends.


async def test_a_chain_is_3_links_long_unless_its_first_link_says_otherwise(kavach: Kavach) -> None:
    agents, links = await chain(kavach, 3)
    assert [(link.depth, link.max_depth) for link in links] == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(TooDeep):
        await lend(kavach, agents[3], await make_agent(kavach))
    with pytest.raises(TooDeep):
        await kavach.agents.delegate(from_=agents[3].id, permissions=["read:repos"])


async def test_links_below_may_only_lower_the_depth(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(max_delegation_depth=5)
    first, second, third = [await make_agent(kavach) for _ in range(3)]
    receiver = await make_agent(kavach, "x:x")
    assert (await lend(kavach, first, second, max_depth=5)).max_depth == 5
    for wrong in (6, 9999):
        with pytest.raises(TooDeep):
            await lend(kavach, first, receiver, max_depth=wrong)
    with pytest.raises(InvalidInput):
        await lend(kavach, first, receiver, max_depth=-1)
    with pytest.raises(TooDeep):
        await lend(kavach, first, receiver, max_depth=0)
    bare = await kavach.agents.create(owner_id="alice", name="bare")
    await lend(kavach, first, bare, max_depth=4)
    with pytest.raises(TooDeep):
        await lend(kavach, bare, third, max_depth=5)
    assert (await lend(kavach, bare, receiver, max_depth=2)).max_depth == 2
    with pytest.raises(TooDeep):
        await lend(kavach, await kavach.agents.get(receiver.id), third, "read:repos", max_depth=3)


@pytest.mark.parametrize("wrong", [{"max_depth": "3"}, {"max_depth": 1.5}, {"expires_at": "2h"}, {"purpose": 7}])
async def test_terms_of_a_wrong_type_are_bad_input(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    agent = await make_agent(sqlite_kavach)
    with pytest.raises(InvalidInput):
        await sqlite_kavach.agents.delegate(from_=agent.id, permissions=["read:repos"], **wrong)


async def test_a_configured_limit_lowers_the_default(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(max_delegation_depth=1)
    agents, _ = await chain(kavach, 1)
    with pytest.raises(TooDeep):
        await lend(kavach, agents[1], await make_agent(kavach))


async def test_an_end_is_clamped_to_the_givers_and_the_sources(kavach: Kavach, clock: FrozenClock) -> None:
    soon, later = clock.now + timedelta(hours=1), clock.now + timedelta(hours=2)
    root = await make_agent(kavach, "*:*", expires_at=later)
    middle, leaf = [await kavach.agents.create(owner_id="alice", name="m") for _ in range(2)]
    assert (await lend(kavach, root, middle, expires_at=soon)).expires_at == soon
    assert (await lend(kavach, middle, leaf)).expires_at == soon
    assert (await lend(kavach, middle, leaf, expires_at=later)).expires_at == soon
    assert (await lend(kavach, root, leaf)).expires_at == later
    with pytest.raises(InvalidInput):
        await lend(kavach, root, leaf, expires_at=clock.now)


# Ends.


@pytest.mark.parametrize("cut", [0, 1, 2])
async def test_revoking_cuts_everything_below_in_one_row(kavach: Kavach, cut: int) -> None:
    """Ten agents stand on the last link; however many there are, one row changes."""
    agents, links = await chain(kavach, 3)
    leaves = agents[3:] + [
        await kavach.agents.delegate(from_=agents[2].id, permissions=["read:repos"]) for _ in range(9)
    ]
    before = await _delegation_rows(kavach)
    await kavach.delegations.revoke(links[cut].id)
    after = await _delegation_rows(kavach)
    assert [old != new for old, new in zip(before, after, strict=True)].count(True) == 1
    assert [await code(kavach, agent.token) == "ALLOWED" for agent in agents[:3]] == [True, cut > 0, cut > 1]
    codes = {await code(kavach, leaf.token) for leaf in leaves[1:]}
    assert codes == ({"CHAIN_CUT"} if cut < 2 else {"ALLOWED"})
    assert not await ask(kavach, agents[3].token)


async def _delegation_rows(kavach: Kavach) -> list[tuple[Any, ...]]:
    return await select(
        kavach, "select * from kavach_delegations where project_id = $1 order by id", kavach.config.project
    )


async def test_a_cut_link_is_never_replaced_by_another_grant_of_the_same_agent(kavach: Kavach) -> None:
    one, two, leaf = await make_agent(kavach), await make_agent(kavach), await make_agent(kavach, "x:x")
    middle = await kavach.agents.create(owner_id="alice", name="middle")
    first, second = await lend(kavach, one, middle), await lend(kavach, two, middle)
    below = await lend(kavach, middle, leaf)
    assert below.source_id == first.id
    await kavach.delegations.revoke(first.id)
    assert await ask(kavach, middle.token)
    assert await code(kavach, leaf.token) == "DELEGATION_ENDED"
    await kavach.delegations.revoke(second.id)
    assert await code(kavach, middle.token) == "NOT_GRANTED"


async def test_narrowing_a_giver_narrows_its_receivers_until_it_is_widened_again(kavach: Kavach) -> None:
    agents, _ = await chain(kavach, 2, "read:repos", "write:repos")
    await kavach.agents.update(agents[0].id, permissions=["read:repos"])
    codes = [await code(kavach, agents[2].token, permission) for permission in ("read:repos", "write:repos")]
    assert codes == ["ALLOWED", "CHAIN_NARROWED"]
    await kavach.agents.update(agents[0].id, permissions=["*:*"])
    assert await ask(kavach, agents[2].token, "write:repos")


async def test_a_delegation_ends_at_its_end(kavach: Kavach, clock: FrozenClock) -> None:
    giver, receiver = await make_agent(kavach), await make_agent(kavach, "x:x")
    await lend(kavach, giver, receiver, expires_at=clock.now + timedelta(hours=1))
    clock.advance(timedelta(hours=1, microseconds=-1))
    assert await ask(kavach, receiver.token)
    clock.advance(timedelta(microseconds=1))
    assert not await ask(kavach, receiver.token)


@pytest.mark.parametrize("which", [0, 1])
async def test_revoking_an_agent_writes_its_row_alone_and_ends_every_edge(kavach: Kavach, which: int) -> None:
    agents, links = await chain(kavach, 2)
    before = await _delegation_rows(kavach)
    await kavach.agents.revoke(agents[which].id)
    assert await _delegation_rows(kavach) == before
    assert not await ask(kavach, agents[2].token)
    listed = {found.id: found.status for agent in agents for found in await kavach.delegations.list(agent.id)}
    assert listed == {link.id: DelegationStatus.ENDED for link in links}


async def test_lists_tell_what_each_delegation_is_worth(kavach: Kavach, clock: FrozenClock) -> None:
    agents, links = await chain(kavach, 2)
    clock.advance("1s")
    short = await lend(kavach, agents[0], agents[2], expires_at=clock.now + timedelta(hours=1))
    clock.advance("1s")
    taken = await lend(kavach, agents[0], agents[2])
    await kavach.delegations.revoke(taken.id)
    clock.advance("1h")
    statuses = {found.id: found.status.value for found in await kavach.delegations.list(agents[2].id)}
    assert list(statuses.items()) == [(taken.id, "revoked"), (short.id, "expired"), (links[1].id, "active")]
    await kavach.owners.suspend("alice")
    assert (await kavach.delegations.get(links[1].id)).status is DelegationStatus.ENDED
    for use in (kavach.delegations.list, kavach.delegations.effective_permissions):
        with pytest.raises(NotFound):
            await use("agt_" + "0" * 32)


async def test_revoking_twice_changes_nothing(kavach: Kavach) -> None:
    _, links = await chain(kavach, 1)
    await kavach.delegations.revoke(links[0].id)
    ended = await kavach.delegations.get(links[0].id)
    await kavach.delegations.revoke(links[0].id)
    assert await kavach.delegations.get(links[0].id) == ended
    assert (await events(kavach)).count("delegation.revoked") == 1
    for unknown in ("dlg_" + "0" * 32, "agt_" + "0" * 32, "x/y"):
        with pytest.raises(NotFound):
            await kavach.delegations.revoke(unknown)


# What it comes to.


async def test_effective_permissions_are_what_every_link_lets_through(kavach: Kavach) -> None:
    root = await make_agent(kavach, limited("repos:*", "read", "write", maxCallsPerHour=5), "read:issues")
    agent = await make_agent(kavach, "read:own")
    link = await lend(kavach, root, agent, limited("repos:a", "read", maxCallsPerHour=3), "read:issues")
    effective = kavach.delegations.effective_permissions
    expected = parse_permissions(["read:own", limited("repos:a", "read", maxCallsPerHour=3), "read:issues"])
    assert set(await effective(agent.id)) == set(expected)
    await kavach.agents.update(root.id, permissions=["read:repos:*"])
    assert set(await effective(agent.id)) == set(expected[:2])
    await kavach.delegations.revoke(link.id)
    assert await effective(agent.id) == list(expected[:1])
    await kavach.agents.revoke(agent.id)
    assert await effective(agent.id) == []


async def test_permissions_that_overlap_in_too_many_ways_are_not_shown(kavach: Kavach) -> None:
    """Each of one link overlaps each of the other; a third link would multiply them once more."""
    root = await make_agent(kavach, "read:**")
    across = [f"read:r{number}:*" for number in range(40)]
    middle, leaf = [await kavach.agents.create(owner_id="alice", name="link") for _ in range(2)]
    await lend(kavach, root, middle, "read:*:*", *across)
    await lend(kavach, middle, leaf, *[f"read:*:s{number}" for number in range(40)])
    with pytest.raises(LimitReached):
        await kavach.delegations.effective_permissions(leaf.id)
    assert len(await kavach.delegations.effective_permissions(middle.id)) == 41
    assert await ask(kavach, leaf.token, "read:r39:s39")


async def test_one_update_of_owner_id_moves_agents_with_their_chains(kavach: Kavach) -> None:
    agents, _ = await chain(kavach, 1)
    child = await kavach.agents.delegate(from_=agents[1].id, permissions=["read:repos"])
    moved = await run(
        kavach,
        "update kavach_agents set owner_id = $2 where project_id = $1 and owner_id = $3",
        kavach.config.project,
        "user_ünïcode",
        "alice",
    )
    assert moved == 3
    decision = await ask(kavach, child.token)
    assert decision and decision.identity and decision.identity.owner_id == "user_ünïcode"
    await kavach.owners.suspend("user_ünïcode")
    assert await code(kavach, child.token) == "OWNER_SUSPENDED"


async def test_the_end_of_a_founding_delegation_anywhere_above_ends_the_agent_itself(
    kavach: Kavach, clock: FrozenClock
) -> None:
    """Even for what it got from elsewhere: it lives by its founding chain."""
    root, other = await make_agent(kavach), await make_agent(kavach, "read:more")
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    leaf = await kavach.agents.delegate(from_=child.id, permissions=["read:repos"])
    await lend(kavach, other, leaf, "read:more")
    assert await ask(kavach, leaf.token, "read:more")
    await kavach.delegations.revoke(child.delegation_id)
    rejected = await kavach.agents.verify(leaf.token or "")
    assert not rejected.valid and rejected.code.value == "CHAIN_CUT" and rejected.audit_id
    assert await code(kavach, leaf.token, "read:more") == "CHAIN_CUT"
    with pytest.raises(FinalState):
        await kavach.agents.delegate(from_=leaf.id, permissions=["read:more"])
