"""What a call costs: reserved when it is decided, corrected once, and what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from kavach_core import Agent, Kavach
from kavach_core.capabilities.authorize import Settlement
from kavach_core.capabilities.budgets import Budget
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.errors import Conflict, InvalidInput, LeaseEnded, NotFound
from kavach_core.primitives.clock import to_datetime
from kavach_core.store import Transaction
from kavach_core.testing import FrozenClock
from tests.capabilities.support import (
    Home,
    OpenKavach,
    ask,
    code,
    count,
    events,
    limited,
    make_agent,
    opener,
)


async def bounded(
    kavach: Kavach, limit: int = 100, *, per: str = "forever", owner_id: str | None = None
) -> tuple[Agent, Budget]:
    """An agent with a budget of cost on it, or on the owner that is named."""
    agent = await make_agent(kavach, owner_id=owner_id or "alice")
    holder = {"agent_id": agent.id} if owner_id is None else {"owner_id": owner_id}
    return agent, await kavach.budgets.create(**holder, measure="cost", limit=limit, per=per)


async def reserve(kavach: Kavach, agent: Agent, cost: int) -> str:
    """An allowed call of this cost; returns what to settle."""
    decision = await ask(kavach, agent.token, cost=cost)
    assert decision.allowed and decision.audit_id
    return decision.audit_id


async def spent(kavach: Kavach, budget: Budget) -> int:
    return (await kavach.budgets.get(budget.id)).spent


# Settling.


async def test_what_a_call_cost_takes_the_place_of_what_it_reserved(kavach: Kavach) -> None:
    """In every cost budget on the path, while those of calls count the call."""
    root, _ = await bounded(kavach)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    for holder in ({"delegation_id": child.delegation_id}, {"owner_id": "alice"}, {}):
        await kavach.budgets.create(**holder, measure="cost", limit=100, per="day")
    calls = await kavach.budgets.create(owner_id="alice", limit=100, per="day")

    async def stands() -> tuple[list[int], int]:
        costs = [each.spent for each in await kavach.budgets.list() if each.measure == "cost"]
        return costs, await spent(kavach, calls)

    audit_id = await reserve(kavach, child, 40)
    assert await stands() == ([40] * 4, 1)
    settlement = await kavach.settle(audit_id, 25)
    assert await stands() == ([25] * 4, 1)
    assert (settlement.settles, settlement.reserved, settlement.actual) == (audit_id, 40, 25)
    assert settlement.exceeded == ()
    await kavach.settle(await reserve(kavach, child, 7), 0)
    assert await stands() == ([25] * 4, 2)


async def test_the_record_keeps_what_was_reserved_and_has_a_row_for_the_difference(kavach: Kavach) -> None:
    agent, _ = await bounded(kavach)
    arguments = {"q": "all"}
    decision = await ask(kavach, agent.token, cost=40, arguments=arguments)
    before = (await kavach.audit.query())[0]
    settlement = await kavach.settle(decision.audit_id or "", 25)
    row, kept = await kavach.audit.query()
    assert kept == before and (kept.cost, kept.calls, kept.arguments) == (40, 1, arguments)
    assert row.id == settlement.audit_id and row.settles == kept.id and row.settles != row.id
    assert (row.code, row.result, row.cost, row.calls) == ("SETTLED", "allowed", -15, 0)
    assert (row.agent_id, row.owner_id, row.action, row.resource) == (agent.id, "alice", "read", "repos")
    assert row.path == kept.path and row.grant == kept.grant and row.writer == kept.writer
    assert (row.arguments, row.arguments_hash, row.sequence) == (None, None, kept.sequence + 1)


async def test_a_decision_is_settled_once(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """However many try, in two processes, and whatever they say."""
    both = kavach, await open_kavach()
    agent, budget = await bounded(kavach)
    audit_id = await reserve(kavach, agent, 40)
    assert await _race(both, audit_id) == {Settlement: 1, Conflict: 15}
    (row, _), actual = await kavach.audit.query(), await spent(kavach, budget)
    assert (row.cost or 0) + 40 == actual and 20 <= actual < 36
    with pytest.raises(Conflict):
        await kavach.settle(audit_id, 0)
    assert await count(kavach, "kavach_audit") == 2 and await spent(kavach, budget) == actual


async def _race(both: tuple[Kavach, Kavach], audit_id: str, tries: int = 16) -> Counter[type]:
    done = await asyncio.gather(
        *[both[number % 2].settle(audit_id, 20 + number) for number in range(tries)], return_exceptions=True
    )
    return Counter(type(each) for each in done)


async def test_the_same_race_catches_reservations_that_are_not_locked(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: two batches read the reservation before either has forgotten it."""
    lock, meeting = budgets.lock_reservations, asyncio.Barrier(2)
    found_by, columns = budgets._LOCK_RESERVATION.split("where")[1].split("returning")
    monkeypatch.setattr(budgets, "_LOCK_RESERVATION", f"select {columns} from kavach_reservations where {found_by}")

    async def read_alone(tx: Transaction, project: str, audit_ids: Iterable[bytes]) -> Any:
        found = await lock(tx, project, audit_ids)
        await meeting.wait()
        return found

    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        both = await open_kavach(), await open_kavach()
        agent, _ = await bounded(both[0])
        audit_id = await reserve(both[0], agent, 40)
        monkeypatch.setattr(budgets, "lock_reservations", read_alone)
        assert await _race(both, audit_id, 2) == {Settlement: 2}


async def test_only_what_reserved_something_is_settled(kavach: Kavach) -> None:
    agent, budget = await bounded(kavach, limit=5)
    nothing = await ask(kavach, agent.token)
    refused = await ask(kavach, agent.token, cost=6)
    dry = await ask(kavach, agent.token, cost=5, dry_run=True)
    assert (nothing.code, refused.code, dry.code) == ("ALLOWED", "BUDGET_EXCEEDED", "ALLOWED")
    for decision in (nothing, refused, dry):
        with pytest.raises(Conflict) as conflict:
            await kavach.settle(decision.audit_id or "", 1)
        assert conflict.value.details == {"auditId": decision.audit_id}
    with pytest.raises(NotFound):
        await kavach.settle("aud_" + "0" * 32, 1)
    with pytest.raises(NotFound):
        await kavach.settle(agent.id, 1)
    audit_id = await reserve(kavach, agent, 0)
    for wrong in (-1, 2**53, True, "1", 0.5, None):
        amount: Any = wrong
        with pytest.raises(InvalidInput) as of_actual:
            await kavach.settle(audit_id, amount)
        assert of_actual.value.details["field"] == "actual"
        with pytest.raises(InvalidInput) as of_cost:
            await ask(kavach, agent.token, cost=amount) if wrong is not None else await kavach.settle(audit_id, amount)
        assert of_cost.value.details["field"] in ("cost", "actual")
    assert await spent(kavach, budget) == 0 and await count(kavach, "kavach_audit") == 4
    # What cost nothing after all may be said, and what was for free may have cost something.
    assert (await kavach.settle(audit_id, 3)).reserved == 0 and await spent(kavach, budget) == 3


async def test_a_cost_is_settled_whatever_no_budget_bounds_it(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    audit_id = await reserve(kavach, agent, 40)
    await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=100, per="day")
    assert (await kavach.settle(audit_id, 25)).reserved == 40
    assert (await kavach.budgets.list())[0].spent == 0  # it was not there when the call was made


async def test_what_a_call_cost_is_counted_even_if_it_is_more_than_was_left(kavach: Kavach) -> None:
    agent, tight = await bounded(kavach, limit=50)
    wide = await kavach.budgets.create(owner_id="alice", measure="cost", limit=100, per="day")
    ending = await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=70, per="day", action="revoke")
    audit_id = await reserve(kavach, agent, 40)
    first = await kavach.settle(audit_id, 60)
    assert first.exceeded == (tight.id,) and (await kavach.budgets.get(tight.id)).left == 0
    assert [await spent(kavach, each) for each in (tight, wide, ending)] == [60, 60, 60]
    assert (await events(kavach)).count("budget.exceeded") == 1
    assert await code(kavach, agent.token, cost=1) == "BUDGET_EXCEEDED"
    assert await code(kavach, agent.token, cost=0) == await code(kavach, agent.token) == "ALLOWED"
    await kavach.budgets.delete(tight.id)
    second = await kavach.settle(await reserve(kavach, agent, 5), 25)
    assert second.exceeded == (ending.id,)
    assert await code(kavach, agent.token) == "AGENT_REVOKED"
    assert await spent(kavach, wide) == 85


async def test_who_gives_back_makes_no_budget_exceeded(kavach: Kavach) -> None:
    """Even if it is over all the same."""
    agent, budget = await bounded(kavach)
    less, same, more = [await reserve(kavach, agent, 20) for _ in range(3)]
    await kavach.budgets.update(budget.id, limit=10, action="revoke")
    assert [(await kavach.settle(audit_id, cost)).exceeded for audit_id, cost in ((less, 15), (same, 20))] == [(), ()]
    assert (await kavach.agents.get(agent.id)).status == "active"
    assert (await kavach.settle(more, 21)).exceeded == (budget.id,)
    assert (await kavach.agents.get(agent.id)).status == "revoked"


async def test_what_ended_or_went_away_meanwhile_is_settled_all_the_same(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    """The agent is dead, one of the budgets is gone, and the process that decided has closed."""
    agent, budget = await bounded(kavach)
    owners = await kavach.budgets.create(owner_id="alice", measure="cost", limit=100, per="day")
    audit_id = await reserve(kavach, agent, 40)
    await kavach.agents.revoke(agent.id)
    await kavach.owners.suspend("alice")
    await kavach.budgets.delete(budget.id)
    await kavach.close()
    later = await open_kavach()
    assert (await later.settle(audit_id, 25)).actual == 25
    assert await spent(later, owners) == 25


@pytest.mark.parametrize("unsettled", ["keep", "release"])
async def test_a_rename_before_the_settlement_loses_nothing(open_kavach: OpenKavach, unsettled: str) -> None:
    kavach = await open_kavach(unsettled=unsettled)
    agent, budget = await bounded(kavach, owner_id="alice")
    audit_id = await reserve(kavach, agent, 40)
    await kavach.owners.rename("alice", "usr-0001")
    await kavach.settle(audit_id, 25)
    assert await spent(kavach, budget) == 25


@pytest.mark.parametrize("unsettled", ["keep", "release"])
async def test_settlements_that_race_with_renames_lose_nothing(open_kavach: OpenKavach, unsettled: str) -> None:
    both = await open_kavach(unsettled=unsettled), await open_kavach(unsettled=unsettled)
    agent, budget = await bounded(both[0], owner_id="owner-0")
    for number in range(6):
        reserved = [await reserve(both[0], agent, 3) for _ in range(4)]
        await asyncio.gather(
            both[0].owners.rename(f"owner-{number}", f"owner-{number + 1}"),
            *[both[place % 2].settle(each, 1) for place, each in enumerate(reserved)],
        )
    assert await spent(both[0], budget) == 24


async def test_a_rename_between_finding_and_locking_a_budget_is_noticed(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite there is no such moment."""
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        kavach, elsewhere = await open_kavach(), await open_kavach()
        agent, budget = await bounded(kavach, owner_id="alice")
        audit_id = await reserve(kavach, agent, 40)
        holders_now = budgets.holders_now

        async def rename_then(*args: Any) -> dict[bytes, bytes]:
            monkeypatch.setattr(budgets, "holders_now", holders_now)
            found = await holders_now(*args)
            await elsewhere.owners.rename("alice", "usr-0001")
            return found

        monkeypatch.setattr(budgets, "holders_now", rename_then)
        await kavach.settle(audit_id, 25)
        assert await spent(kavach, budget) == 25


# Leases.


@pytest.mark.parametrize("unsettled", ["keep", "release"])
@pytest.mark.parametrize("offset", [0, 1, 29_000_000, 55_999_999])
async def test_a_lease_ends_a_sixteenth_late_at_most_and_never_early(
    open_kavach: OpenKavach, clock: FrozenClock, unsettled: str, offset: int
) -> None:
    """Until then it can be settled; from then on it stays spent, or has fallen back, once."""
    kavach = await open_kavach(unsettled=unsettled, settle_within="16m")
    clock.advance(timedelta(microseconds=offset))
    agent, budget = await bounded(kavach, limit=40)
    in_time, too_late = [await reserve(kavach, agent, 20) for _ in range(2)]
    refused = await ask(kavach, agent.token, cost=1)
    assert refused.retry_after
    clock.advance(timedelta(minutes=16, microseconds=-1))
    await kavach.settle(in_time, 15)
    assert await spent(kavach, budget) == 35
    clock.advance(timedelta(minutes=1 if unsettled == "release" else 0, microseconds=1))
    kept = 15 if unsettled == "release" else 35
    for _ in range(2):
        with pytest.raises(LeaseEnded):
            await kavach.settle(too_late, 1)
        assert await spent(kavach, budget) == kept
    assert [await code(kavach, agent.token, cost=cost) for cost in (41 - kept, 40 - kept)] == [
        "BUDGET_EXCEEDED",
        "ALLOWED",
    ]
    # A reservation that may fall back is worth waiting for; what never falls back is not.
    assert 16 * 60 <= refused.retry_after <= 17 * 60 if unsettled == "release" else refused.retry_after == 86_400


async def test_what_has_fallen_back_for_somebody_else_cannot_be_settled_any_more(postgres_home: Home) -> None:
    """Their transaction read the time later and came first. On SQLite the time is read when one's turn has come."""
    behind, ahead = FrozenClock(), FrozenClock()
    ahead.advance("16m")
    async with opener(
        database=postgres_home.database, project=postgres_home.project, unsettled="release"
    ) as open_kavach:
        kavach, elsewhere = await open_kavach(clock=behind), await open_kavach(clock=ahead)
        agent, budget = await bounded(kavach, limit=40)
        audit_id = await reserve(kavach, agent, 40)
        await reserve(elsewhere, agent, 40)
        with pytest.raises(LeaseEnded):
            await kavach.settle(audit_id, 40)
        assert await spent(elsewhere, budget) == 40


async def test_a_window_that_ended_meanwhile_is_left_alone(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    """The reservation belonged to it, and so does what was spent too much."""
    kavach = await open_kavach(unsettled="release")
    agent, hourly = await bounded(kavach, per="hour")
    forever = await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=100, per="forever")
    clock.advance("55m")
    early, lost = await reserve(kavach, agent, 40), await reserve(kavach, agent, 10)
    clock.advance("6m")
    assert [await spent(kavach, each) for each in (hourly, forever)] == [0, 50]
    await reserve(kavach, agent, 7)
    assert (await kavach.settle(early, 60)).exceeded == ()
    assert [await spent(kavach, each) for each in (hourly, forever)] == [7, 77]
    clock.advance("14m")
    with pytest.raises(LeaseEnded):
        await kavach.settle(lost, 1)
    assert [await spent(kavach, each) for each in (hourly, forever)] == [0 + 7, 60 + 7]


async def test_reservations_are_pruned_only_when_their_time_is_over(kavach: Kavach, clock: FrozenClock) -> None:
    agent, budget = await bounded(kavach)
    audit_id = await reserve(kavach, agent, 40)
    assert await kavach.budgets.prune(before=clock.now) == 0
    clock.advance("1h")
    assert await kavach.budgets.prune(before=clock.now - timedelta(minutes=50)) == 0
    assert await kavach.budgets.prune(before=clock.now) == 1
    with pytest.raises(Conflict):
        await kavach.settle(audit_id, 1)
    assert await spent(kavach, budget) == 40
    with pytest.raises(InvalidInput):
        await kavach.budgets.prune(before=to_datetime(0).replace(tzinfo=None))


# What is left.


async def test_what_remains_is_told_by_the_best_of_the_agents_grants(kavach: Kavach) -> None:
    givers, agent = [await make_agent(kavach) for _ in range(2)], await make_agent(kavach, "write:notes")
    links = [
        await kavach.delegations.create(from_agent=giver.id, to_agent=agent.id, permissions=["read:repos"])
        for giver in givers
    ]
    left = await kavach.remaining(agent.id)
    assert (left.calls, left.cost, left.budgets) == (None, None, ())
    made = [await kavach.budgets.create(agent_id=agent.id, limit=9, per="day")]
    made += [
        await kavach.budgets.create(delegation_id=link.id, measure="cost", limit=limit, per="day")
        for link, limit in zip(links, (3, 5), strict=True)
    ]
    # Its own permissions cost nothing yet; a budget on everybody bounds them too.
    assert ((await kavach.remaining(agent)).calls, (await kavach.remaining(agent)).cost) == (9, None)
    made.append(await kavach.budgets.create(measure="cost", limit=4, per="day"))
    await kavach.budgets.create(owner_id="alice", limit=1, per="day", action="warn")
    assert await ask(kavach, agent.token, cost=1)
    left = await kavach.remaining(agent)
    assert (left.calls, left.cost) == (8, 3)
    assert {budget.id for budget in left.budgets} >= {budget.id for budget in made} and len(left.budgets) == 5
    await kavach.agents.update(agent.id, permissions=[])
    await kavach.budgets.update(made[3].id, limit=100)
    assert (await kavach.remaining(agent)).cost == 5
    await kavach.delegations.revoke(links[1].id)
    left = await kavach.remaining(agent)
    assert left.cost == 2 and made[2].id not in {budget.id for budget in left.budgets}


async def test_nothing_remains_for_an_agent_that_is_dead_or_has_no_grant(kavach: Kavach) -> None:
    agent, budget = await bounded(kavach)
    assert (await kavach.remaining(agent)).cost == 100
    await kavach.agents.update(agent.id, permissions=[])
    left = await kavach.remaining(agent)
    assert (left.calls, left.cost) == (0, 0)
    await kavach.agents.update(agent.id, permissions=["read:repos"])
    await kavach.owners.suspend("alice")
    left = await kavach.remaining(agent)
    assert (left.calls, left.cost, left.budgets) == (0, 0, ())
    with pytest.raises(NotFound):
        await kavach.remaining("agt_" + "0" * 32)
    for nobody in (None, 5, b"agt", "", [], object()):
        unnamed: Any = nobody
        with pytest.raises(InvalidInput):
            await kavach.remaining(unnamed)
    await kavach.owners.resume("alice")
    await kavach.budgets.update(budget.id, limit=0)
    assert (await kavach.remaining(agent)).cost == 0


async def test_what_remains_is_what_may_be_spent(kavach: Kavach) -> None:
    root, _ = await bounded(kavach, limit=50)
    child = await kavach.agents.delegate(from_=root.id, permissions=[limited("repos", "read", maxCallsPerHour=9)])
    await kavach.budgets.create(delegation_id=child.delegation_id, measure="cost", limit=20, per="day")
    await kavach.budgets.create(owner_id="alice", limit=2, per="day")
    for cost in (19, 1):
        left = await kavach.remaining(child)
        assert left.calls and left.cost and left.cost >= cost
        assert await code(kavach, child.token, cost=left.cost + 1) == "BUDGET_EXCEEDED"
        assert await code(kavach, child.token, cost=cost) == "ALLOWED"
    left = await kavach.remaining(child)
    assert (left.calls, left.cost) == (0, 0) and await code(kavach, child.token) == "BUDGET_EXCEEDED"
