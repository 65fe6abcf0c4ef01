"""Covering: what is covered never reaches further, for every constraint; what is missing; what two have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kavach_core.primitives.permissions import (
    AccessRequest,
    Constraints,
    Permission,
    PermissionSet,
    TimeWindow,
    covers,
    meet,
    parse_permission,
    uncovered,
)
from tests.policy.strategies import allows, inherited, instants, pairs, permissions, requests

Covers = Callable[[Permission, Permission], bool]


def under(**constraints: object) -> Permission:
    return Permission(resource="a", actions=["read"], constraints=Constraints(**constraints))  # type: ignore[arg-type]


def assert_sound(covers: Covers, *, examples: int = 300) -> None:
    """What a covered permission allows, the covering one allows."""

    @settings(max_examples=examples, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.data(), pairs, instants)
    def holds(data: st.DataObject, pair: tuple[Permission, Permission], now: int) -> None:
        held, asked = pair
        if covers(held, asked):
            request = data.draw(requests(of=asked))
            assert allows(held, request, now) or not allows(asked, request, now)

    holds()


def test_a_covered_permission_allows_nothing_that_the_covering_one_does_not() -> None:
    assert_sound(covers)


def by_prefix(held: Permission, asked: Permission) -> bool:
    """The comparison of the system the lessons come from: begin alike, and stop at the first star."""
    prefix = held.resource.split("*")[0].rstrip(":")
    return covers(_with(held, asked.resource), asked) and asked.resource.startswith(prefix)


def without_constraints(held: Permission, asked: Permission) -> bool:
    return covers(Permission(resource=held.resource, actions=held.actions), asked)


def taking_absent_as_inherited(held: Permission, asked: Permission) -> bool:
    """Right for a delegation, whose every link is checked; wrong for a permission that stands alone."""
    return covers(held, asked, inherit=True)


def _with(permission: Permission, resource: str) -> Permission:
    return Permission(resource=resource, actions=permission.actions, constraints=permission.constraints)


@pytest.mark.parametrize("wrong", [by_prefix, without_constraints, taking_absent_as_inherited])
def test_the_property_notices_a_wrong_comparison(wrong: Covers) -> None:
    with pytest.raises(AssertionError):
        assert_sound(wrong, examples=5_000)


@settings(max_examples=100)
@given(st.data(), pairs, instants)
def test_inheriting_is_sound_once_what_is_left_out_is_taken_over(
    data: st.DataObject, pair: tuple[Permission, Permission], now: int
) -> None:
    held, asked = pair
    if covers(held, asked, inherit=True):
        child = inherited(asked, held)
        assert covers(held, child)
        request = data.draw(requests(of=asked))
        assert allows(held, request, now) or not allows(child, request, now)


@settings(max_examples=80)
@given(permissions())
def test_everything_covers_itself_and_the_unlimited_covers_all(permission: Permission) -> None:
    assert covers(permission, permission)
    assert covers(Permission(resource="*", actions=["*"]), permission)
    bare = Permission(resource=permission.resource, actions=permission.actions)
    assert covers(permission, bare, inherit=True)
    assert covers(permission, bare) is not permission.constraints.any


@pytest.mark.parametrize(
    ("held", "asked", "expected"),
    [
        ("read:app", "read:app:*", False),
        ("read:app:*", "read:app", False),
        ("read:mcp:github", "read:mcp:github:*", False),
        ("read:mcp:*", "read:mcp:github", True),
        ("read:mcp:*", "read:mcp:**", False),
        ("read:mcp:**", "read:mcp:*", True),
        ("read:mcp:**", "read:mcp:*:**", True),
        ("read:mcp:*:**", "read:mcp:**", False),
        ("read:mcp:*:read", "read:mcp:x:*", False),
        ("read:*", "read:a:b:**", True),
        ("read:**", "read:*", True),
        ("read:*:*", "read:*", False),
        ("read:a", "*:a", False),
        ("*:a", "read:a", True),
    ],
)
def test_which_resources_and_actions_are_covered(held: str, asked: str, expected: bool) -> None:
    assert covers(parse_permission(held), parse_permission(asked)) is expected


DAY, NIGHT = {"start": "09:00", "end": "17:00"}, {"start": "22:00", "end": "06:00"}


@pytest.mark.parametrize(
    ("constraint", "held", "tighter", "wider"),
    [
        ("max_calls_per_hour", 5, [5, 1, 0], [6]),
        ("max_calls_per_hour", 0, [0], [1]),
        ("require_approval", True, [True], []),
        ("allowed_arg_patterns", ["p=/tmp/*"], [["p=/tmp/*"], ["p=/tmp/a/*", "p=/tmp/b?"], ["p=/tmp/*", "q=x"]], []),
        ("allowed_arg_patterns", ["p=/tmp/*"], [], [["p=*"], ["p=/tmp/*", "p=/var/*"], ["p=/tmp"], ["q=/tmp/*"]]),
        ("allowed_arg_patterns", ["p=a", "p=b", "q=*"], [["p=a", "q=x"]], [["p=a"], ["p=?", "q=x"]]),
        ("time_window", DAY, [DAY, {"start": "10:00", "end": "11:00"}], [{"start": "08:59", "end": "11:00"}, NIGHT]),
        ("time_window", NIGHT, [{"start": "23:00", "end": "01:00"}, {"start": "00:00", "end": "06:00"}], [DAY]),
        ("time_window", NIGHT, [], [{"start": "06:00", "end": "22:00"}, {"start": "23:00", "end": "22:30"}]),
        (
            "ip_allowlist",
            ["10.0.0.0/8"],
            [["10.0.0.0/8"], ["10.1.0.0/16", "10.2.2.2"]],
            [["10.0.0.0/7"], ["10.0.0.1", "::1"]],
        ),
        ("ip_allowlist", ["0.0.0.0/0"], [["::ffff:10.0.0.1"]], [["::/0"]]),
    ],
)
def test_each_constraint_may_be_tightened_and_not_widened(
    constraint: str, held: object, tighter: list[object], wider: list[object]
) -> None:
    parent = under(**{constraint: held})
    for inherit in (False, True):
        assert all(covers(parent, under(**{constraint: value}), inherit=inherit) for value in tighter)
        assert not any(covers(parent, under(**{constraint: value}), inherit=inherit) for value in wider)
        assert covers(parent, under(), inherit=inherit) is inherit
    assert covers(under(), parent)


def test_an_unknown_constraint_covers_nothing_and_is_covered_by_nothing() -> None:
    unreadable = Permission.trusted("a", ("read",), Constraints(unknown=["fromTheFuture"]))
    everything = Permission(resource="*", actions=["*"])
    for inherit in (False, True):
        assert not covers(unreadable, parse_permission("read:a"), inherit=inherit)
        assert not covers(everything, unreadable, inherit=inherit)
        assert not covers(unreadable, unreadable, inherit=inherit)
    assert meet(unreadable, everything) == ()


def test_what_is_missing_is_named_pair_by_pair() -> None:
    held = [parse_permission("read:a:*"), parse_permission("write:a:b")]
    asked = [Permission(resource="a:b", actions=["read", "write", "drop"]), parse_permission("write:a:*")]
    expected = (("a:b", "drop"), ("a:*", "write"))
    assert uncovered(held, asked) == uncovered(PermissionSet.of(held), asked) == expected
    assert uncovered([], asked[1:]) == (("a:*", "write"),)
    assert uncovered(held, []) == ()


def test_two_permissions_do_not_cover_together() -> None:
    halves = [
        under(time_window={"start": "00:00", "end": "12:00"}),
        under(time_window={"start": "12:00", "end": "00:00"}),
    ]
    assert uncovered(halves, [under()]) == (("a", "read"),)
    assert uncovered([parse_permission("read:a"), parse_permission("write:a")], [parse_permission("*:a")]) == (
        ("a", "*"),
    )


@settings(max_examples=80)
@given(st.lists(permissions(), max_size=6), permissions(), st.booleans())
def test_uncovered_is_covers_for_each_pair(held: list[Permission], asked: Permission, inherit: bool) -> None:
    by_hand = tuple(
        (asked.resource, action)
        for action in asked.actions
        if not any(
            covers(
                one,
                Permission(resource=asked.resource, actions=[action], constraints=asked.constraints),
                inherit=inherit,
            )
            for one in held
        )
    )
    assert uncovered(held, [asked], inherit=inherit) == by_hand


def _share_an_argument(one: Permission, other: Permission) -> bool:
    names = [{binding.argument for binding in permission.constraints.bindings} for permission in (one, other)]
    return bool(names[0] & names[1])


@settings(max_examples=100)
@given(st.data(), pairs, instants)
def test_two_permissions_meet_in_what_both_allow(
    data: st.DataObject, pair: tuple[Permission, Permission], now: int
) -> None:
    """Exactly, but for two globs on one argument, where it may be less."""
    one, other = pair
    both = meet(one, other)
    request = data.draw(requests(of=data.draw(st.sampled_from([one, other, *both]))))
    met = any(allows(permission, request, now) for permission in both)
    wanted = allows(one, request, now) and allows(other, request, now)
    assert met is wanted or (wanted and _share_an_argument(one, other))
    if covers(one, other):
        assert met is allows(other, request, now)


def test_meeting_takes_the_smaller_rate_and_any_approval_and_both_halves_of_the_night() -> None:
    one = under(max_calls_per_hour=5, time_window={"start": "22:00", "end": "06:00"})
    other = under(max_calls_per_hour=3, require_approval=True, time_window={"start": "05:00", "end": "23:00"})
    met = meet(one, other)
    assert {permission.constraints.time_window for permission in met} == {
        TimeWindow(start="05:00", end="06:00"),
        TimeWindow(start="22:00", end="23:00"),
    }
    assert {permission.constraints.max_calls_per_hour for permission in met} == {3}
    assert all(permission.constraints.require_approval for permission in met)
    assert meet(one, under(max_calls_per_hour=0))[0].constraints.max_calls_per_hour == 0
    for rates in ((2, 7), (7, 2)):
        (met_,) = meet(*(under(max_calls_per_hour=rate) for rate in rates))
        assert met_.constraints.max_calls_per_hour == 2


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (["p=/tmp/*"], ["p=/tmp/a"], ("p=/tmp/a",)),
        (["p=/tmp/*", "p=x"], ["p=*"], ("p=/tmp/*", "p=x")),
        (["p=a*"], ["p=*b"], None),
        (["p=a"], ["p=b"], None),
        (["p=a"], ["q=b"], ("p=a", "q=b")),
    ],
)
def test_globs_on_one_argument_meet_in_the_covered_one(
    one: list[str], other: list[str], kept: tuple[str, ...] | None
) -> None:
    for first, second in ((one, other), (other, one)):
        met = meet(under(allowed_arg_patterns=first), under(allowed_arg_patterns=second))
        assert [permission.constraints.allowed_arg_patterns for permission in met] == ([kept] if kept else [])


def test_meeting_networks_that_are_apart_leaves_nothing() -> None:
    assert meet(under(ip_allowlist=["10.0.0.0/8"]), under(ip_allowlist=["11.0.0.0/8", "::/0"])) == ()
    request = AccessRequest.of(action="read", resource="a", address="10.1.1.1")
    (both,) = meet(under(ip_allowlist=["10.0.0.0/8"]), under(ip_allowlist=["10.1.0.0/16", "::/0"]))
    assert allows(both, request, 0)
