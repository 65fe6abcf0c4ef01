"""What a giver may hand on, as a pure function: from which source, how deep, until when."""

from __future__ import annotations

from typing import Any

import pytest

from kavach_core import Reason
from kavach_core.capabilities.delegation.policy import Settled, Terms, check_receiver, require_live, settle
from kavach_core.errors import (
    Cycle,
    FinalState,
    InvalidInput,
    KavachError,
    NotFound,
    OwnerSuspended,
    ProjectSuspended,
    TooDeep,
    Widens,
)
from kavach_core.primitives import ids
from kavach_core.primitives.clock import HOUR, NEVER
from tests.policy.world import NOON, World, id_of, kept


def terms(*permissions: Any, **more: Any) -> Terms:
    return Terms(permissions=tuple(kept(permissions)), **more)


def give(world: World, *permissions: Any, giver: int = 1, deepest: int = 9, **more: Any) -> Settled:
    return settle(world.facts(), id_of(giver), terms(*permissions, **more), deepest=deepest)


# The giver.


@pytest.mark.parametrize(
    "changes, error, reason",
    [
        ({"revoked_at": NOON - 1}, FinalState, Reason.AGENT_REVOKED),
        ({"expires_at": NOON}, FinalState, Reason.AGENT_EXPIRED),
        ({"idle_at": NOON}, FinalState, Reason.AGENT_IDLE),
        ({"founding_id": id_of(101)}, FinalState, Reason.CHAIN_CUT),
        ({"suspended_at": NOON - 1}, OwnerSuspended, Reason.OWNER_SUSPENDED),
    ],
)
def test_only_a_living_agent_gives(changes: dict[str, Any], error: type[KavachError], reason: Reason) -> None:
    world = World()
    world.agent(1, ["read:repos"], **changes)
    with pytest.raises(error) as refused:
        give(world, "read:repos")
    assert str(refused.value) == reason.sentence
    details = {"agentId": ids.AGENT.text(id_of(1)), "reason": reason.value}
    assert refused.value.details == (details if error is FinalState else {})


def test_nobody_gives_while_the_project_is_suspended_and_nobody_is_nobody() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    with pytest.raises(NotFound, match=r"There is no such agent\."):
        give(world, "read:repos", giver=2)
    assert require_live(world.facts(), id_of(1)).id == id_of(1)
    world.suspended_at = NOON - 1
    with pytest.raises(ProjectSuspended) as refused:
        give(world, "read:repos")
    assert str(refused.value) == Reason.PROJECT_SUSPENDED.sentence


def test_something_is_given() -> None:
    world = World()
    world.agent(1, ["read:repos"])
    with pytest.raises(InvalidInput) as refused:
        give(world)
    assert refused.value.details == {"field": "permissions"}
    assert str(refused.value) == "A delegation gives at least one permission."


# The source.


def test_the_source_is_the_givers_own_or_else_the_oldest_that_covers_all() -> None:
    """Never two together, and none that has ended."""
    world = World()
    for number in (1, 2, 3, 4):
        world.agent(number, ["read:repos", "read:issues", "write:repos"] if number > 1 else ["read:repos"])
    world.edge(101, 2, 1, ["read:issues"])
    world.edge(102, 3, 1, ["read:issues", "read:repos"])
    world.edge(103, 4, 1, ["read:issues", "read:repos", "write:repos"])
    own = give(world, "read:repos")
    assert (own.source_id, own.depth, [link.agent_id for link in own.path]) == (None, 1, [id_of(1)])
    assert give(world, "read:issues").source_id == id_of(101)
    both = give(world, "read:issues", "read:repos")
    assert (both.source_id, both.depth) == (id_of(102), 2)
    assert [link.agent_id for link in both.path] == [id_of(3), id_of(1)] and both.giver.id == id_of(1)
    world.end(102)
    assert give(world, "read:issues", "read:repos").source_id == id_of(103)
    with pytest.raises(Widens) as refused:
        give(world, "write:issues", "read:repos")
    assert str(refused.value) == "No single source of the giver covers all of this."
    assert refused.value.details == {
        "sources": [
            {"source": "own", "uncovered": (("issues", "write"),)},
            {"source": ids.DELEGATION.text(id_of(101)), "uncovered": (("issues", "write"), ("repos", "read"))},
            {"source": ids.DELEGATION.text(id_of(103)), "uncovered": (("issues", "write"),)},
        ]
    }


def test_a_constraint_that_is_left_out_is_inherited_and_one_that_is_looser_widens() -> None:
    world = World()
    rated: dict[str, Any] = {"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 5}}
    world.agent(1, [rated])
    assert give(world, "read:repos").source_id is None
    with pytest.raises(Widens):
        give(world, {**rated, "constraints": {"maxCallsPerHour": 6}})


def test_what_is_missing_is_shown_of_20_sources_and_20_pairs_at_most() -> None:
    world = World()
    world.agent(1)
    for number in range(25):
        world.agent(10 + number, ["read:a"])
        world.edge(100 + number, 10 + number, 1, ["read:a"])
    with pytest.raises(Widens) as refused:
        give(world, *[f"write:r{number}" for number in range(25)])
    sources: Any = refused.value.details["sources"]
    assert len(sources) == 20 and {len(each["uncovered"]) for each in sources} == {20}


# Depth.


@pytest.mark.parametrize(
    "asked, deepest, expected",
    [
        (None, 9, 3),  # the usual depth
        (None, 2, 2),
        (None, 3, 3),
        (1, 9, 1),
        (9, 9, 9),
        (10, 9, "Links of this chain may be at most 9 deep."),
        (0, 9, "This link would be 1 deep, 0 is the limit."),
    ],
)
def test_the_first_link_says_how_deep_its_chain_may_go(asked: int | None, deepest: int, expected: int | str) -> None:
    world = World()
    world.agent(1, ["read:repos"])
    _check_depth(world, 1, asked, deepest, (1, expected))


@pytest.mark.parametrize(
    "depth, limit, asked, deepest, expected",
    [
        (1, 4, None, 9, (2, 4)),
        (1, 4, 3, 9, (2, 3)),
        (1, 4, 2, 9, (2, 2)),
        (1, 4, 4, 9, (2, 4)),
        (1, 4, 5, 9, "Links of this chain may be at most 4 deep."),
        (1, 4, 1, 9, "This link would be 2 deep, 1 is the limit."),
        (3, 4, None, 9, (4, 4)),
        (4, 4, None, 9, "This link would be 5 deep, 4 is the limit."),
        (1, 9, None, 3, (2, 3)),
        (1, 9, 4, 3, "Links of this chain may be at most 3 deep."),
    ],
)
def test_a_link_below_may_only_lower_that(
    depth: int, limit: int, asked: int | None, deepest: int, expected: Any
) -> None:
    world = World()
    world.agent(1, ["read:repos"])
    world.agent(2)
    world.edge(101, 1, 2, ["read:repos"])
    world.edges[id_of(101)] = world.edges[id_of(101)]._replace(depth=depth, max_depth=limit)
    _check_depth(world, 2, asked, deepest, expected if isinstance(expected, tuple) else (0, expected))


def _check_depth(world: World, giver: int, asked: int | None, deepest: int, expected: tuple[int, int | str]) -> None:
    depth, limit = expected
    if isinstance(limit, int):
        settled = give(world, "read:repos", giver=giver, deepest=deepest, max_depth=asked)
        assert (settled.depth, settled.max_depth) == (depth, limit)
        return
    with pytest.raises(TooDeep) as refused:
        give(world, "read:repos", giver=giver, deepest=deepest, max_depth=asked)
    told = int("".join(each for each in limit.split(",")[-1] if each.isdigit()))
    assert (str(refused.value), refused.value.details) == (limit, {"maxDepth": told})


# The end.


@pytest.mark.parametrize(
    "asked, givers, sources, expected",
    [
        (NEVER, NEVER, NEVER, NEVER),
        (NOON + 1, NEVER, NEVER, NOON + 1),
        (NOON + HOUR, NOON + 2, NEVER, NOON + 2),
        (NOON + HOUR, NEVER, NOON + 3, NOON + 3),
        (NOON, NEVER, NEVER, None),
        (NOON - 1, NEVER, NEVER, None),
    ],
)
def test_a_delegation_ends_with_the_first_of_what_it_stands_on(
    asked: int, givers: int, sources: int, expected: int | None
) -> None:
    world = World()
    world.agent(1, ["read:repos"])
    world.agent(2, expires_at=givers)
    world.edge(101, 1, 2, ["read:repos"])
    world.edges[id_of(101)] = world.edges[id_of(101)]._replace(expires_at=sources)
    if expected is not None:
        assert give(world, "read:repos", giver=2, expires_at=asked).expires_at == expected
        return
    with pytest.raises(InvalidInput) as refused:
        give(world, "read:repos", giver=2, expires_at=asked)
    assert (str(refused.value), refused.value.details) == ("The end lies in the past.", {"field": "expiresAt"})


# The receiver.


def test_nobody_receives_who_gives_or_stands_above() -> None:
    world = World()
    for number in (1, 2, 3):
        world.agent(number, ["read:repos"] if number == 1 else [])
    world.edge(101, 1, 2, ["read:repos"])
    settled = give(world, "read:repos", giver=2)
    check_receiver(settled, id_of(3))
    for number in (1, 2):
        with pytest.raises(Cycle) as refused:
            check_receiver(settled, id_of(number))
        assert str(refused.value) == "The receiver is the giver or stands above it on this chain."
