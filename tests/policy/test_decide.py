"""The decision as a pure function: the cases, and properties over random grants."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core import Reason
from kavach_core.capabilities.authorize.policy import Stock, decide
from kavach_core.capabilities.limits import Window
from kavach_core.primitives.clock import MINUTE, to_micros
from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet
from tests.cases import Case, load
from tests.policy.strategies import permissions, requests
from tests.policy.world import NOON, World, ask, id_of


def _of_case(case: Case) -> tuple[World, AccessRequest]:
    world = World(to_micros(case.moment))
    world.agent(1, case.chain[0] if case.narrowed is None else case.narrowed)
    for depth, lent in enumerate(case.chain[1:], start=1):
        world.agent(depth + 1)
        world.edge(100 + depth, depth, depth + 1, lent, source=99 + depth if depth > 1 else None)
    return world, ask(case.ask, arguments=case.arguments, address=case.ip)


@pytest.mark.parametrize("case", load(), ids=str)
def test_decides_as_the_case_says(case: Case) -> None:
    world, request = _of_case(case)
    for _ in range(case.before):
        assert world.call(len(case.chain), request).reason is Reason.ALLOWED
    verdict = world.call(len(case.chain), request)
    assert verdict.reason.value == case.code
    assert len(verdict.path) == len(case.chain) or not verdict.grant


@pytest.mark.parametrize("case", [case for case in load() if len(case.chain[0]) > 1], ids=str)
def test_the_order_of_permissions_never_changes_a_case(case: Case) -> None:
    turned = Case(
        **{
            name: getattr(case, name) for name in ("name", "ask", "code", "narrowed", "arguments", "ip", "at", "before")
        },
        chain=[list(reversed(each)) for each in case.chain],
    )
    test_decides_as_the_case_says(turned)


#: Some permissions, and a request that at least the first of them means.
asked = st.lists(permissions(), min_size=1, max_size=6).flatmap(
    lambda some: st.tuples(st.just(some), requests(of=some[0]))
)


@given(asked=asked, order=st.randoms(use_true_random=False))
def test_the_order_of_permissions_never_changes_a_decision(
    asked: tuple[list[Permission], AccessRequest], order: Any
) -> None:
    given_, request = asked
    world, turned = World(), World()
    world.agent(1, given_)
    turned.agent(1, order.sample(given_, len(given_)))
    assert world.call(1, request) == turned.call(1, request)


@given(asked=asked, own=st.lists(permissions(), max_size=4))
def test_a_child_may_do_nothing_that_its_giver_may_not(
    asked: tuple[list[Permission], AccessRequest], own: list[Permission]
) -> None:
    """Whatever a damaged or outdated delegation says: each link of the path is asked."""
    lent, request_ = asked
    world = World()
    world.agent(1, own)
    world.agent(2)
    world.edge(101, 1, 2, lent)
    if world.call(2, request_).reason is Reason.ALLOWED:
        again = World()
        again.agent(1, own)
        assert again.call(1, request_).reason is Reason.ALLOWED


def test_a_rate_counts_per_grant_and_not_per_resource() -> None:
    world = World()
    world.agent(1, [{"resource": "repos:*", "actions": ["*"], "constraints": {"maxCallsPerHour": 2}}])
    asked = ["read:repos:a", "write:repos:b", "read:repos:c"]
    assert [world.call(1, ask(text)).reason.value for text in asked] == ["ALLOWED", "ALLOWED", "RATE_LIMITED"]


def test_rates_on_several_links_are_claimed_all_or_not_at_all() -> None:
    rate = {"resource": "repos", "actions": ["read"]}
    world = World()
    world.agent(1, [{**rate, "constraints": {"maxCallsPerHour": 1}}])
    world.agent(2)
    world.edge(101, 1, 2, [{**rate, "constraints": {"maxCallsPerHour": 5}}])
    allowed, refused = world.call(2, ask()), world.call(2, ask())
    assert len(allowed.rates) == 2 and refused.rates == ()
    assert refused.reason is Reason.RATE_LIMITED and refused.retry_after == 3600
    assert sorted(window.hour for window in world.windows.values()) == [1, 1]


def test_the_grant_that_passes_first_is_used_and_only_its_path_is_charged() -> None:
    """The own grant is full, the older delegation has room, the younger is not touched."""
    rated = [{"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 1}}]
    world = World()
    for number in (1, 2, 3):
        world.agent(number, rated)
    world.edge(101, 2, 1, rated)
    world.edge(102, 3, 1, rated)
    paths = [[link.agent_id for link in world.call(1, ask()).path] for _ in range(3)]
    assert paths == [[id_of(1)], [id_of(2), id_of(1)], [id_of(3), id_of(1)]]
    assert world.call(1, ask()).reason is Reason.RATE_LIMITED


@pytest.mark.parametrize("passed, room", [(58, False), (59, False), (60, True), (61, True)])
def test_a_rate_looks_at_the_current_minute_and_the_59_before(passed: int, room: bool) -> None:
    world = World()
    world.agent(1, [{"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 1}}])
    world.call(1, ask())
    world.now += passed * MINUTE
    world.windows = {key: Window(window.text, world.now) for key, window in world.windows.items()}
    assert (world.call(1, ask()).reason is Reason.ALLOWED) is room


def test_the_wait_is_the_time_until_one_more_call_fits() -> None:
    window = Window("", NOON)
    window.take(2)
    assert window.retry_after(2, NOON + 90 * 1_000_000) == 3600 - 90
    assert window.retry_after(0, NOON) == 3600


def test_another_grant_never_stands_in_for_a_cut_link() -> None:
    """Agent 2 has the same from agent 3 as well; what it handed on stands on agent 1's delegation alone."""
    world = World()
    for number, given_ in ((1, ["read:repos"]), (2, ()), (3, ["read:repos"]), (4, ())):
        world.agent(number, given_)
    world.edge(101, 1, 2, ["read:repos"])
    world.edge(102, 3, 2, ["read:repos"])
    world.edge(103, 2, 4, ["read:repos"], source=101)
    assert world.call(4, ask()).reason is Reason.ALLOWED
    world.end(101)
    assert world.call(2, ask()).reason is Reason.ALLOWED
    assert world.call(4, ask()).reason is Reason.DELEGATION_ENDED


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"revoked_at": NOON - 1, "expires_at": NOON - 1, "suspended_at": NOON - 1}, Reason.AGENT_REVOKED),
        ({"expires_at": NOON}, Reason.AGENT_EXPIRED),
        ({"expires_at": NOON + 1}, None),
        ({"idle_at": NOON}, Reason.AGENT_IDLE),
        ({"idle_at": NOON + 1}, None),
        ({"suspended_at": NOON - 1}, Reason.OWNER_SUSPENDED),
        ({"founding_id": id_of(101)}, None),
        ({"founding_id": id_of(999)}, Reason.CHAIN_CUT),
    ],
)
def test_an_agent_lives_until_it_ends(changes: dict[str, Any], code: Reason | None) -> None:
    world = World()
    world.agent(1, ["read:repos"])
    world.agent(2, **changes)
    world.edge(101, 1, 2, ["read:repos"])
    assert world.facts().agent_end(id_of(2)) is code


@pytest.mark.parametrize("cut", [101, 102, 103])
def test_a_chain_of_founding_delegations_is_cut_at_any_link(cut: int) -> None:
    world = World()
    world.agent(1, ["read:repos"])
    for depth in (1, 2, 3):
        world.agent(depth + 1, founding_id=id_of(100 + depth))
        world.edge(100 + depth, depth, depth + 1, ["read:repos"], source=99 + depth if depth > 1 else None)
    assert world.facts().agent_end(id_of(4)) is None
    world.end(cut)
    ends = [world.facts().agent_end(id_of(number)) for number in (1, 2, 3, 4)]
    assert ends == [None if number <= cut - 100 else Reason.CHAIN_CUT for number in (1, 2, 3, 4)]


def test_damaged_data_that_goes_in_circles_lives_nowhere() -> None:
    world = World()
    for number, founding in ((1, 102), (2, 101)):
        world.agent(number, founding_id=id_of(founding))
    world.edge(101, 1, 2, ["read:repos"], source=102)
    world.edge(102, 2, 1, ["read:repos"], source=101)
    facts = world.facts()
    assert {facts.agent_end(id_of(1)), facts.agent_end(id_of(2))} == {Reason.CHAIN_CUT}
    assert facts.path_of(id_of(101)) is None
    agent = world.agents[id_of(1)]
    assert decide(agent, ask(), facts, Stock({}, {})).reason is Reason.NOT_GRANTED


def test_delegations_that_stand_on_each_other_do_not_live() -> None:
    """Damaged data again: between agents that live."""
    world = World()
    for number in (1, 2):
        world.agent(number, ["read:repos"])
    world.edge(101, 1, 2, ["read:repos"], source=102)
    world.edge(102, 2, 1, ["read:repos"], source=101)
    assert [world.facts().edge_lives(id_of(number)) for number in (101, 102)] == [False, False]


@pytest.mark.parametrize(
    "changes, lives",
    [({}, True), ({"expires_at": NOON}, False), ({"expires_at": NOON + 1}, True), ({"revoked_at": NOON - 1}, False)],
)
def test_what_was_delegated_is_given_until_the_delegation_ends(changes: dict[str, Any], lives: bool) -> None:
    """The receiver lives on without it."""
    world = World()
    world.agent(1, ["read:repos"])
    world.agent(2)
    world.edge(101, 1, 2, ["read:repos"])
    world.edges[id_of(101)] = world.edges[id_of(101)]._replace(**changes)
    assert world.facts().edge_lives(id_of(101)) is lives and world.facts().credentials == {}
    assert world.call(2, ask()).reason is (Reason.ALLOWED if lives else Reason.DELEGATION_ENDED)


def test_what_is_not_on_record_does_not_live_and_gives_nothing() -> None:
    """An agent, a delegation, its giver, or the delegation it hands on."""
    world = World()
    world.agent(2)
    world.edge(101, 1, 2, ["read:repos"])
    world.edge(102, 2, 2, ["read:repos"], source=999)
    facts = world.facts()
    assert facts.agent_end(id_of(1)) is Reason.UNKNOWN_AGENT
    for missing in (101, 102, 999):
        assert not facts.edge_lives(id_of(missing)) and facts.path_of(id_of(missing)) is None
    assert world.call(2, ask()).reason is Reason.NOT_GRANTED


def test_a_delegation_whose_source_leads_to_another_agent_gives_nothing() -> None:
    """Damaged data: the giver never held what it is said to hand on."""
    world = World()
    for number in (1, 2, 3):
        world.agent(number, ["read:repos"] if number == 1 else [])
    world.edge(101, 1, 2, ["read:repos"])
    world.edge(102, 1, 3, ["read:repos"], source=101)
    assert world.facts().path_of(id_of(102)) is None
    assert world.call(3, ask()).reason is Reason.NOT_GRANTED


def test_an_unreadable_constraint_denies() -> None:
    world, digest = World(), bytes(32)
    world.sets[digest] = PermissionSet.from_body('repos\trepos\tread\t{"fromTheFuture":1}', digest)
    world.agent(1, permissions=digest)
    assert world.call(1, ask()).reason is Reason.UNKNOWN_CONSTRAINT


def test_times_of_the_cases_are_what_they_say() -> None:
    assert all(isinstance(case.moment, datetime) and case.moment.strftime("%H:%M") == case.at for case in load())
