"""Permission sets: named by content, searched line by line, and equal to looking at every permission."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet, parse_permission
from kavach_core.primitives.reasons import Reason
from tests.policy.strategies import permissions, requests


def asking(action: str, resource: str) -> AccessRequest:
    return AccessRequest.of(action=action, resource=resource)


@settings(max_examples=70)
@given(st.data(), st.lists(permissions(), max_size=12))
def test_matching_finds_what_looking_at_every_permission_finds(data: st.DataObject, listed: list[Permission]) -> None:
    request = data.draw(requests(of=data.draw(st.sampled_from([None, *listed]))))
    made = PermissionSet.of(listed)
    read = PermissionSet.from_body(made.body, made.digest)
    by_hand = {permission for permission in listed if permission.matches(request)}
    for permission_set in (made, read, read):
        found = permission_set.matching(request)
        assert set(found) == by_hand
        assert len(found) == len(by_hand)


def test_a_set_tells_how_large_it_is_and_which_it_is() -> None:
    made = PermissionSet.of([parse_permission("read:repos")])
    assert repr(made) == f"<PermissionSet of 1, {made.digest.hex()[:12]}>"
    assert made == PermissionSet.of([parse_permission("read:repos")]) != PermissionSet.of([]) and made != made.digest


@settings(max_examples=60)
@given(st.lists(permissions(), max_size=8), st.randoms())
def test_a_set_is_its_content_however_it_was_listed(listed: list[Permission], random: object) -> None:
    made = PermissionSet.of(listed)
    shuffled = [*listed, *listed]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = PermissionSet.of(shuffled)
    assert again == made
    assert hash(again) == hash(made)
    assert made.digest == hashlib.sha256(made.body.encode()).digest()
    read = PermissionSet.from_body(made.body, made.digest)
    assert set(read) == set(listed)
    assert list(read) == list(made)
    assert PermissionSet.of(read).body == made.body
    assert len(read) == len(set(listed))
    assert read.pairs == sum(len(permission.actions) for permission in set(listed))


def test_the_body_is_sorted_lines_of_prefix_resource_actions_and_constraints() -> None:
    listed = [
        Permission(
            resource="repos:*:x", actions=["write", "read"], constraints={"requireApproval": True, "maxCallsPerHour": 2}
        ),
        parse_permission("read:*"),
        parse_permission("read:repos:private"),
    ]
    assert PermissionSet.of(listed).body.split("\n") == [
        "\t*\tread\t",
        'repos\trepos:*:x\tread,write\t{"maxCallsPerHour":2,"requireApproval":true}',
        "repos:private\trepos:private\tread\t",
    ]


def test_the_empty_set_grants_nothing() -> None:
    empty = PermissionSet.of([])
    read = PermissionSet.from_body("", empty.digest)
    for nothing in (empty, read):
        assert nothing.is_empty
        assert (len(nothing), nothing.pairs, list(nothing)) == (0, 0, [])
        assert nothing.matching(asking("read", "a")) == ()
    assert not PermissionSet.of([parse_permission("read:a")]).is_empty


def test_another_set_has_another_digest() -> None:
    sets = [
        PermissionSet.of([parse_permission(text)]) for text in ("read:a", "write:a", "read:a:*", "read:a:**", "read:b")
    ]
    assert len({permission_set.digest for permission_set in sets}) == 5


def test_only_the_lines_a_request_can_mean_are_parsed() -> None:
    body = "a\ta\tread\t\nb\tthis line would not parse\nc\tc\tread\t"
    damaged = PermissionSet.from_body(body, b"")
    assert [found.resource for found in damaged.matching(asking("read", "a"))] == ["a"]
    assert [found.resource for found in damaged.matching(asking("read", "c"))] == ["c"]
    with pytest.raises(ValueError, match="unpack"):
        damaged.matching(asking("read", "b"))


def test_only_the_patterns_that_are_literal_where_the_request_is_are_compared() -> None:
    listed = [
        parse_permission(text) for i in range(1000) for text in (f"read:*:x{i}", f"read:a:b{i}:**", f"act{i}:c:*")
    ]
    permission_set = PermissionSet.of(listed)
    for action, resource in (("read", "z:x7"), ("read", "a:b7:c"), ("act7", "c:d")):
        request = asking(action, resource)
        assert len(permission_set.reaching(request.prefixes, request.segments, action)) == 1
        assert len(permission_set.matching(request)) == 1


def test_requests_cannot_make_a_set_grow() -> None:
    permission_set = PermissionSet.of([parse_permission("read:a:*"), parse_permission("read:b")])
    for number in range(100):
        permission_set.matching(asking("read", f"a:x{number}:y{number}"))
    assert len(permission_set._buckets) == 1


def test_a_segment_with_low_characters_does_not_hide_its_neighbours() -> None:
    """Space, dash and dot sort before the colon, the tab before all of them."""
    texts = ["read:a", "read:a b", "read:a-b:*", "read:a.b", "read:a:b", "read:a!:**", "read:a\u00e9"]
    permission_set = PermissionSet.of(map(parse_permission, texts))
    for resource in ("a", "a b", "a-b:x", "a.b", "a:b", "a!:x:y", "a\u00e9"):
        assert len(permission_set.matching(asking("read", resource))) == 1


@pytest.mark.parametrize(
    "stored", ['{"fromTheFuture":1}', '{"fromTheFuture":null}', "not json", "[]", '{"maxCallsPerHour":"5"}']
)
def test_a_stored_constraint_that_cannot_be_read_denies(stored: str) -> None:
    request = asking("read", "a")
    (found,) = PermissionSet.from_body(f"a\ta\tread\t{stored}", b"").matching(request)
    assert found.constraints.violated(request, 0) is Reason.UNKNOWN_CONSTRAINT
    (again,) = PermissionSet.of([found]).matching(request)
    assert again.constraints.violated(request, 0) is Reason.UNKNOWN_CONSTRAINT


@pytest.mark.parametrize("resource", ["a*", "a:**:b", "a:b*", "{a,b}"])
def test_stored_syntax_that_this_release_does_not_know_matches_nothing(resource: str) -> None:
    permission_set = PermissionSet.from_body(f"a\t{resource}\tread\t", b"")
    for asked in ("a", "ab", "a:b", "a:b:b", "a:x:b", "a:bc"):
        assert permission_set.matching(asking("read", asked)) == ()


def test_the_size_bounds_what_a_used_set_holds() -> None:
    listed = [
        Permission(resource=f"app:thing{i}", actions=["read", "write"], constraints={"maxCallsPerHour": i})
        for i in range(300)
    ]
    body = PermissionSet.of(listed).body
    tracemalloc.start()
    try:
        used = PermissionSet.from_body("".join(list(body)), b"")
        for i in range(300):
            used.matching(asking("read", f"app:thing{i}"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < used.size < 3 * held
