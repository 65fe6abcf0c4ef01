"""Budgets: what a call charges, what becomes of one for which there is not enough, and changes while they are spent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from kavach_core import Agent, DelegatedAgent, Kavach, Result
from kavach_core.capabilities.authorize import claims, effects, worker
from kavach_core.capabilities.budgets import Budget, Ledger
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.budgets.ledger import BudgetRow
from kavach_core.errors import InvalidInput, LimitReached, NotFound
from kavach_core.store import Transaction
from kavach_core.testing import FrozenClock
from tests.capabilities.support import (
    Home,
    OpenKavach,
    all_entries,
    ask,
    code,
    count,
    events,
    limited,
    make_agent,
    opener,
    run,
    select,
)

#: What a budget may hang on, in-process and on the wire.
HOLDERS = {"agent_id": "agentId", "delegation_id": "delegationId", "owner_id": "ownerId"}


class Family(NamedTuple):
    """alice's agents, from the root down, a second child of the root, and an agent of bob's."""

    root: Agent
    child: DelegatedAgent
    leaf: DelegatedAgent
    sibling: DelegatedAgent
    stranger: Agent


async def make_family(kavach: Kavach, *permissions: Any) -> Family:
    root = await make_agent(kavach, *permissions)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    return Family(
        root=root,
        child=child,
        leaf=await kavach.agents.delegate(from_=child.id, permissions=["read:repos"]),
        sibling=await kavach.agents.delegate(from_=root.id, permissions=["read:repos"]),
        stranger=await make_agent(kavach, owner_id="bob"),
    )


async def one_of_each(kavach: Kavach, family: Family, **terms: Any) -> dict[str, Budget]:
    """A budget on everything a budget can hang on, by a name for it."""
    terms = {"limit": 100, "per": "day", **terms}
    holders: dict[str, dict[str, str]] = {
        **{name: {"agent_id": agent.id} for name, agent in family._asdict().items()},
        **{
            f"to {name}": {"delegation_id": agent.delegation_id}
            for name, agent in family._asdict().items()
            if isinstance(agent, DelegatedAgent)
        },
        **{owner: {"owner_id": owner} for owner in ("alice", "bob")},
        "everybody": {},
    }
    return {name: await kavach.budgets.create(**holder, **terms) for name, holder in holders.items()}


async def spent(kavach: Kavach, made: dict[str, Budget]) -> dict[str, int]:
    """What was spent of each budget that anything was spent of."""
    now = {budget.id: budget.spent for budget in await kavach.budgets.list()}
    return {name: now[budget.id] for name, budget in made.items() if now[budget.id]}


async def allowed(calls: Iterable[Awaitable[Any]]) -> int:
    """How many of these decisions, asked for at once, are a yes."""
    return sum(map(bool, await asyncio.gather(*calls)))


# What a call charges.


async def test_a_call_charges_every_budget_on_its_path_and_no_other(kavach: Kavach) -> None:
    family = await make_family(kavach)
    made = await one_of_each(kavach, family)
    expected = Counter[str]()
    for agent, path in (
        (family.leaf, ("root", "child", "leaf", "to child", "to leaf", "alice", "everybody")),
        (family.child, ("root", "child", "to child", "alice", "everybody")),
        (family.root, ("root", "alice", "everybody")),
        (family.stranger, ("stranger", "bob", "everybody")),
    ):
        assert await ask(kavach, agent.token)
        expected.update(path)
        assert await spent(kavach, made) == expected


async def test_a_call_charges_all_budgets_and_rates_or_none(kavach: Kavach) -> None:
    """Whichever of them has nothing left."""
    family = await make_family(kavach, limited("repos", "read", maxCallsPerHour=1))
    made = await one_of_each(kavach, family)
    on_path = ("root", "child", "leaf", "to child", "to leaf", "alice", "everybody")
    for name in on_path:
        await kavach.budgets.update(made[name].id, limit=0)
        assert await code(kavach, family.leaf.token) == "BUDGET_EXCEEDED"
        assert await spent(kavach, made) == {}
        await kavach.budgets.update(made[name].id, limit=100)
    assert await code(kavach, family.leaf.token) == "ALLOWED"
    assert await code(kavach, family.leaf.token) == "RATE_LIMITED"
    assert await spent(kavach, made) == dict.fromkeys(on_path, 1)


async def test_only_calls_that_go_ahead_are_counted(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "read:repos", limited("mail", "send", maxCallsPerHour=0))
    budget = await kavach.budgets.create(agent_id=agent.id, limit=1, per="day")
    assert await code(kavach, agent.token, "write:repos") == "NOT_GRANTED"
    assert await code(kavach, agent.token, "send:mail") == "RATE_LIMITED"
    assert await code(kavach, agent.token, dry_run=True) == "ALLOWED"
    assert (await kavach.agents.verify(agent.token or "")).valid
    assert (await kavach.budgets.get(budget.id)).spent == 0
    assert await code(kavach, agent.token) == "ALLOWED"
    dry = await ask(kavach, agent.token, dry_run=True)
    assert dry.code == "BUDGET_EXCEEDED" and dry.explanation and "budget" in dry.explanation.would_pass
    assert (await kavach.budgets.get(budget.id)).spent == 1


async def test_only_the_path_that_is_used_is_charged(kavach: Kavach) -> None:
    """The agent's own grant has nothing left; what it was lent has, and pays alone."""
    giver, agent = await make_agent(kavach), await make_agent(kavach)
    link = await kavach.delegations.create(from_agent=giver.id, to_agent=agent.id, permissions=["read:repos"])
    lent = await kavach.budgets.create(delegation_id=link.id, limit=1, per="day")
    givers = await kavach.budgets.create(agent_id=giver.id, limit=2, per="day")
    assert await code(kavach, agent.token) == "ALLOWED"
    assert [(await kavach.budgets.get(each.id)).spent for each in (lent, givers)] == [0, 0]
    await kavach.agents.update(agent.id, permissions=[limited("repos", "read", maxCallsPerHour=0)])
    decision = await ask(kavach, agent.token)
    assert decision and (await kavach.audit.query(limit=1))[0].path[0].agent_id == giver.id
    assert [(await kavach.budgets.get(each.id)).spent for each in (lent, givers)] == [1, 1]
    assert await code(kavach, agent.token) == "BUDGET_EXCEEDED"


async def test_no_call_is_charged_that_is_not_recorded(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charging, recording and ending what the budget hangs on are one transaction."""
    agent = await make_agent(kavach)
    budget = await kavach.budgets.create(agent_id=agent.id, limit=1, per="day", action="revoke")
    assert await ask(kavach, agent.token)

    async def end(*args: Any) -> None:
        raise KeyError("while the agent is ended")

    monkeypatch.setattr(effects, "end", end)
    with pytest.raises(KeyError):
        await ask(kavach, agent.token)
    assert (await kavach.agents.get(agent.id)).status == "active"
    assert await count(kavach, "kavach_audit") == 1 and "budget.exceeded" not in await events(kavach)
    assert (await kavach.budgets.get(budget.id)).spent == 1


# Limits and windows.


@pytest.mark.parametrize(
    "per, at, seconds",
    [
        ("hour", datetime(2030, 1, 1, 12, 59, 59, 1, tzinfo=UTC), 1),
        ("day", datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=UTC), 12 * 3600),
        ("month", datetime(2032, 2, 28, tzinfo=UTC), 2 * 86_400),
        ("forever", datetime(2030, 1, 1, 12, tzinfo=UTC), None),
    ],
)
async def test_a_window_is_that_of_the_calendar_and_ends_by_itself(
    kavach: Kavach, clock: FrozenClock, per: str, at: datetime, seconds: int | None
) -> None:
    clock.move_to(at)
    agent = await make_agent(kavach)
    budget = await kavach.budgets.create(agent_id=agent.id, limit=2, per=per)
    assert [bool(await ask(kavach, agent.token)) for _ in range(3)] == [True, True, False]
    refused = await ask(kavach, agent.token)
    assert refused.code == "BUDGET_EXCEEDED" and refused.retry_after == (seconds or 86_400)
    assert (await kavach.audit.query(limit=1))[0].result is Result.RATE_LIMITED
    clock.advance(f"{refused.retry_after}s")
    # Nobody called meanwhile: who looks sees that the window is over.
    stands = await kavach.budgets.get(budget.id)
    assert (stands.spent, stands.left) == ((0, 2) if seconds else (2, 0))
    assert (stands.resets_at is None) is (seconds is None)
    assert bool(await ask(kavach, agent.token)) is (seconds is not None)


@pytest.mark.parametrize("measure", ["calls", "cost"])
async def test_a_limit_of_0_allows_none(kavach: Kavach, measure: str) -> None:
    agent = await make_agent(kavach)
    await kavach.budgets.create(agent_id=agent.id, measure=measure, limit=0, per="forever")
    assert await code(kavach, agent.token, cost=1) == "BUDGET_EXCEEDED"


async def test_the_largest_limit_is_exact(kavach: Kavach) -> None:
    agent, most = await make_agent(kavach), 2**53 - 1
    budget = await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=most, per="forever")
    assert await ask(kavach, agent.token, cost=most - 1)
    assert await code(kavach, agent.token, cost=2) == "BUDGET_EXCEEDED"
    assert await ask(kavach, agent.token, cost=1)
    assert (await kavach.budgets.get(budget.id)).spent == most


async def test_what_is_no_budget_is_refused(sqlite_kavach: Kavach) -> None:
    nobody = "0" * 32
    for wrong, field in (
        *(({"limit": limit}, "limit") for limit in (-1, 2**53, True, "5", 1.5, None)),
        ({"per": "week"}, "per"),
        ({"per": None}, "per"),
        ({"measure": "tokens"}, "measure"),
        ({"action": "allow"}, "action"),
        *(({name: None}, told) for name, told in HOLDERS.items()),
        (dict.fromkeys(HOLDERS), "agentId"),
        ({"owner_id": ""}, "ownerId"),
        ({"owner_id": "a\x00"}, "ownerId"),
        ({"owner_id": "alice", "agent_id": f"agt_{nobody}"}, "agentId"),
        ({"delegation_id": f"dlg_{nobody}", "agent_id": f"agt_{nobody}"}, "agentId"),
    ):
        given: dict[str, Any] = {"limit": 1, "per": "day", **wrong}
        with pytest.raises(InvalidInput) as refused:
            await sqlite_kavach.budgets.create(**given)
        assert refused.value.details.get("field") == field
    assert (await sqlite_kavach.budgets.list()).total == 0 and await events(sqlite_kavach) == []


async def test_a_look_up_that_found_nothing_bounds_nobody(sqlite_kavach: Kavach) -> None:
    """With `revoke` it would suspend everybody. Left out, or None beside a holder, it is what it was."""
    terms: dict[str, Any] = {"limit": 1, "per": "day", "action": "revoke"}
    for name in HOLDERS:
        with pytest.raises(InvalidInput, match="leave out agentId, delegationId and ownerId"):
            await sqlite_kavach.budgets.create(**{name: None}, **terms)
    assert (await sqlite_kavach.budgets.list()).total == 0
    owners = await sqlite_kavach.budgets.create(agent_id=None, owner_id="alice", **terms)
    whole = await sqlite_kavach.budgets.create(**terms)
    assert (owners.owner_id, whole.owner_id) == ("alice", None)


async def test_a_budget_hangs_on_what_there_is(kavach: Kavach) -> None:
    nobody = "0" * 32
    for make in (
        kavach.budgets.create(agent_id=f"agt_{nobody}", limit=1, per="day"),
        kavach.budgets.create(delegation_id=f"dlg_{nobody}", limit=1, per="day"),
        kavach.budgets.create(agent_id="alice", limit=1, per="day"),
        kavach.budgets.get(f"bdg_{nobody}"),
        kavach.budgets.update(f"bdg_{nobody}", limit=1),
        kavach.budgets.delete(f"bdg_{nobody}"),
    ):
        with pytest.raises(NotFound):
            await make
    assert (await kavach.budgets.list()).total == 0 and await events(kavach) == []
    # Owners come into being when something of theirs does, so that a budget may be there first.
    budget = await kavach.budgets.create(owner_id="alice", limit=0, per="day")
    assert (budget.owner_id, budget.spent, budget.set_by) == ("alice", 0, "app")
    assert await code(kavach, (await make_agent(kavach)).token) == "BUDGET_EXCEEDED"


async def test_at_most_16_budgets_hang_on_one_thing(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """However many are made at once, in two processes."""
    both = kavach, await open_kavach()
    agent = await make_agent(kavach)
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    things: list[dict[str, str]] = [
        {"agent_id": agent.id},
        {"delegation_id": child.delegation_id},
        {"owner_id": "alice"},
        {},
    ]
    for thing in things:
        made = await asyncio.gather(
            *[both[number % 2].budgets.create(**thing, limit=99, per="day") for number in range(20)],
            return_exceptions=True,
        )
        assert Counter(type(each) for each in made) == {Budget: 16, LimitReached: 4}
        budget = next(each for each in made if isinstance(each, Budget))
        await kavach.budgets.delete(budget.id)
        await kavach.budgets.create(**thing, limit=99, per="day")
    assert (await kavach.budgets.list(owner_id="alice")).total == 48
    assert await ask(kavach, child.token)
    assert {each.spent for each in await kavach.budgets.list()} == {1}


async def test_the_same_check_catches_things_that_are_not_locked_while_budgets_are_counted(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: two budgets are made at once, and each is the sixteenth."""
    meeting, of_holders = asyncio.Barrier(2), budgets.of_holders

    async def note_nothing(*args: Any) -> bool:
        return True

    async def count_alone(*args: Any) -> list[Ledger]:
        found = await of_holders(*args)
        await meeting.wait()
        return found

    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        kavach = await open_kavach()
        agent = await make_agent(kavach)
        for _ in range(15):
            await kavach.budgets.create(agent_id=agent.id, limit=1, per="day")
        monkeypatch.setattr(budgets, "note", note_nothing)
        monkeypatch.setattr(budgets, "of_holders", count_alone)
        await asyncio.gather(*[kavach.budgets.create(agent_id=agent.id, limit=1, per="day") for _ in range(2)])
        assert await count(kavach, "kavach_budgets") == 17


async def test_a_list_is_of_one_thing_or_of_all_that_is_an_owners(kavach: Kavach) -> None:
    made = await one_of_each(kavach, family := await make_family(kavach))

    async def listed(**about: Any) -> set[str]:
        found = {budget.id for budget in await kavach.budgets.list(**about)}
        return {name for name, budget in made.items() if budget.id in found}

    assert await listed(agent_id=family.child.id) == {"child"}
    assert await listed(delegation_id=family.child.delegation_id) == {"to child"}
    assert await listed(owner_id="bob") == {"bob", "stranger"}
    assert await listed(owner_id="alice") == set(made) - {"bob", "stranger", "everybody"}
    assert await listed() == set(made)
    pages = [await kavach.budgets.list(limit=4, offset=offset) for offset in (0, 4, 8)]
    assert [budget.id for page in pages for budget in page] == [budget.id for budget in made.values()]
    assert {page.total for page in pages} == {len(made)}


# What becomes of a call for which there is not enough.


async def test_a_budget_that_warns_lets_calls_pass_and_tells_once_a_window(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach)
    budget = await kavach.budgets.create(agent_id=agent.id, limit=1, per="hour", action="warn")
    warned = [(await ask(kavach, agent.token)).warnings for _ in range(3)]
    assert warned == [(), (budget.id,), (budget.id,)]
    stands = await kavach.budgets.get(budget.id)
    assert (stands.spent, stands.left) == (3, 0)
    assert (await events(kavach)).count("budget.exceeded") == 1
    dry = await ask(kavach, agent.token, dry_run=True)
    assert dry.allowed and dry.warnings == (budget.id,)
    clock.advance("1h")
    warned = [(await ask(kavach, agent.token)).warnings for _ in range(3)]
    assert warned == [(), (budget.id,), (budget.id,)]
    assert (await events(kavach)).count("budget.exceeded") == 2


@pytest.mark.parametrize(
    "name, ends",
    [
        ("child", {"root": None, "child": "AGENT_REVOKED", "leaf": "CHAIN_CUT", "sibling": None, "stranger": None}),
        ("to child", {"root": None, "child": "CHAIN_CUT", "leaf": "CHAIN_CUT", "sibling": None, "stranger": None}),
        ("alice", {**dict.fromkeys(("root", "child", "leaf", "sibling"), "OWNER_SUSPENDED"), "stranger": None}),
        ("everybody", dict.fromkeys(Family._fields, "PROJECT_SUSPENDED")),
    ],
)
async def test_a_budget_that_revokes_ends_exactly_what_it_hangs_on(
    kavach: Kavach, open_kavach: OpenKavach, name: str, ends: dict[str, str | None]
) -> None:
    family, elsewhere = await make_family(kavach), await open_kavach()
    budget = (await one_of_each(kavach, family, per="forever"))[name]
    await kavach.budgets.update(budget.id, limit=1, action="revoke")
    assert await ask(kavach, family.leaf.token)
    before = await events(kavach)
    # The refused call itself is answered with the budget; from the next one on, in any process, the end holds.
    assert await code(kavach, family.leaf.token) == "BUDGET_EXCEEDED"
    codes = {field: await code(elsewhere, agent.token) for field, agent in family._asdict().items()}
    assert codes == {field: end or "ALLOWED" for field, end in ends.items()}
    kind = {"child": "agent.revoked", "to child": "delegation.revoked", "alice": "owner.suspended"}
    assert (await events(kavach))[len(before) :] == ["budget.exceeded", kind.get(name, "project.suspended")]
    data = await select(kavach, "select data from kavach_events where project_id = $1", kavach.config.project)
    assert budget.id in str(data)


async def test_a_budget_ends_what_it_hangs_on_only_if_the_call_is_refused(kavach: Kavach) -> None:
    """And then on every grant that was tried in vain, not only on the one that came closest."""
    givers, agent = [await make_agent(kavach) for _ in range(2)], await make_agent(kavach, "write:notes")
    links = [
        await kavach.delegations.create(from_agent=giver.id, to_agent=agent.id, permissions=["read:repos"])
        for giver in givers
    ]
    await kavach.budgets.create(delegation_id=links[0].id, limit=0, per="day", action="revoke")
    await kavach.budgets.create(delegation_id=links[1].id, limit=1, per="hour", action="revoke")

    async def stand() -> list[str]:
        return [(await kavach.delegations.get(link.id)).status.value for link in links]

    assert await code(kavach, agent.token) == "ALLOWED" and await stand() == ["active", "active"]
    assert "budget.exceeded" not in await events(kavach)
    assert await code(kavach, agent.token) == "BUDGET_EXCEEDED" and await stand() == ["revoked", "revoked"]
    assert (await events(kavach)).count("budget.exceeded") == 2


# Changes.


async def test_a_change_of_a_budget_holds_from_the_next_call_on_everywhere(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    elsewhere, agent = await open_kavach(), await make_agent(kavach)
    assert await ask(elsewhere, agent.token)
    budget = await kavach.budgets.create(agent_id=agent.id, limit=1, per="day")
    assert [await code(elsewhere, agent.token) for _ in range(2)] == ["ALLOWED", "BUDGET_EXCEEDED"]
    raised = await kavach.budgets.update(budget.id, limit=2)
    assert (raised.limit, raised.spent, raised.action) == (2, 1, "block")
    assert [await code(elsewhere, agent.token) for _ in range(2)] == ["ALLOWED", "BUDGET_EXCEEDED"]
    warning = await kavach.budgets.update(budget.id, action="warn")
    assert (warning.limit, warning.spent, warning.action) == (2, 2, "warn")
    assert (await ask(elsewhere, agent.token)).warnings == (budget.id,)
    await kavach.budgets.update(budget.id, limit=1, action="block")
    assert await code(elsewhere, agent.token) == "BUDGET_EXCEEDED"
    await kavach.budgets.delete(budget.id)
    assert (await ask(elsewhere, agent.token)).warnings == ()
    assert await code(elsewhere, agent.token) == "ALLOWED"
    changes = [each for each in await events(kavach) if each.startswith("budget.")]
    counts = {"budget.created": 1, "budget.updated": 3, "budget.exceeded": 1, "budget.deleted": 1}
    assert Counter(changes) == counts


# Races.


async def _race(kavachs: tuple[Kavach, Kavach], most: int, calls: int, **terms: Any) -> tuple[int, int, set[int]]:
    """How many calls are allowed, how many rows say so, and what the budgets on three levels say was spent."""
    root = await make_agent(kavachs[0])
    child = await kavachs[0].agents.delegate(from_=root.id, permissions=["read:repos"])
    for holder in ({"agent_id": root.id}, {"delegation_id": child.delegation_id}, {"owner_id": "alice"}):
        await kavachs[0].budgets.create(**holder, limit=most, per="forever")
    yes = await allowed(ask(kavachs[number % 2], child.token) for number in range(calls))
    return (
        yes,
        await kavachs[0].audit.count(result=Result.ALLOWED),
        {each.spent for each in await kavachs[0].budgets.list()},
    )


async def test_a_budget_raced_by_two_processes_allows_exactly_so_many(kavach: Kavach, open_kavach: OpenKavach) -> None:
    assert await _race((kavach, await open_kavach()), 20, 60) == (20, 20, {20})


async def test_a_cost_that_is_raced_never_exceeds_its_budget(kavach: Kavach, open_kavach: OpenKavach) -> None:
    elsewhere, agent = await open_kavach(), await make_agent(kavach)
    budget = await kavach.budgets.create(owner_id="alice", measure="cost", limit=20, per="forever")
    assert await allowed(ask((kavach, elsewhere)[number % 2], agent.token, cost=3) for number in range(30)) == 6
    assert (await kavach.budgets.get(budget.id)).spent == 18
    assert sum(entry.cost or 0 for entry in await all_entries(kavach)) == 18


Locks = Callable[..., Awaitable[dict[bytes, list[Ledger]]]]


async def test_the_same_race_catches_budgets_that_are_not_locked(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: two batches read the same budgets before either has written."""
    meeting = asyncio.Barrier(2)

    async def read_alone(tx: Transaction, project: str, holders: Iterable[bytes]) -> dict[bytes, list[Ledger]]:
        found: dict[bytes, list[Ledger]] = {holder: [] for holder in holders}
        for ledger in await budgets.of_holders(tx, project, found):
            found[ledger.row.holder].append(ledger)
        await meeting.wait()
        return found

    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        both = await open_kavach(), await open_kavach()
        monkeypatch.setattr(budgets, "lock_holders", read_alone)
        assert await _race(both, 1, 2) == (2, 2, {1})


async def test_a_budget_is_spent_right_while_its_owner_is_renamed(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """None of its units is lost, and none is spent twice."""
    elsewhere, agent = await open_kavach(), await make_agent(kavach, owner_id="owner-0")
    budget = await kavach.budgets.create(owner_id="owner-0", limit=30, per="forever")
    yes = 0
    for number in range(8):
        rename = kavach.owners.rename(f"owner-{number}", f"owner-{number + 1}")
        calls = [ask((kavach, elsewhere)[call % 2], agent.token) for call in range(5)]
        _, *decisions = await asyncio.gather(rename, *calls)
        yes += sum(map(bool, decisions))
    stands = await kavach.budgets.get(budget.id)
    assert (stands.owner_id, stands.spent, yes) == ("owner-8", 30, 30)


@pytest.mark.parametrize("checks", [True, False])
async def test_a_rename_between_facts_and_lock_is_noticed(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch, checks: bool
) -> None:
    """On SQLite there is no such moment. Without the check, the negative control, a call costs nothing."""
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        kavach, elsewhere = await open_kavach(), await open_kavach()
        agent = await make_agent(kavach)
        budget = await kavach.budgets.create(owner_id="alice", limit=1, per="forever")
        load_facts = worker.load_facts

        async def rename_then(*args: Any, **more: Any) -> Any:
            monkeypatch.setattr(worker, "load_facts", load_facts)
            facts = await load_facts(*args, **more)
            await elsewhere.owners.rename("alice", "usr-0001")
            return facts

        monkeypatch.setattr(worker, "load_facts", rename_then)
        if not checks:
            monkeypatch.setattr(claims.Claims, "_require_whole", lambda *args: None)
        assert await ask(kavach, agent.token)
        assert (await kavach.budgets.get(budget.id)).spent == checks


async def test_budgets_that_come_and_go_while_they_are_spent_count_right(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    """Every call that begins after a budget was made is held to it, and none after it was taken away."""
    elsewhere, agent = await open_kavach(), await make_agent(kavach)
    for _ in range(6):
        early = [ask(elsewhere, agent.token) for _ in range(6)]
        budget, *decisions = await asyncio.gather(
            kavach.budgets.create(agent_id=agent.id, limit=8, per="forever"), *early
        )
        assert all(decisions)
        counted = (await kavach.budgets.get(budget.id)).spent
        assert await allowed(ask(elsewhere, agent.token) for _ in range(12)) == 8 - counted
        await asyncio.gather(kavach.budgets.delete(budget.id), *[ask(elsewhere, agent.token) for _ in range(6)])
        assert await ask(elsewhere, agent.token)
    assert await select(kavach, "select budgets from kavach_agents where project_id = $1", kavach.config.project) == [
        (0,)
    ]


async def test_a_stored_budget_is_read_as_it_was_written(kavach: Kavach) -> None:
    """The columns of both databases are those of the row, in its order, whatever the values."""
    agent = await make_agent(kavach)
    budget = await kavach.budgets.create(agent_id=agent.id, limit=7, per="month", action="revoke", measure="cost")
    await run(
        kavach,
        "update kavach_budgets set spent = 5, leases = '9:5', told_at = window_at where project_id = $1",
        kavach.config.project,
    )

    columns = ", ".join(BudgetRow._fields)
    (row,) = await select(kavach, f"select {columns} from kavach_budgets where project_id = $1", kavach.config.project)
    stored = BudgetRow._make(row)
    assert (stored.measure, stored.per, stored.most, stored.action) == ("cost", "month", 7, "revoke")
    assert (stored.spent, stored.leases, stored.told_at) == (5, "9:5", stored.window_at)
    assert (await kavach.budgets.get(budget.id)).spent == 0  # what was leased has fallen back long ago
