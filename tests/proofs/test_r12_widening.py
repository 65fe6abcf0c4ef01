"""R12: delegating never widens. What a child may do, everyone above it may do, and the human behind them all.

Chains are made by the rules of delegation from random permissions: wildcards, Unicode, globs, networks, time windows
that cross midnight, rates, approvals. Some givers are narrowed afterwards. Then random calls are decided for the child,
and where one is allowed for each agent above it and by the human's rights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import pytest

from kavach_core.capabilities.approvals.model import ApprovalStatus, OpenApproval
from kavach_core.capabilities.authorize import policy
from kavach_core.capabilities.authorize.policy import Stock, decide
from kavach_core.capabilities.delegation import Facts
from kavach_core.capabilities.delegation.policy import Terms, settle
from kavach_core.capabilities.limits import Window
from kavach_core.errors import Widens
from kavach_core.primitives.clock import DAY, MINUTE
from kavach_core.primitives.permissions import (
    AccessRequest,
    Constraints,
    Permission,
    PermissionSet,
    TimeWindow,
    uncovered,
)
from kavach_core.primitives.reasons import Reason
from tests.policy.strategies import ADDRESSES, NETWORKS
from tests.policy.world import World, id_of

#: Some look alike: composed and decomposed, sharp s and its capital form, two scripts.
SEGMENTS = ("a", "b", "ß", "SS", "\u00e9", "e\u0301", "名", "🦊")
ACTIONS = ("read", "Read", "écrire", "*")
ARGUMENTS = ("path", "größe")
GLOBS = ("*", "a*", "ab*", "*b", "a?", "é*", "ab")
TEXTS = ("a", "ab", "abb", "b", "é", "e\u0301", "")
CALLS_PER_CHAIN = 25

Uncovered = Callable[..., Sequence[Any]]


class Widened(AssertionError):
    """A child may do what somebody above it may not."""


class Found(NamedTuple):
    """How many calls were looked at, and how many of them the child was allowed."""

    calls: int
    allowed: int


class Fresh(dict[bytes, Window]):
    """Counters that nothing was taken from."""

    def __missing__(self, key: bytes) -> Window:
        return Window("", 0)


def look_for_widening(calls: int, seed: int, *, uncovered: Uncovered = uncovered) -> Found:
    """Decide so many calls, and raise `Widened` at the first that a child may do and somebody above it may not."""
    chance, allowed, looked = Random(seed), 0, 0
    while looked < calls:
        world, depth, rights = make_chain(chance)
        facts, held = world.facts(), [*world.edges.values()]
        for _ in range(min(CALLS_PER_CHAIN, calls - looked)):
            looked += 1
            # Nothing here ends, so that what is remembered of life and paths holds at any time.
            facts.now = chance.randrange(DAY // MINUTE) * MINUTE
            lent = world.sets[held[-1].permissions]
            request = make_request(chance, chance.choice([*lent]))
            check_covering(world, depth, request, facts.now, uncovered)
            if not may(facts, depth, request):
                continue
            allowed += 1
            above = [number for number in range(1, depth) if not may(facts, number, request)]
            human = rights is None or any(_allows(each, request, facts.now) for each in rights)
            if above or not human:
                raise Widened(f"seed {seed}, call {looked}: {request} at {facts.now}, not allowed to {above}, {human}")
    return Found(looked, allowed)


def may(facts: Facts, number: int, request: AccessRequest) -> bool:
    """Whether an agent is allowed a call that a human agreed to and that nothing was counted for yet."""
    agreed = OpenApproval(bytes(16), b"", ApprovalStatus.APPROVED, facts.now + 1)
    verdict = decide(facts.agents[id_of(number)], request, facts, Stock(Fresh(), {}), approval=agreed)
    return verdict.reason is Reason.ALLOWED


def check_covering(world: World, depth: int, request: AccessRequest, now: int, uncovered: Uncovered) -> None:
    """Where one set is found to cover the next whole, it lets through what that one lets through, by itself."""
    sets = [
        world.sets[world.agents[id_of(1)].permissions],
        *(world.sets[edge.permissions] for edge in world.edges.values()),
    ]
    for above, below in pairwise(sets):
        passes = any(_allows(each, request, now) for each in below)
        if passes and not uncovered(above, below) and not any(_allows(each, request, now) for each in above):
            raise Widened(f"{[*above]} was found to cover {[*below]}, at {request}")


def _allows(permission: Permission, request: AccessRequest, now: int) -> bool:
    """Resource, action and the constraints that need no memory."""
    return permission.matches(request) and permission.constraints.violated(request, now) is None


# Chains.


def make_chain(chance: Random) -> tuple[World, int, PermissionSet | None]:
    """Agents 1 to the depth, each by what the one before lends it, and the rights of their human."""
    world, depth = World(now=0), 1
    rights = _some(chance, 3) if chance.random() < 0.5 else None
    first = _some(chance, 3)
    if rights is not None and chance.random() < 0.7:
        first = [_narrowed(chance, each) for each in rights]
    world.agent(1, first, rights=rights)
    while depth < 6 and (depth == 1 or chance.random() < 0.7):
        above = [*(world.sets[world.edges[id_of(99 + depth)].permissions] if depth > 1 else PermissionSet.of(first))]
        lent = [_narrowed(chance, chance.choice(above)) for _ in range(chance.randint(1, 2))]
        try:
            settle(world.facts(), id_of(depth), Terms(permissions=tuple(lent), max_depth=9), deepest=9)
        except Widens:
            lent = above
        depth += 1
        world.agent(depth, rights=rights)
        world.edge(98 + depth + 1, depth - 1, depth, lent, source=98 + depth if depth > 2 else None)
    if chance.random() < 0.2:
        world.agent(1, [_narrowed(chance, each) for each in first[:2]], rights=rights)
    return world, depth, None if rights is None else PermissionSet.of(rights)


def _some(chance: Random, most: int) -> list[Permission]:
    return [_any(chance) for _ in range(chance.randint(1, most))]


def _any(chance: Random) -> Permission:
    fixed = [chance.choice([*SEGMENTS, "*", "*", "*"]) for _ in range(chance.randint(1, 3))]
    resource = chance.choice([":".join(fixed), ":".join([*fixed, "**"]), "*"])
    return _permission(
        resource if resource != "*:**" else "*", chance.sample(ACTIONS, chance.randint(1, 2)), _bound(chance)
    )


def _permission(resource: str, actions: Sequence[str], constraints: dict[str, Any]) -> Permission:
    return Permission(resource=resource, actions=tuple(actions), constraints=Constraints(**constraints))


def _bound(chance: Random) -> dict[str, Any]:
    """Any constraints, most of them absent."""
    found: dict[str, Any] = {
        "max_calls_per_hour": chance.randint(0, 3),
        "allowed_arg_patterns": [f"{chance.choice(ARGUMENTS)}={chance.choice(GLOBS)}"],
        "require_approval": True,
        "time_window": _window(chance),
        "ip_allowlist": chance.sample(NETWORKS, 2),
    }
    return {name: value for name, value in found.items() if chance.random() < 0.15}


def _window(chance: Random) -> TimeWindow:
    start, end = chance.sample(range(96), 2)
    return TimeWindow(start=f"{start // 4:02}:{start % 4 * 15:02}", end=f"{end // 4:02}:{end % 4 * 15:02}")


def _narrowed(chance: Random, given: Permission) -> Permission:
    """A permission that mostly is one of the given one's parts, and sometimes another."""
    if chance.random() < 0.1:
        return _any(chance)
    actions = [chance.choice(ACTIONS[:3])] if "*" in given.actions and chance.random() < 0.7 else given.actions
    kept = {
        "max_calls_per_hour": given.constraints.max_calls_per_hour,
        "allowed_arg_patterns": given.constraints.allowed_arg_patterns,
        "require_approval": given.constraints.require_approval or None,
        "time_window": given.constraints.time_window,
        "ip_allowlist": given.constraints.ip_allowlist,
    }
    stated = {name: value for name, value in kept.items() if value is not None and chance.random() < 0.6}
    return _permission(_inside(chance, given.resource), actions, {**stated, **_bound(chance)})


def _inside(chance: Random, resource: str) -> str:
    """A resource, or pattern of some, that a pattern reaches."""
    if resource == "*":
        return chance.choice(["*", *SEGMENTS, f"{chance.choice(SEGMENTS)}:**", f"*:{chance.choice(SEGMENTS)}"])
    parts: list[str] = []
    for part in resource.split(":"):
        if chance.random() < 0.4 or part not in ("*", "**"):
            parts.append(part)
        elif part == "*":
            parts.append(chance.choice(SEGMENTS))
        else:
            parts += [chance.choice([*SEGMENTS, "*"]) for _ in range(chance.randint(1, 2))]
    return "*" if parts == ["**"] else ":".join(parts)


def make_request(chance: Random, given: Permission) -> AccessRequest:
    """A call that a permission means, more or less."""
    resource = _filled(chance, given.resource)
    if chance.random() < 0.05:
        resource = _filled(chance, "*")
    action = chance.choice(given.actions)
    return AccessRequest.of(
        action=chance.choice(ACTIONS[:3]) if action == "*" else action,
        resource=resource,
        arguments={name: chance.choice(TEXTS) for name in ARGUMENTS if chance.random() < 0.9},
        address=chance.choice(ADDRESSES),
    )


def _filled(chance: Random, pattern: str) -> str:
    parts: list[str] = []
    for part in ["**"] if pattern == "*" else pattern.split(":"):
        if part == "**":
            parts += [chance.choice(SEGMENTS) for _ in range(chance.randint(1, 2))]
        else:
            parts.append(chance.choice(SEGMENTS) if part == "*" else part)
    return ":".join(parts)


# The proof, and what it would catch.


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", [4_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_what_a_child_may_do_everyone_above_it_may_do(calls: int, figure: Callable[[str], None]) -> None:
    found = look_for_widening(calls, seed=12)
    assert found.calls == calls and found.allowed > calls // 10
    figure(f"R12 delegations that widened: 0 in {found.calls} calls of random chains, {found.allowed} of them allowed")


def _asks_the_last_link_alone(path: Any, gates: Any, request: AccessRequest, facts: Facts) -> Any:
    return _try(path[-1:], gates, request, facts)


def _asks_no_human(path: Any, gates: Any, request: AccessRequest, facts: Facts) -> Any:
    return _try(path, (), request, facts)


_try = policy._try


@pytest.mark.parametrize("broken", [_asks_the_last_link_alone, _asks_no_human])
def test_a_decision_that_leaves_somebody_out_is_caught(monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    """The negative control."""
    monkeypatch.setattr(policy, "_try", broken)
    with pytest.raises(Widened):
        look_for_widening(4_000, seed=12)


def _covers_after_a_star(held: Iterable[Permission], asked: Iterable[Permission]) -> Sequence[Permission]:
    """What a matcher says that answers yes at the first `*` and ignores the rest."""

    def covers(one: Permission, other: Permission) -> bool:
        head = one.resource.partition("*")[0]
        return other.resource.startswith(head) and set(other.actions) <= set(one.actions)

    return [each for each in asked if not any(covers(one, each) for one in held)]


def test_a_comparison_that_stops_at_a_star_is_caught() -> None:
    """The negative control of the grammar."""
    with pytest.raises(Widened):
        look_for_widening(4_000, seed=12, uncovered=_covers_after_a_star)
