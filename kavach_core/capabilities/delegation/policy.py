"""What a giver may hand on: from which source, how deep, until when. Facts in, terms out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kavach_core.capabilities.delegation.facts import AgentFacts, Edge, Facts, Path
from kavach_core.errors import (
    Cycle,
    FinalState,
    InvalidInput,
    NotFound,
    OwnerSuspended,
    ProjectSuspended,
    TooDeep,
    Widens,
)
from kavach_core.primitives import ids
from kavach_core.primitives.clock import NEVER
from kavach_core.primitives.permissions import Permission, uncovered
from kavach_core.primitives.reasons import Reason

DEFAULT_DEPTH: Final = 3
MOST_PAIRS: Final = 200
MOST_INTO: Final = 100
MOST_OUT_OF: Final = 1000
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked for."""

    permissions: tuple[Permission, ...]
    expires_at: int = NEVER
    max_depth: int | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is given: the source, and the terms clamped to it."""

    giver: AgentFacts
    source_id: bytes | None
    path: Path
    depth: int
    max_depth: int
    expires_at: int


def settle(facts: Facts, giver_id: bytes, terms: Terms, *, deepest: int) -> Settled:
    """Choose the source and clamp the terms: own permissions first, else the oldest delegation that covers all.

    Raises `NotFound` or `FinalState` for the giver, `InvalidInput` for empty permissions, `Widens` if no one source
    covers every asked pair, `TooDeep` past the depth limit.
    """
    giver = require_live(facts, giver_id)
    if not terms.permissions:
        raise InvalidInput("A delegation gives at least one permission.", field="permissions")
    source_id, path = _choose_source(facts, giver, terms.permissions)
    source = None if source_id is None else facts.edges[source_id]
    depth, max_depth = _settle_depth(source, terms.max_depth, deepest)
    ends = [terms.expires_at, giver.expires_at] + ([] if source is None else [source.expires_at])
    if min(ends) <= facts.now:
        raise InvalidInput("The end lies in the past.", field="expiresAt")
    return Settled(giver=giver, source_id=source_id, path=path, depth=depth, max_depth=max_depth, expires_at=min(ends))


def require_live(facts: Facts, agent_id: bytes) -> AgentFacts:
    """Return the agent.

    Raises `NotFound`, `OwnerSuspended`, `ProjectSuspended`, and `FinalState` for one that has ended.
    """
    agent = facts.agents.get(agent_id)
    if agent is None:
        raise NotFound("There is no such agent.")
    end = facts.agent_end(agent_id)
    if end is Reason.OWNER_SUSPENDED:
        raise OwnerSuspended(end.sentence)
    if end is Reason.PROJECT_SUSPENDED:
        raise ProjectSuspended(end.sentence)
    if end is not None:
        raise FinalState(end.sentence, details={"agentId": ids.AGENT.text(agent_id), "reason": end.value})
    return agent


def check_receiver(settled: Settled, receiver_id: bytes) -> None:
    """Raises `Cycle` if the receiver is the giver or stands on the path to it."""
    if any(link.agent_id == receiver_id for link in settled.path):
        raise Cycle("The receiver is the giver or stands above it on this chain.")


def _choose_source(facts: Facts, giver: AgentFacts, asked: Sequence[Permission]) -> tuple[bytes | None, Path]:
    short: list[dict[str, object]] = []
    for path in facts.paths_of(giver):
        source_id = path[-1].edge_id
        if source_id is not None and not facts.edge_lives(source_id):
            continue
        missing = uncovered(path[-1].permissions, asked, inherit=True)
        if not missing:
            return source_id, path
        short.append({"source": ids.DELEGATION.optional(source_id) or "own", "uncovered": missing[:_SHOWN]})
    raise Widens("No single source of the giver covers all of this.", details={"sources": short[:_SHOWN]})


def _settle_depth(source: Edge | None, asked: int | None, deepest: int) -> tuple[int, int]:
    """The depth of the new link and the deepest that links below it may reach; below the first it only shrinks."""
    depth = 1 if source is None else source.depth + 1
    ceiling = deepest if source is None else min(deepest, source.max_depth)
    usual = min(DEFAULT_DEPTH, ceiling) if source is None else ceiling
    max_depth = usual if asked is None else asked
    if max_depth > ceiling:
        raise TooDeep(f"Links of this chain may be at most {ceiling} deep.", details={"maxDepth": ceiling})
    if depth > max_depth:
        raise TooDeep(f"This link would be {depth} deep, {max_depth} is the limit.", details={"maxDepth": max_depth})
    return depth, max_depth
