"""Approvals: bound to one exact call, answered by a human, used once."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from kavach_core import Agent, Decision, Kavach, Result
from kavach_core.capabilities.approvals import Approval
from kavach_core.capabilities.approvals import queries as approvals
from kavach_core.capabilities.approvals.model import OpenApproval
from kavach_core.capabilities.limits import keys
from kavach_core.errors import FinalState, InvalidInput, NotFound
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
    select,
)

CONSENT = limited("payments", "send", requireApproval=True)
PAY = "send:payments"
FIVE: dict[str, Any] = {"arguments": {"to": "bob", "amount": 5}}


async def asked(kavach: Kavach, agent: Agent, **call: Any) -> str:
    """Have a call ask its human; returns the approval."""
    decision = await ask(kavach, agent.token, PAY, **(call or FIVE))
    assert decision.code == "APPROVAL_REQUIRED" and decision.approval_id
    return decision.approval_id


async def statuses(kavach: Kavach) -> Counter[str]:
    return Counter(approval.status.value for approval in await kavach.approvals.list())


# One call.


async def test_a_call_goes_ahead_once_after_a_human_agreed(kavach: Kavach, clock: FrozenClock) -> None:
    """The records of call and approval name each other."""
    agent = await make_agent(kavach, CONSENT)
    approval_id = await asked(kavach, agent)
    waiting = await kavach.approvals.get(approval_id)
    assert (waiting.status, waiting.agent_id, waiting.owner_id) == ("pending", agent.id, "alice")
    assert (waiting.action, waiting.resource, waiting.arguments) == ("send", "payments", FIVE["arguments"])
    assert (waiting.decided_at, waiting.decided_by, waiting.audit_id) == (None, None, None)
    clock.advance("1m")
    answered = await kavach.approvals.approve(approval_id, by="alice")
    assert (answered.status, answered.decided_by, answered.decided_at) == ("approved", "alice", clock.now)
    used = await ask(kavach, agent.token, PAY, **FIVE)
    assert used.allowed and used.approval_id == approval_id
    again = await asked(kavach, agent)
    assert again != approval_id
    denied, allowed, refused = await all_entries(kavach)
    assert [entry.approval_id for entry in (denied, allowed, refused)] == [approval_id, approval_id, again]
    assert denied.arguments_hash == allowed.arguments_hash == waiting.arguments_hash
    closed = await kavach.approvals.get(approval_id)
    assert (closed.status, closed.audit_id, closed.decided_by) == ("used", allowed.id, "alice")
    assert [event for event in await events(kavach) if event.startswith("approval")] == [
        "approval.requested",
        "approval.approved",
        "approval.requested",
    ]


async def test_any_other_call_is_another_question(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT, limited("refunds", "*", requireApproval=True))
    other = await make_agent(kavach, CONSENT)
    first = await asked(kavach, agent)
    await kavach.approvals.approve(first, by="alice")
    questions = {first}
    for subject, permission, arguments in (
        (other, PAY, {"to": "bob", "amount": 5}),
        (agent, "send:refunds", {"to": "bob", "amount": 5}),
        (agent, "check:refunds", {"to": "bob", "amount": 5}),
        (agent, PAY, {"to": "bob", "amount": 50}),
        (agent, PAY, {"to": "bob", "amount": "5"}),
        (agent, PAY, {"to": "bob"}),
        (agent, PAY, {"to": "bob", "amount": 5, "note": ""}),
        (agent, PAY, {}),
        (agent, PAY, None),
    ):
        decision = await ask(kavach, subject.token, permission, arguments=arguments)
        assert decision.code == "APPROVAL_REQUIRED" and decision.approval_id
        questions.add(decision.approval_id)
    assert len(questions) == 10 and await statuses(kavach) == {"approved": 1, "pending": 9}
    # The order of the arguments is no part of the call.
    assert await ask(kavach, agent.token, PAY, arguments={"amount": 5, "to": "bob"})


async def test_the_human_is_shown_all_that_the_server_recorded(kavach: Kavach) -> None:
    """Whole, where the audit cuts; and with secrets replaced, which count for the binding all the same."""
    agent = await make_agent(kavach, CONSENT)
    letter = {"body": "x" * 60_000, "password": "hunter2", "nested": [{"apiToken": "t0ps3cret"}]}
    first = await asked(kavach, agent, arguments=letter)
    shown = (await kavach.approvals.get(first)).arguments
    assert shown == {"body": "x" * 60_000, "password": "[redacted]", "nested": [{"apiToken": "[redacted]"}]}
    (entry,) = await all_entries(kavach)
    assert entry.arguments and "body" not in entry.arguments
    assert await asked(kavach, agent, arguments={**letter, "password": "hunter3"}) != first


async def test_what_cannot_be_shown_cannot_be_approved(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    decision = await ask(kavach, agent.token, PAY, arguments={"body": "x" * 65_536})
    assert (decision.code, decision.approval_id) == ("TOO_LARGE_TO_APPROVE", None)
    assert await count(kavach, "kavach_approvals") == 0
    assert [entry.code for entry in await all_entries(kavach)] == ["TOO_LARGE_TO_APPROVE"]
    assert (await ask(kavach, agent.token, PAY, arguments={"body": "x" * 65_525})).approval_id


async def test_asking_again_opens_no_second_question(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """Nor does asking at once, in two processes."""
    both, agent = (kavach, await open_kavach()), await make_agent(kavach, CONSENT)
    named = {await asked(both[0], agent), await asked(both[1], agent)}
    assert len(named) == 1
    await kavach.approvals.deny(named.pop(), by="alice")
    calls = [ask(both[number % 2], agent.token, PAY, arguments={"n": 1}) for number in range(16)]
    named = {decision.approval_id or "" for decision in await asyncio.gather(*calls)}
    assert len(named) == 1 and await statuses(kavach) == {"denied": 1, "pending": 1}
    assert (await events(kavach)).count("approval.requested") == 2
    assert (await kavach.approvals.get(named.pop())).status == "pending"


async def test_nobody_is_asked_about_a_dry_run_or_a_call_that_needs_no_human(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    dry = await ask(kavach, agent.token, PAY, **FIVE, dry_run=True)
    assert (dry.code, dry.approval_id) == ("APPROVAL_REQUIRED", None)
    approval_id = await asked(kavach, agent)
    await kavach.approvals.approve(approval_id, by="alice")
    dry = await ask(kavach, agent.token, PAY, **FIVE, dry_run=True)
    assert dry.allowed and dry.approval_id == approval_id
    # A grant that passes without is taken first, and the approval stays.
    await kavach.agents.update(agent.id, permissions=[CONSENT, "send:*"])
    assert (await ask(kavach, agent.token, PAY, **FIVE)).approval_id is None
    assert await statuses(kavach) == {"approved": 1}


# Once.


async def _race(both: tuple[Kavach, Kavach], agent: Agent, uses: int) -> tuple[list[str], int]:
    """The decisions that passed of so many that want the one approval, and the codes and questions of the rest."""
    decisions = await asyncio.gather(*[ask(both[number % 2], agent.token, PAY, **FIVE) for number in range(uses)])
    passed = [decision.audit_id or "" for decision in decisions if decision.allowed]
    assert {decision.code.value for decision in decisions} <= {"ALLOWED", "APPROVAL_REQUIRED"}
    return passed, len({decision.approval_id for decision in decisions if not decision.allowed})


async def test_of_16_concurrent_uses_of_one_approval_exactly_one_passes(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    both, agent = (kavach, await open_kavach()), await make_agent(kavach, CONSENT)
    for _ in range(3):
        approval_id = await asked(kavach, agent)
        await kavach.approvals.approve(approval_id, by="alice")
        (passed,), questions = await _race(both, agent, 16)
        assert (await kavach.approvals.get(approval_id)).audit_id == passed and questions == 1
        named = [entry for entry in await kavach.audit.query(result=Result.ALLOWED) if entry.approval_id == approval_id]
        assert [entry.id for entry in named] == [passed]


def lock_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two batches ask for the same agent at once."""
    monkeypatch.setattr(keys, "asking", lambda agent_id: secrets.token_bytes(8))


async def test_the_same_race_catches_approvals_that_are_not_locked(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: two batches read the approval before either has used it."""
    meeting = asyncio.Barrier(2)

    async def read_alone(tx: Transaction, project: str, bindings: Iterable[bytes]) -> dict[bytes, OpenApproval]:
        columns = ", ".join(OpenApproval._fields)
        rows = await tx.fetch(f"select {columns} from kavach_approvals where project_id = $1", project)
        await meeting.wait()
        return {found.binding: found for found in (OpenApproval._make(tuple(row)) for row in rows)}

    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        both = await open_kavach(), await open_kavach()
        agent = await make_agent(both[0], CONSENT)
        await both[0].approvals.approve(await asked(both[0], agent), by="alice")
        lock_no_agent(monkeypatch)
        monkeypatch.setattr(approvals, "lock", read_alone)
        assert len((await _race(both, agent, 2))[0]) == 2


async def test_what_refuses_the_call_leaves_the_approval_unused(kavach: Kavach) -> None:
    """A rate, a budget, a constraint, and an audit that cannot be written."""
    rated = limited("payments", "send", requireApproval=True, maxCallsPerHour=1)
    agent = await make_agent(kavach, rated)
    await kavach.approvals.approve(await asked(kavach, agent, arguments={}), by="alice")
    assert await ask(kavach, agent.token, PAY, arguments={})
    approval_id = await asked(kavach, agent)
    await kavach.approvals.approve(approval_id, by="alice")
    assert await code(kavach, agent.token, PAY, **FIVE) == "RATE_LIMITED"
    await kavach.agents.update(agent.id, permissions=[CONSENT])
    budget = await kavach.budgets.create(owner_id="alice", limit=0, per="day")
    assert await code(kavach, agent.token, PAY, **FIVE) == "BUDGET_EXCEEDED"
    await kavach.budgets.delete(budget.id)
    await kavach.owners.set_permissions("alice", ["read:*"])
    assert await code(kavach, agent.token, PAY, **FIVE) == "OWNER_NOT_PERMITTED"
    await kavach.owners.set_permissions("alice", None)
    assert (await kavach.approvals.get(approval_id)).status == "approved"
    assert (await ask(kavach, agent.token, PAY, **FIVE)).approval_id == approval_id


async def _answer_at_once(both: tuple[Kavach, Kavach], approval_id: str) -> list[Approval | BaseException]:
    """Approve raced with deny, in two processes."""
    return await asyncio.gather(
        *[
            getattr(both[number % 2].approvals, ("approve", "deny")[number % 2])(approval_id, by=f"human-{number}")
            for number in range(16)
        ],
        return_exceptions=True,
    )


async def test_an_approval_is_answered_once(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """What the one that won said holds."""
    both, agent = (kavach, await open_kavach()), await make_agent(kavach, CONSENT)
    approval_id = await asked(kavach, agent)
    done = await _answer_at_once(both, approval_id)
    assert Counter(type(each) for each in done) == {Approval: 1, FinalState: 15}
    winner = next(each for each in done if isinstance(each, Approval))
    assert await kavach.approvals.get(approval_id) == winner
    answers = {"approved": "ALLOWED", "denied": "APPROVAL_DENIED"}
    assert await code(kavach, agent.token, PAY, **FIVE) == answers[winner.status]
    assert [event for event in await events(kavach) if event.startswith("approval")] == [
        "approval.requested",
        f"approval.{winner.status}",
    ]


async def test_the_same_race_catches_an_answer_that_does_not_look(
    kavach: Kavach, open_kavach: OpenKavach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: whoever answers overwrites who answered before."""
    approval_id = await asked(kavach, await make_agent(kavach, CONSENT))
    monkeypatch.setattr(approvals, "_ANSWER", approvals._ANSWER.replace("and status = 'pending'", ""))
    done = await _answer_at_once((kavach, await open_kavach()), approval_id)
    assert Counter(type(each) for each in done) == {Approval: 16}


# Time.


async def test_a_question_waits_for_an_hour_and_its_answer_holds_for_another(
    kavach: Kavach, clock: FrozenClock
) -> None:
    agent = await make_agent(kavach, CONSENT)
    first = await asked(kavach, agent)
    clock.advance(timedelta(hours=1, microseconds=-1))
    assert await asked(kavach, agent) == first
    approved = await kavach.approvals.approve(first, by="alice")
    assert approved.expires_at == clock.now + timedelta(hours=1)
    clock.advance(timedelta(hours=1, microseconds=-1))
    assert await ask(kavach, agent.token, PAY, **FIVE)
    second = await asked(kavach, agent)
    clock.advance("1h")
    assert (await kavach.approvals.get(second)).status == "expired"
    for answer in (kavach.approvals.approve(second, by="alice"), kavach.approvals.deny(second, by="alice")):
        with pytest.raises(FinalState) as late:
            await answer
        assert late.value.details == {"status": "expired"}
    third = await asked(kavach, agent)
    assert third != second
    await kavach.approvals.approve(third, by="alice")
    clock.advance("1h")
    fourth = await asked(kavach, agent)
    assert fourth != third and await statuses(kavach) == {"used": 1, "expired": 2, "pending": 1}


async def test_a_refusal_holds_as_long_and_asks_nobody_again(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    kavach = await open_kavach(approval_lifetime="5m")
    agent = await make_agent(kavach, CONSENT)
    approval_id = await asked(kavach, agent)
    clock.advance("4m")
    denied = await kavach.approvals.deny(approval_id, by="alice")
    assert denied.expires_at == clock.now + timedelta(minutes=5)
    clock.advance(timedelta(minutes=5, microseconds=-1))
    decision = await ask(kavach, agent.token, PAY, **FIVE)
    assert (decision.code, decision.approval_id) == ("APPROVAL_DENIED", approval_id)
    assert await asked(kavach, agent, arguments={"to": "carol"})  # another call is another question
    clock.advance(timedelta(microseconds=1))
    assert await asked(kavach, agent) != approval_id
    assert await statuses(kavach) == {"denied": 1, "pending": 2}


async def test_an_approval_survives_a_restart(kavach: Kavach, open_kavach: OpenKavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    approval_id = await asked(kavach, agent)
    await kavach.close()
    second = await open_kavach()
    await second.approvals.approve(approval_id, by="alice")
    await second.close()
    third = await open_kavach()
    assert (await ask(third, agent.token, PAY, **FIVE)).approval_id == approval_id


async def test_approvals_are_pruned_only_when_they_are_over(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, CONSENT)
    await asked(kavach, agent)
    assert await kavach.approvals.prune(before=clock.now + timedelta(hours=1)) == 0
    assert await kavach.approvals.prune(before=clock.now + timedelta(hours=1, microseconds=1)) == 1
    with pytest.raises(InvalidInput):
        await kavach.approvals.prune(before=clock.now.replace(tzinfo=None))


# Not too many.


async def _ask_much(both: tuple[Kavach, Kavach], agent: Agent, numbers: range) -> list[Decision]:
    """Different calls of one agent at once, in two processes."""
    return await asyncio.gather(
        *[ask(both[number % 2], agent.token, PAY, arguments={"n": number}) for number in numbers]
    )


async def test_the_same_check_catches_agents_that_are_not_locked_while_they_ask(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: two batches count the questions before either has asked."""
    meeting, count_pending = asyncio.Barrier(2), approvals.count_pending

    async def count_alone(tx: Transaction, project: str, owner_id: str, agent_id: bytes) -> tuple[int, int]:
        found = await count_pending(tx, project, owner_id, agent_id)
        await meeting.wait()
        return found

    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        both = await open_kavach(), await open_kavach()
        agent = await make_agent(both[0], CONSENT)
        await _ask_much(both, agent, range(19))
        lock_no_agent(monkeypatch)
        monkeypatch.setattr(approvals, "count_pending", count_alone)
        await _ask_much(both, agent, range(19, 21))
        assert await statuses(both[0]) == {"pending": 21}


async def test_at_most_20_questions_of_an_agent_wait(
    kavach: Kavach, open_kavach: OpenKavach, clock: FrozenClock
) -> None:
    """However many it asks at once, in two processes; another agent has 20 of its own."""
    both, agent = (kavach, await open_kavach()), await make_agent(kavach, CONSENT)
    decisions = await _ask_much(both, agent, range(30))
    assert Counter(decision.code.value for decision in decisions) == {"APPROVAL_REQUIRED": 20, "TOO_MANY_APPROVALS": 10}
    assert all((decision.approval_id is None) is (decision.code == "TOO_MANY_APPROVALS") for decision in decisions)
    assert await statuses(kavach) == {"pending": 20} and (await events(kavach)).count("approval.requested") == 20
    waiting = next(number for number, decision in enumerate(decisions) if decision.approval_id)
    assert await asked(kavach, agent, arguments={"n": waiting}) == decisions[waiting].approval_id
    assert await code(kavach, agent.token, PAY, arguments={"n": -1}) == "TOO_MANY_APPROVALS"
    assert await asked(kavach, await make_agent(kavach, CONSENT))
    await kavach.approvals.deny(decisions[waiting].approval_id or "", by="alice")
    assert await asked(kavach, agent, arguments={"n": -1})
    assert await code(kavach, agent.token, PAY, arguments={"n": -2}) == "TOO_MANY_APPROVALS"
    clock.advance("1h")  # those that nobody answered do not wait any more
    assert await asked(kavach, agent, arguments={"n": -2})


async def test_at_most_60_questions_wait_for_one_human_whoever_asks_them(
    kavach: Kavach, open_kavach: OpenKavach
) -> None:
    """Or an agent would ask on in the names of agents it makes."""
    both, root = (kavach, await open_kavach()), await make_agent(kavach, CONSENT)
    agents = [root, *[await kavach.agents.delegate(from_=root.id, permissions=[CONSENT]) for _ in range(3)]]
    for each in agents[:3]:
        await _ask_much(both, each, range(15))
    decisions = await asyncio.gather(*[_ask_much(both, each, range(15, 25)) for each in agents[1:]])
    codes = Counter(decision.code.value for each in decisions for decision in each)
    assert codes == {"APPROVAL_REQUIRED": 15, "TOO_MANY_APPROVALS": 15}
    assert await statuses(kavach) == {"pending": 60}
    assert await asked(kavach, await make_agent(kavach, CONSENT, owner_id="bob"))
    await kavach.agents.revoke(agents[1].id)  # nobody can answer its questions any more
    assert await asked(kavach, root, arguments={"n": -1})


async def test_an_approval_is_for_the_cost_the_human_was_told(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    ids = [(await ask(kavach, agent.token, PAY, cost=cost)).approval_id or "" for cost in (5, None)]
    assert [(await kavach.approvals.get(each)).cost for each in ids] == [5, None] and len({*ids}) == 2
    for each in ids:
        await kavach.approvals.approve(each, by="alice")
    assert await code(kavach, agent.token, PAY, cost=5000) == "APPROVAL_REQUIRED"
    assert [await code(kavach, agent.token, PAY, cost=cost) for cost in (5, None)] == ["ALLOWED"] * 2


async def test_calls_that_differ_in_a_secret_are_two_and_no_hash_tells_them_apart(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    first, second = [
        await kavach.approvals.get(await asked(kavach, agent, arguments={"pin_token": pin})) for pin in ("1", "2")
    ]
    assert first.id != second.id and first.arguments_hash == second.arguments_hash
    assert {entry.arguments_hash for entry in (await kavach.audit.query()).items} == {first.arguments_hash}


async def test_a_question_is_over_when_its_agent_has_ended_by_itself(kavach: Kavach, clock: FrozenClock) -> None:
    idle = await make_agent(kavach, CONSENT, ttl="1m")
    ends = await make_agent(kavach, CONSENT, expires_at=clock.now + timedelta(minutes=2))
    waiting = [await asked(kavach, each) for each in (idle, ends)]
    for minutes in (1, 2):
        clock.advance("1m")
        over = waiting[:minutes]
        assert [(await kavach.approvals.get(each)).status for each in over] == ["expired"] * minutes
        assert {each.id for each in await kavach.approvals.list(status="expired")} == {*over}
    assert not list(await kavach.approvals.list(status="pending"))


# Who.


async def test_a_question_of_an_agent_that_has_ended_cannot_be_answered(kavach: Kavach) -> None:
    revoked, suspended = await make_agent(kavach, CONSENT), await make_agent(kavach, CONSENT, owner_id="bob")
    first, second = await asked(kavach, revoked), await asked(kavach, suspended)
    await kavach.agents.revoke(revoked.id)
    await kavach.owners.suspend("bob")
    for approval_id, agent in ((first, revoked), (second, suspended)):
        with pytest.raises(FinalState) as ended:
            await kavach.approvals.approve(approval_id, by="alice")
        assert ended.value.details == {"agentId": agent.id}
    assert await statuses(kavach) == {"expired": 1, "pending": 1}, "a revoked agent comes never back"
    assert "approval.approved" not in await events(kavach)
    assert [each.id for each in await kavach.approvals.list(status="pending")] == [second]
    assert [each.id for each in await kavach.approvals.list(status="expired")] == [first]
    await kavach.owners.resume("bob")
    assert (await kavach.approvals.deny(second, by="bob")).status == "denied"


async def test_a_link_above_that_needs_an_approval_binds_those_below(kavach: Kavach) -> None:
    """Each is asked about in the name of the agent that calls, and needs one approval however many links want it."""
    root = await make_agent(kavach, CONSENT)
    child = await kavach.agents.delegate(from_=root.id, permissions=[PAY])
    leaf = await kavach.agents.delegate(from_=child.id, permissions=[CONSENT])
    named = {agent.id: await asked(kavach, agent) for agent in (root, child, leaf)}
    assert len(set(named.values())) == 3
    assert {approval.agent_id: approval.id for approval in await kavach.approvals.list()} == named
    await kavach.approvals.approve(named[child.id], by="alice")
    assert [await code(kavach, agent.token, PAY, **FIVE) for agent in (root, leaf, child, child)] == [
        *["APPROVAL_REQUIRED"] * 2,
        "ALLOWED",
        "APPROVAL_REQUIRED",
    ]


async def test_an_approval_follows_its_agent_to_a_new_owner_id(kavach: Kavach) -> None:
    approval_id = await asked(kavach, await make_agent(kavach, CONSENT))
    await kavach.owners.rename("alice", "usr-0001")
    assert (await kavach.approvals.get(approval_id)).owner_id == "usr-0001"
    assert [each.id for each in await kavach.approvals.list(owner_id="usr-0001")] == [approval_id]


async def test_approvals_are_listed_newest_first_by_agent_owner_and_status(kavach: Kavach, clock: FrozenClock) -> None:
    agents = [await make_agent(kavach, CONSENT, owner_id=owner) for owner in ("alice", "alice", "bob")]
    made = {
        status: await asked(kavach, agents[0], arguments={"n": status})
        for status in ("expired", "used", "approved", "denied")
    }
    clock.advance("30m")
    for status in ("used", "approved", "denied"):
        answer = kavach.approvals.deny if status == "denied" else kavach.approvals.approve
        await answer(made[status], by="alice")
    assert await ask(kavach, agents[0].token, PAY, arguments={"n": "used"})
    clock.advance("30m")
    made["pending"] = await asked(kavach, agents[0])
    others = [await asked(kavach, agent) for agent in agents[1:]]

    async def listed(**wanted: Any) -> list[str]:
        return [approval.id for approval in await kavach.approvals.list(**wanted)]

    assert await listed() == [others[1], others[0], *reversed(made.values())]
    assert await listed(owner_id="alice") == [others[0], *reversed(made.values())]
    assert await listed(owner_id="alice", agent_id=agents[2].id) == []
    for status, approval_id in made.items():
        assert await listed(agent_id=agents[0].id, status=status) == [approval_id]
    page = await kavach.approvals.list(limit=2, offset=1)
    assert ([approval.id for approval in page], page.total) == ([others[0], made["pending"]], 7)
    for wrong in ({"status": "open"}, {"owner_id": ""}, {"limit": -1}):
        with pytest.raises(InvalidInput):
            await listed(**wrong)


async def test_what_is_no_approval_is_refused(kavach: Kavach) -> None:
    approval_id = await asked(kavach, await make_agent(kavach, CONSENT))
    for nothing in ("apr_" + "0" * 32, "agt_" + "0" * 32, "x"):
        for use in (
            kavach.approvals.get(nothing),
            kavach.approvals.approve(nothing, by="alice"),
            kavach.approvals.deny(nothing, by="alice"),
            kavach.approvals.wait(nothing),
        ):
            with pytest.raises(NotFound):
                await use
    for nobody in ("", "a\x00", "a\ud800", "x" * 256):
        with pytest.raises(InvalidInput):
            await kavach.approvals.approve(approval_id, by=nobody)
    assert await statuses(kavach) == {"pending": 1}


# Waiting.


async def test_who_waits_is_told_when_somebody_answers_elsewhere(kavach: Kavach, open_kavach: OpenKavach) -> None:
    elsewhere = await open_kavach()
    approval_id = await asked(kavach, await make_agent(kavach, CONSENT))
    waiting = asyncio.create_task(kavach.approvals.wait(approval_id, timeout="30s"))
    await asyncio.sleep(0)
    given = await elsewhere.approvals.deny(approval_id, by="alice")
    assert await waiting == given
    assert await kavach.approvals.wait(approval_id) == given  # at once


async def test_who_waits_in_vain_is_told_how_it_stands(sqlite_kavach: Kavach, clock: FrozenClock) -> None:
    approval_id = await asked(sqlite_kavach, await make_agent(sqlite_kavach, CONSENT))
    assert (await sqlite_kavach.approvals.wait(approval_id, timeout="1s")).status == "pending"
    clock.advance("1h")
    assert (await sqlite_kavach.approvals.wait(approval_id)).status == "expired"
    with pytest.raises(InvalidInput):
        await sqlite_kavach.approvals.wait(approval_id, timeout="0s")


async def test_events_say_which_call_of_whose_agent(kavach: Kavach) -> None:
    agent = await make_agent(kavach, CONSENT)
    approval_id = await asked(kavach, agent)
    await kavach.approvals.approve(approval_id, by="key_of_the_desk")
    statement = "select subject, owner_id, data from kavach_events where project_id = $1 and type like $2 order by id"
    rows = await select(kavach, statement, kavach.config.project, "approval.%")
    assert [row[:2] for row in rows] == [(approval_id, "alice")] * 2
    assert agent.id in rows[0][2] and "payments" in rows[0][2] and "bob" not in rows[0][2]
    assert "key_of_the_desk" in rows[1][2]
