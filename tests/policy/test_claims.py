"""The counted part of a decision as a pure function: approvals, rates, budgets and the human's rights mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core.capabilities.approvals.model import ApprovalStatus, OpenApproval, bind
from kavach_core.capabilities.authorize.explain import _REMEDIES, explain
from kavach_core.capabilities.authorize.model import Explanation
from kavach_core.capabilities.authorize.policy import Stock, choose, decide, is_usable, plan
from kavach_core.capabilities.budgets import Ledger
from kavach_core.capabilities.budgets.model import Holder
from kavach_core.primitives import ids
from kavach_core.primitives.clock import SECOND
from kavach_core.primitives.reasons import Reason
from tests.policy.strategies import permissions, requests
from tests.policy.world import NOON, World, ask, id_of, some

PENDING, APPROVED, DENIED = ApprovalStatus.PENDING, ApprovalStatus.APPROVED, ApprovalStatus.DENIED


def given_(**constraints: Any) -> dict[str, Any]:
    return {"resource": "repos", "actions": ["read"], "constraints": constraints}


CONSENT, FULL, RATED = given_(requireApproval=True), given_(maxCallsPerHour=0), given_(maxCallsPerHour=1)


# Which grant is used.


@dataclass(frozen=True)
class Grant:
    """One delegation into the agent, and what stands in its way."""

    approval: bool
    rate: str  # none, room, full
    budget: str  # none, room, warn, block, revoke: the last three have nothing left

    @property
    def refused(self) -> Reason | None:
        """Why it refuses a call for which there is no approval."""
        if self.approval:
            return Reason.APPROVAL_REQUIRED
        return self.refused_if_approved

    @property
    def refused_if_approved(self) -> Reason | None:
        if self.rate == "full":
            return Reason.RATE_LIMITED
        return Reason.BUDGET_EXCEEDED if self.budget in ("block", "revoke") else None

    @property
    def permission(self) -> dict[str, Any]:
        rate = {} if self.rate == "none" else {"maxCallsPerHour": 1 if self.rate == "room" else 0}
        return given_(**rate, **({"requireApproval": True} if self.approval else {}))


grants = st.builds(
    Grant,
    st.booleans(),
    st.sampled_from(["none", "room", "full"]),
    st.sampled_from(["none", "room", "warn", "block", "revoke"]),
)
answers = st.sampled_from([None, PENDING, APPROVED, DENIED, "expired"])


def _world(held: Sequence[Grant]) -> tuple[World, list[Ledger | None]]:
    """Agent 1 has nothing of its own, and each grant by a delegation from an agent that may do everything."""
    world, ledgers = World(), list[Ledger | None]()
    world.agent(1)
    for number, grant in enumerate(held):
        world.agent(10 + number, ["*:*"])
        world.edge(100 + number, 10 + number, 1, [grant.permission])
        action = grant.budget if grant.budget in ("warn", "revoke") else "block"
        holder = Holder.delegation(id_of(100 + number))
        terms = {"action": action}
        ledgers.append(
            None if grant.budget == "none" else world.budget(holder, 1 if grant.budget == "room" else 0, **terms)
        )
    return world, ledgers


@given(held=st.lists(grants, min_size=1, max_size=4), answer=answers)
def test_the_first_grant_that_passes_is_used_and_it_alone_pays(held: list[Grant], answer: Any) -> None:
    """And where none does the code is that of the one that came closest, and nothing is paid."""
    world, ledgers = _world(held)
    approval = _approval(answer)
    approved = answer is APPROVED
    refusals = [grant.refused_if_approved if approved else grant.refused for grant in held]
    if answer is DENIED:
        refusals = [Reason.APPROVAL_DENIED if each is Reason.APPROVAL_REQUIRED else each for each in refusals]
    verdict = world.call(1, ask(), approval=approval)
    spent = [0 if ledger is None else ledger.spent for ledger in ledgers]
    taken = sum(window.hour for window in world.windows.values())
    if None in refusals:
        winner = refusals.index(None)
        grant, ledger = held[winner], ledgers[winner]
        assert verdict.reason is Reason.ALLOWED and verdict.path[-1].edge_id == id_of(100 + winner)
        assert verdict.approval == (id_of(900) if grant.approval else None)
        assert spent == [int(place == winner and grant.budget != "none") for place in range(len(held))]
        assert taken == len(verdict.rates) == (grant.rate == "room")
        assert verdict.short == ((ledger,) if grant.budget == "warn" else ())
        assert [each.reason for each in verdict.tried] == [refusals[place] for place in range(winner)]
        return
    order = [Reason.APPROVAL_REQUIRED, Reason.APPROVAL_DENIED, Reason.RATE_LIMITED, Reason.BUDGET_EXCEEDED]
    expected = max((reason for reason in refusals if reason), key=order.index)
    assert verdict.reason is expected and len(verdict.tried) == len(held)
    assert spent == [0] * len(held) and taken == 0 and verdict.rates == () and verdict.budgets == ()
    refusing = [ledger for ledger, why in zip(ledgers, refusals, strict=True) if why is Reason.BUDGET_EXCEEDED]
    assert list(verdict.short) == refusing
    waits = expected in (Reason.RATE_LIMITED, Reason.BUDGET_EXCEEDED)
    assert (verdict.retry_after is not None) is waits
    asks = expected in (Reason.APPROVAL_REQUIRED, Reason.APPROVAL_DENIED) and answer in (PENDING, DENIED)
    assert verdict.approval == (id_of(900) if asks else None)


def _approval(answer: Any) -> OpenApproval | None:
    if answer is None:
        return None
    return some(APPROVED, lasts=0) if answer == "expired" else some(answer)


def test_of_the_permissions_of_a_link_one_that_needs_nothing_is_used_first() -> None:
    """Then one that is rated, then one that needs an approval: consent is not used up where it is not needed."""
    world = World()
    world.agent(1, [CONSENT, RATED, {"resource": "*", "actions": ["read"]}])
    free = world.call(1, ask(), approval=some(APPROVED))
    assert (free.approval, free.rates, free.grant and free.grant.resource) == (None, (), "*")
    world.agent(1, [CONSENT, {**RATED, "resource": "*"}])
    rated, approved = (world.call(1, ask(), approval=some(APPROVED)) for _ in range(2))
    assert (rated.approval, len(rated.rates), rated.grant and rated.grant.resource) == (None, 1, "*")
    assert (approved.approval, approved.rates, approved.grant and approved.grant.resource) == (id_of(900), (), "repos")
    assert world.call(1, ask()).reason is Reason.RATE_LIMITED


def test_an_approval_that_one_link_needs_is_not_used_up_for_another_that_has_room() -> None:
    """Each link is asked for the least: here the giver needs a human, and the receiver room in its rate."""
    world = World()
    world.agent(1, [CONSENT])
    world.agent(2)
    world.edge(101, 1, 2, [RATED, {**CONSENT, "resource": "*"}])
    first, second = (world.call(2, ask(), approval=some(APPROVED)) for _ in range(2))
    assert (first.grant and first.grant.resource, len(first.rates)) == ("repos", 1)
    assert (second.grant and second.grant.resource, second.rates) == ("*", ())


def test_who_has_an_approval_and_no_room_is_told_when_there_will_be() -> None:
    world = World()
    world.agent(1, [given_(maxCallsPerHour=1, requireApproval=True)])
    world.call(1, ask(), approval=some(APPROVED))
    refused = world.call(1, ask(), approval=some(APPROVED))
    assert (refused.reason, refused.retry_after, refused.approval) == (Reason.RATE_LIMITED, 3600, None)


def test_an_approval_is_needed_once_however_many_links_want_one() -> None:
    world = World()
    world.agent(1, [CONSENT], rights=[CONSENT])
    world.agent(2)
    world.edge(101, 1, 2, [CONSENT])
    assert world.call(2, ask()).reason is Reason.APPROVAL_REQUIRED
    assert world.call(2, ask(), approval=some(APPROVED)).approval == id_of(900)


@pytest.mark.parametrize(
    "approval, usable",
    [
        (None, False),
        (some(PENDING), False),
        (some(DENIED), False),
        (some(APPROVED, lasts=1), True),
        (some(APPROVED, lasts=0), False),
    ],
)
def test_an_approval_is_usable_until_it_expires(approval: OpenApproval | None, usable: bool) -> None:
    assert is_usable(approval, NOON) is usable
    world = World()
    world.agent(1, [CONSENT])
    verdict = world.call(1, ask(), approval=approval)
    assert (verdict.reason is Reason.ALLOWED) is usable


def test_a_refusal_that_has_expired_is_no_refusal() -> None:
    world = World()
    world.agent(1, [CONSENT])
    answers = [world.call(1, ask(), approval=some(DENIED, lasts=lasts)) for lasts in (1, 0)]
    assert [answer.reason for answer in answers] == [Reason.APPROVAL_DENIED, Reason.APPROVAL_REQUIRED]
    assert [answer.approval for answer in answers] == [id_of(900), None]


parts = st.tuples(
    st.binary(max_size=3),
    st.text("ab", max_size=3),
    st.text("ab", max_size=3),
    st.none() | st.binary(),
    st.none() | st.integers(0, 12),
)


@given(one=parts, other=parts)
def test_no_two_calls_share_an_approval(one: Any, other: Any) -> None:
    """No arguments at all are not distinguished from a hash of no length, which no arguments have."""
    same = (*one[:3], one[3] or None, one[4]) == (*other[:3], other[3] or None, other[4])
    assert (bind(*one) == bind(*other)) is same


def test_the_soonest_of_equal_refusals_is_told() -> None:
    world = World()
    world.agent(1)
    for number, per in enumerate(("day", "hour", "month")):
        world.agent(10 + number, ["*:*"])
        world.edge(100 + number, 10 + number, 1, ["read:repos"])
        world.budget(Holder.delegation(id_of(100 + number)), 0, per=per)
    verdict = world.call(1, ask())
    assert verdict.path[0].agent_id == id_of(11) and verdict.retry_after == 3600


def test_every_budget_that_refuses_is_named_whichever_came_closest() -> None:
    world = World()
    world.agent(1)
    ledgers: list[Ledger] = []
    for number in range(3):
        world.agent(10 + number, ["*:*"])
        world.edge(100 + number, 10 + number, 1, ["read:repos"])
        ledgers.append(world.budget(Holder.delegation(id_of(100 + number)), 0, per="hour" if number else "day"))
    assert world.call(1, ask()).short == tuple(ledgers)


def test_a_cost_is_refused_where_it_is_more_than_is_left_and_passes_where_it_is_none() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    world.budget(Holder.agent(id_of(1)), 3, measure="cost")
    codes = [world.call(1, ask(), cost=cost).reason.value for cost in (4, 3, 1, 0)]
    assert codes == ["BUDGET_EXCEEDED", "ALLOWED", "BUDGET_EXCEEDED", "ALLOWED"]
    facts = world.facts()
    stock = Stock({}, {Holder.agent(id_of(1)).raw: [Ledger(world.ledgers[Holder.agent(id_of(1)).raw][0].row, NOON)]})
    stock.ledgers[Holder.agent(id_of(1)).raw][0].take(3)
    agent = facts.agents[id_of(1)]
    assert decide(agent, ask(), facts, stock).reason is Reason.ALLOWED  # who says nothing of a cost has none
    assert choose(agent, plan(agent, ask(), facts), facts, stock).reason is Reason.ALLOWED


def test_who_must_wait_for_several_budgets_waits_for_the_last() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    for per in ("hour", "day"):
        world.budget(Holder.agent(id_of(1)), 0, per=per)
    world.budget(Holder.owner("alice"), 0, per="month", action="warn")
    assert world.call(1, ask()).retry_after == 12 * 3600


def test_who_may_never_call_is_told_to_wait_for_a_whole_hour() -> None:
    world = World()
    world.agent(1, [FULL])
    assert world.call(1, ask()).retry_after == 3600


def test_who_must_wait_for_one_of_several_rates_waits_for_the_first() -> None:
    world = World()
    world.agent(1, [{**RATED, "resource": "*"}, RATED])
    assert world.call(1, ask()).reason is Reason.ALLOWED
    world.now += 600 * SECOND
    for key, window in list(world.windows.items()):
        world.windows[key] = type(window)(window.text, world.now)
    assert world.call(1, ask()).reason is Reason.ALLOWED
    assert world.call(1, ask()).retry_after == 3000


# Budgets on a path.


def test_a_call_charges_what_hangs_on_its_path_and_on_nothing_else() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    for number in (2, 3, 4):
        world.agent(number)
    for number, (giver, receiver, source) in enumerate(((1, 2, None), (2, 3, 101), (1, 4, None)), start=101):
        world.edge(number, giver, receiver, ["read:repos"], source=source)
    on_path = [
        *(Holder.agent(id_of(number)) for number in (1, 2, 3)),
        *(Holder.delegation(id_of(number)) for number in (101, 102)),
        *(Holder.owner("alice"), Holder.project()),
    ]
    beside = [Holder.agent(id_of(4)), Holder.delegation(id_of(103)), Holder.owner("bob")]
    charged = [world.budget(holder, 9, measure=measure) for holder in on_path for measure in ("calls", "cost")]
    others = [world.budget(holder, 9) for holder in beside]
    assert len(world.call(3, ask(), cost=4).budgets) == len(charged)
    assert [ledger.spent for ledger in charged] == [1, 4] * len(on_path)
    assert [ledger.spent for ledger in others] == [0, 0, 0]


@pytest.mark.parametrize("full", range(7))
def test_a_check_that_fails_takes_nothing_from_those_that_pass(full: int) -> None:
    """Whichever of the rates and budgets of the path it is."""
    limits = [0 if place == full else 1 for place in range(7)]
    world = World()
    world.agent(1, [given_(maxCallsPerHour=limits[0])], rights=[given_(maxCallsPerHour=limits[1])])
    world.agent(2, rights=[given_(maxCallsPerHour=limits[1])])
    world.edge(101, 1, 2, [given_(maxCallsPerHour=limits[2])])
    holders = (Holder.agent(id_of(1)), Holder.delegation(id_of(101)), Holder.owner("alice"), Holder.project())
    ledgers = [world.budget(holder, limit) for holder, limit in zip(holders, limits[3:], strict=True)]
    verdict = world.call(2, ask())
    assert verdict.reason is (Reason.RATE_LIMITED if full < 3 else Reason.BUDGET_EXCEEDED)
    assert [ledger.spent for ledger in ledgers] == [0] * 4
    assert [window.hour for window in world.windows.values()] == [0] * 3


def test_facts_say_how_many_budgets_hang_on_what() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    world.agent(2)
    world.edge(101, 1, 2, ["read:repos"])
    holders = {
        **{Holder.agent(id_of(number)): number for number in (1, 2)},
        Holder.delegation(id_of(101)): 1,
        Holder.owner("alice"): 2,
        Holder.project(): 1,
    }
    assert not world.facts().any_budgets
    assert set(world.facts().budgets_by_holder().values()) == {0}
    for holder, number in holders.items():
        world.ledgers.clear()
        for _ in range(number):
            world.budget(holder, 1)
        assert world.facts().any_budgets
        noted = world.facts().budgets_by_holder()
        assert {raw: count for raw, count in noted.items() if count} == {holder.raw: number}


# What the human may do.


@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize(
    "rights, request_, reason",
    [
        (["read:repos"], ask(), Reason.ALLOWED),
        (["*:*"], ask(), Reason.ALLOWED),
        ([], ask(), Reason.OWNER_NOT_PERMITTED),
        (["write:repos", "read:repos:*"], ask(), Reason.OWNER_NOT_PERMITTED),
        ([given_(allowedArgPatterns=["q=a*"])], ask(), Reason.ARGUMENT_NOT_ALLOWED),
        ([given_(allowedArgPatterns=["q=a*"])], ask(arguments={"q": "ab"}), Reason.ALLOWED),
        ([given_(timeWindow={"start": "13:00", "end": "14:00"})], ask(), Reason.OUTSIDE_TIME_WINDOW),
        ([given_(ipAllowlist=["10.0.0.0/8"])], ask(address="192.0.2.1"), Reason.ADDRESS_NOT_ALLOWED),
        ([CONSENT], ask(), Reason.APPROVAL_REQUIRED),
        ([FULL], ask(), Reason.RATE_LIMITED),
        ([FULL, {"resource": "*", "actions": ["read"]}], ask(), Reason.ALLOWED),
    ],
)
def test_what_the_human_may_do_is_a_gate_for_every_path(
    rights: list[Any], request_: Any, reason: Reason, said: bool
) -> None:
    """As on record and as the app says, for the root as for those below; the path and the grant are the agent's."""
    world, told = World(), {"rights": rights} if said else {}
    world.agent(1, ["read:*"], rights=None if said else rights)
    world.agent(2, rights=None if said else rights, founding_id=id_of(101))
    world.edge(101, 1, 2, ["read:repos"])
    for number in (1, 2):
        verdict = world.call(number, request_, **told)
        assert verdict.reason is reason and len(verdict.path) == number
        assert (verdict.grant is None) is (reason is not Reason.ALLOWED)
        assert verdict.grant is None or verdict.grant.resource == ("*", "repos")[number - 1]


def test_both_what_is_on_record_and_what_the_app_says_must_allow() -> None:
    for recorded, said in product((["read:repos"], []), repeat=2):
        world = World()
        world.agent(1, ["read:repos"], rights=recorded)
        assert (world.call(1, ask(), rights=said).reason is Reason.ALLOWED) is bool(recorded and said)


def test_a_rate_of_the_human_is_one_for_their_agents_and_of_each_source_its_own() -> None:
    world = World()
    for number, owner in ((1, "alice"), (2, "alice"), (3, "bob")):
        world.agent(number, ["read:repos"], rights=[RATED], owner_id=owner)
    assert [world.call(number, ask()).reason.value for number in (1, 2, 3)] == ["ALLOWED", "RATE_LIMITED", "ALLOWED"]
    for number in (1, 2):
        world.agent(number, ["read:repos"])
    assert world.call(1, ask(), rights=[RATED]).reason is Reason.ALLOWED
    assert world.call(2, ask(), rights=[RATED]).reason is Reason.RATE_LIMITED


@given(
    rights=st.lists(permissions(), max_size=3),
    own=permissions().flatmap(lambda one: st.tuples(st.just(one), requests(of=one))),
)
def test_an_agent_may_what_its_human_would_be_let_through_for(rights: list[Any], own: Any) -> None:
    """Exactly then, of what it is granted: the gate is no looser and no tighter than a grant."""
    grant, request = own
    alone, human, both = World(), World(), World()
    alone.agent(1, [grant])
    human.agent(1, rights)
    both.agent(1, [grant], rights=rights)
    expected = all(world.call(1, request).reason is Reason.ALLOWED for world in (alone, human))
    assert (both.call(1, request).reason is Reason.ALLOWED) is expected


# Why not.


def _explained(world: World, number: int, request: Any = None, **more: Any) -> Explanation:
    request = request or ask()
    facts = world.facts()
    agent = facts.agents[id_of(number)]
    verdict = world.call(number, request, **more)
    return explain(agent, plan(agent, request, facts), verdict, verdict.reason, request)


def test_an_explanation_names_the_link_at_which_each_grant_stopped() -> None:
    """Those that were decided by counting first, in the order they were tried, then those that never came so far."""
    world = World()
    world.agent(1)
    for number, own in enumerate(([RATED], [CONSENT], ["read:repos"], ["write:repos"], ["read:repos"]), start=2):
        world.agent(number, own)
        world.edge(100 + number, number, 1, ["read:*"] if number < 6 else [given_(allowedArgPatterns=["q=a"])])
    world.agent(7, ["read:repos"])
    world.edge(107, 7, 1, ["read:repos"])
    world.end(107)
    world.budget(Holder.agent(id_of(4)), 0)
    for _ in range(2):
        why = _explained(world, 1)
    agents = {number: ids.AGENT.text(id_of(number)) for number in range(1, 7)}
    assert [(each.source, each.code.value, each.stopped_at) for each in why.looked_at] == [
        (ids.DELEGATION.text(id_of(102)), "RATE_LIMITED", agents[2]),
        (ids.DELEGATION.text(id_of(103)), "APPROVAL_REQUIRED", agents[3]),
        (ids.DELEGATION.text(id_of(104)), "BUDGET_EXCEEDED", None),
        ("own", "NOT_GRANTED", agents[1]),
        (ids.DELEGATION.text(id_of(105)), "CHAIN_NARROWED", agents[5]),
        (ids.DELEGATION.text(id_of(106)), "ARGUMENT_NOT_ALLOWED", agents[1]),
        (ids.DELEGATION.text(id_of(107)), "DELEGATION_ENDED", agents[1]),
    ]
    assert [[each.resource for each in looked.permissions] for looked in why.looked_at] == [
        *(["repos"], ["repos"], ["*"], [], [], ["repos"], ["repos"])
    ]
    assert why.closest is why.looked_at[2] and "budget" in why.would_pass


def test_an_explanation_of_an_allowed_call_tells_what_failed_before() -> None:
    world = World()
    world.agent(1, [FULL])
    world.agent(2, ["read:repos"])
    world.edge(101, 2, 1, ["read:repos"])
    why = _explained(world, 1)
    assert [(each.source, each.code.value) for each in why.looked_at] == [
        ("own", "RATE_LIMITED"),
        (ids.DELEGATION.text(id_of(101)), "ALLOWED"),
    ]
    assert why.closest is why.looked_at[1] and why.closest.stopped_at is None
    assert why.would_pass == "Nothing is missing."


@pytest.mark.parametrize(
    "rights, reason",
    [([], Reason.OWNER_NOT_PERMITTED), ([FULL], Reason.RATE_LIMITED), ([CONSENT], Reason.APPROVAL_REQUIRED)],
)
def test_an_explanation_names_the_human_at_whose_rights_it_stopped(rights: list[Any], reason: Reason) -> None:
    world = World()
    world.agent(1, ["read:repos"], rights=rights)
    why = _explained(world, 1)
    assert why.closest and (why.closest.code, why.closest.stopped_at) == (reason, "alice")
    assert len(why.closest.permissions) == len(rights)


def test_whoever_was_not_asked_about_grants_is_told_what_would_help() -> None:
    why = explain(None, None, None, Reason.AGENT_REVOKED, None)
    assert why == Explanation(looked_at=(), closest=None, would_pass="Create a new agent: revoked is final.")
    # What nothing can be done about is told as it is.
    unknown = explain(None, None, None, Reason.UNKNOWN_AGENT, None)
    assert unknown.would_pass == Reason.UNKNOWN_AGENT.sentence


def test_every_reason_that_something_can_be_done_about_says_what() -> None:
    about_credentials = {
        *(Reason.MALFORMED_CREDENTIAL, Reason.UNKNOWN_CREDENTIAL, Reason.KEY_ENDED, Reason.TEST_KEY_REFUSED),
        *(Reason.UNKNOWN_AGENT, Reason.TOO_MANY_REFUSALS, Reason.SETTLED),
    }
    assert set(_REMEDIES) == set(Reason) - about_credentials
