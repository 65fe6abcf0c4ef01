"""Writing permissions: the two spellings, what is refused and where, and what matches."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
import sys
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kavach_core.primitives.permissions as grammar
from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions import (
    NO_CONSTRAINTS,
    AccessRequest,
    Constraints,
    Permission,
    parse_permission,
    parse_permissions,
)
from kavach_core.primitives.permissions.grammar import Pattern
from tests.policy.strategies import patterns, resources


def means(pattern: str, resource: str) -> bool:
    permission = Permission(resource=pattern, actions=["read"])
    return permission.matches(AccessRequest.of(action="read", resource=resource))


def slow_match(pattern: list[str], resource: list[str]) -> bool:
    """The grammar word by word."""
    if pattern == ["*"] and len(resource) > 0:
        return True
    return slow_walk(pattern, resource)


def slow_walk(pattern: list[str], resource: list[str]) -> bool:
    if pattern == ["**"]:
        return len(resource) >= 1
    if not pattern or not resource:
        return pattern == resource
    return pattern[0] in ("*", resource[0]) and slow_walk(pattern[1:], resource[1:])


def field_of(call: object) -> str | None:
    with pytest.raises(InvalidInput) as refused:
        call()  # type: ignore[operator]
    return refused.value.field


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("mcp:github:*", "mcp:github:repos", True),
        ("mcp:github:*", "mcp:github", False),
        ("mcp:github:*", "mcp:github:a:b:c", False),
        ("mcp:github:**", "mcp:github:a:b:c", True),
        ("mcp:github:**", "mcp:github", False),
        ("mcp:*:read", "mcp:x:delete", False),
        ("mcp:*:read", "mcp:x:read", True),
        ("mcp:*", "mcp", False),
        ("a", "a:b", False),
        ("a:b", "a", False),
        ("a:**", "a:b", True),
        ("*", "a", True),
        ("*", "a:b:c", True),
        ("**", "a:b:c", True),
        ("*:b", "a:b", True),
        ("*:b", "b", False),
        ("*:*", "a", False),
        ("*:**", "a", False),
        ("*:**", "a:b:c", True),
        ("A", "a", False),
        ("caf\u00e9", "cafe\u0301", False),
    ],
)
def test_what_a_pattern_means(pattern: str, resource: str, expected: bool) -> None:
    assert means(pattern, resource) is expected


@settings(max_examples=200)
@given(patterns, resources)
def test_matching_is_the_grammar_word_by_word(pattern: str, resource: str) -> None:
    assert means(pattern, resource) is slow_match(pattern.split(":"), resource.split(":"))


@pytest.mark.parametrize(
    "resource",
    [
        "", ":", "a::b", ":a", "a:", "git*", "mcp:git*", "*a", "a:***", "**:a", "a:**:b", "a:**:**",
        "a\n", "a\tb", "a\x00", "a\x7f", "a\x85", "a\u2028", "a\u2029", "a\ud800", " ", "\u200b", "a\u202eb",
        ":".join("a" * 33), "a" * 513, 7, None, ["a"], b"a",
    ],
)  # fmt: skip
def test_a_resource_that_is_refused(resource: object) -> None:
    assert field_of(lambda: Permission(resource=resource, actions=["read"])) == "resource"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "resource", [":".join("a" * 32), "a" * 512, "a b", "caf\u00e9:\U0001f600", "a\u200bb", "user@host,x"]
)
def test_a_resource_that_is_accepted(resource: str) -> None:
    assert Permission(resource=resource, actions=["read"]).resource == resource
    assert means(resource, resource)


@pytest.mark.parametrize(
    "action",
    [
        "",
        "a b",
        "a\n",
        "a\u00a0b",
        "a\u2003",
        "a\u202eb",
        "\u200b",
        "a:b",
        "a,b",
        "read*",
        "**",
        "a\x00",
        "a\ud800",
        "a" * 65,
        7,
        None,
        ["a"],
    ],
)
def test_an_action_that_is_refused(action: object) -> None:
    assert field_of(lambda: Permission(resource="a", actions=["read", action])) == "actions[1]"  # type: ignore[list-item]


def test_every_control_surrogate_separator_and_turn_of_direction_is_refused_and_nothing_else() -> None:
    refused, turning = {"Cc", "Cs", "Zl", "Zp"}, {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for code in itertools.chain(range(0x3000), range(0xD7F0, 0xE010), range(0xFFF0, 0x10010), [sys.maxunicode]):
        character = chr(code)
        if character in ":*":
            continue
        if unicodedata.category(character) in refused or unicodedata.bidirectional(character) in turning:
            with pytest.raises(InvalidInput):
                Permission(resource=f"a{character}", actions=["read"])
        else:
            assert Permission(resource=f"a{character}", actions=["read"])


@pytest.mark.parametrize("actions", [[], (), "read", None, {"read": True}, 7, ["read"] * 1001])
def test_actions_are_a_list_with_something_in_it(actions: object) -> None:
    assert field_of(lambda: Permission(resource="a", actions=actions)) == "actions"  # type: ignore[arg-type]


def test_a_permission_has_one_form_however_it_is_written() -> None:
    texts = parse_permission("read:repos:private")
    wire = parse_permission({"resource": "repos:private", "actions": ["read"], "constraints": None})
    built = Permission(resource="repos:private", actions=("read", "read"), constraints={})
    assert texts == wire == built == parse_permission(built)
    assert len({texts, wire, built}) == 1
    assert texts.to_wire() == {"resource": "repos:private", "actions": ["read"]}
    assert built.constraints is NO_CONSTRAINTS
    assert Permission(resource="a", actions=["write", "read"]).actions == ("read", "write")
    assert parse_permission("read:**").resource == "*"
    assert parse_permission("*:repos").actions == ("*",)


def test_the_wire_form_carries_constraints_only_if_there_are_any() -> None:
    wire = {"resource": "a:*", "actions": ["read"], "constraints": {"maxCallsPerHour": 0, "requireApproval": True}}
    assert parse_permission(wire).to_wire() == wire
    assert "constraints" not in parse_permission({**wire, "constraints": {"requireApproval": False}}).to_wire()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("read", "p"),
        ("*", "p"),
        ("", "p"),
        (":repos", "p"),
        ("read:", "p"),
        (None, "p"),
        (7, "p"),
        (["read:repos"], "p"),
        ({}, "p.actions"),
        ({"resource": "a"}, "p.actions"),
        ({"actions": ["read"]}, "p.resource"),
        ({"resource": "a", "actions": ["read"], "action": "x"}, "p"),
        ({"resource": "a", "actions": ["read"], 7: "x"}, "p"),
        ({"resource": "a", "actions": ["read", "b c"]}, "p.actions[1]"),
        ({"resource": "a", "actions": ["read"], "constraints": []}, "p.constraints"),
        (
            {"resource": "a", "actions": ["read"], "constraints": {"maxCallsPerHour": -1}},
            "p.constraints.maxCallsPerHour",
        ),
        (
            {"resource": "a", "actions": ["read"], "constraints": {"timeWindow": {"start": "09:00"}}},
            "p.constraints.timeWindow.end",
        ),
    ],
)
def test_a_refusal_names_the_place(value: object, field: str) -> None:
    assert field_of(lambda: parse_permission(value, field="p")) == field


def test_a_refusal_in_a_list_names_the_entry() -> None:
    assert field_of(lambda: parse_permissions(["read:a", "read:b", "read:c", {"resource": "", "actions": ["x"]}])) == (
        "permissions[3].resource"
    )


def test_a_stored_constraint_this_release_cannot_read_cannot_be_written() -> None:
    unreadable = Permission.trusted("a", ("read",), Constraints(unknown=["fromTheFuture"]))
    assert field_of(lambda: parse_permissions([unreadable])) == "permissions[0].constraints"


def test_exact_duplicates_are_one_and_the_order_stays() -> None:
    limited = {"resource": "a", "actions": ["read"], "constraints": {"maxCallsPerHour": 1}}
    parsed = parse_permissions(["write:b", "read:a", {"resource": "a", "actions": ["read"]}, limited, limited])
    assert [permission.resource for permission in parsed] == ["b", "a", "a"]
    assert parsed[2].constraints.max_calls_per_hour == 1


def test_pairs_of_resource_and_action_are_what_the_limit_counts() -> None:
    three = {"resource": "a", "actions": ["x", "y", "z"]}
    assert len(parse_permissions([three], limit=3)) == 1
    assert field_of(lambda: parse_permissions([three, "read:b"], limit=3)) == "permissions"
    assert len(parse_permissions([f"read:r{number}" for number in range(1000)])) == 1000


def test_too_many_are_refused_without_being_read() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"read:r{read}"

    assert field_of(lambda: parse_permissions([object()] * 10_000)) == "permissions"
    assert field_of(lambda: parse_permissions(endless(), limit=5)) == "permissions"
    assert read == 6


@pytest.mark.parametrize("values", ["read:repos", b"read", {"resource": "a"}, None, 7])
def test_permissions_are_a_list(values: object) -> None:
    assert field_of(lambda: parse_permissions(values)) == "permissions"  # type: ignore[arg-type]


def test_the_key_names_the_grant_and_not_the_spelling() -> None:
    one = parse_permission("read:a:*")
    same = Permission(resource="a:*", actions=["read", "read"], constraints={"requireApproval": False})
    others = [
        parse_permission("read:a:**"),
        parse_permission("write:a:*"),
        Permission(resource="a:*", actions=["read"], constraints={"requireApproval": True}),
        Permission(resource="a:*", actions=["read"], constraints={"ipAllowlist": ["10.0.0.0/8"]}),
    ]
    assert one.key == same.key
    assert len(one.key) == 16
    assert len({permission.key for permission in [one, *others]}) == 5


def test_the_key_stays_when_the_rate_changes() -> None:
    """What was counted goes on counting."""
    rates = [{}, *({"maxCallsPerHour": calls} for calls in (0, 1, 2))]
    assert len({Permission(resource="a", actions=["read"], constraints=rate).key for rate in rates}) == 1


def test_a_permission_cannot_be_changed_and_survives_copying() -> None:
    permission = Permission(
        resource="a", actions=["read"], constraints={"allowedArgPatterns": ["p=x*"], "ipAllowlist": ["::1"]}
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        permission.resource = "b"  # type: ignore[misc]
    for twin in (copy.deepcopy(permission), pickle.loads(pickle.dumps(permission)), dataclasses.replace(permission)):
        assert twin == permission
        assert twin.constraints.bindings == permission.constraints.bindings
    assert dataclasses.replace(permission.constraints, max_calls_per_hour=0).any


@pytest.mark.parametrize("resource", ["*", "a:*", "a:**", "git*", "", "a::b", "a\n", ":".join("a" * 33), None, 7])
def test_a_request_names_one_exact_resource(resource: object) -> None:
    assert field_of(lambda: AccessRequest.of(action="read", resource=resource)) == "resource"  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ["*", "", "a b", "a:b", None, 7])
def test_a_request_names_one_exact_action(action: object) -> None:
    assert field_of(lambda: AccessRequest.of(action=action, resource="a")) == "action"  # type: ignore[arg-type]


def test_the_arguments_of_a_request_are_an_object() -> None:
    assert field_of(lambda: AccessRequest.of(action="read", resource="a", arguments=["x"])) == "arguments"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("10.0.0.1", IPv4Address("10.0.0.1")),
        ("::ffff:10.0.0.1", IPv4Address("10.0.0.1")),
        (IPv6Address("::ffff:10.0.0.1"), IPv4Address("10.0.0.1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
        ("testclient", None),
        ("010.0.0.1", None),
        ("10.0.0.1:80", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_the_address_of_a_request(given: object, address: object) -> None:
    assert AccessRequest.of(action="read", resource="a", address=given).address == address  # type: ignore[arg-type]


@settings(max_examples=100)
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_accepted_or_refused_as_invalid_input(pattern: str, resource: str) -> None:
    try:
        means(pattern, resource)
    except InvalidInput as refused:
        assert refused.field == "resource"


#: All patterns of up to three segments and a tail, and what each matches among all resources of up to four. The letter
#: c stands in no pattern, so that a wildcard is more than the sum of the letters.
ALL_RESOURCES = [one for size in range(1, 5) for one in itertools.product("abc", repeat=size)]
ALL_PATTERNS = [
    Pattern.of(":".join((*fixed, *tail)))
    for size in range(4)
    for fixed in itertools.product("ab*", repeat=size)
    for tail in ((), ("**",))
    if fixed or tail
]
MATCHED = {one: frozenset(filter(one.matches, ALL_RESOURCES)) for one in ALL_PATTERNS}


def test_one_pattern_covers_another_exactly_if_it_matches_all_the_other_does() -> None:
    for one, other in itertools.product(ALL_PATTERNS, repeat=2):
        assert one.covers(other) is (MATCHED[one] >= MATCHED[other]), (one, other)


def test_two_patterns_meet_in_exactly_what_both_match() -> None:
    for one, other in itertools.product(ALL_PATTERNS, repeat=2):
        both = one.meet(other)
        assert (frozenset() if both is None else MATCHED[both]) == MATCHED[one] & MATCHED[other], (one, other)
        assert both is None or Pattern.of(both.resource) == both


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(grammar.__all__) == sorted(grammar.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(grammar, name) for name in grammar.__all__)
