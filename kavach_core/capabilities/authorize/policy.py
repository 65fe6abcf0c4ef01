"""The decision itself: facts + now -> decision. No await, no clock, no store.

First the stateless part: which grants of a live agent let this very request through at every link? Then the counted
part: the first of those whose rates all have room, and only its path is charged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from kavach_core.capabilities.delegation import AgentFacts, Facts, Link, Path
from kavach_core.capabilities.limits import Window, keys
from kavach_core.primitives.permissions import AccessRequest, Permission
from kavach_core.primitives.reasons import Reason

#: How close a grant came, from farthest to closest.
_CLOSENESS: Final = {
    reason: rank
    for rank, reason in enumerate(
        (
            Reason.NOT_GRANTED,
            Reason.DELEGATION_ENDED,
            Reason.CHAIN_NARROWED,
            Reason.UNKNOWN_CONSTRAINT,
            Reason.ARGUMENT_NOT_ALLOWED,
            Reason.OUTSIDE_TIME_WINDOW,
            Reason.ADDRESS_NOT_ALLOWED,
            Reason.APPROVAL_REQUIRED,
            Reason.RATE_LIMITED,
        )
    )
}


class Candidate(NamedTuple):
    """A grant that passes everything but the counters: at each link the permissions that do, unrated ones first."""

    path: Path
    choices: tuple[Sequence[Permission], ...]

    @property
    def is_free(self) -> bool:
        """Whether it passes without any counter."""
        return not any(_is_rated(choice[0]) for choice in self.choices)


class Stopped(NamedTuple):
    """A grant that did not come through: why, and at which link of its path."""

    reason: Reason
    path: Path
    link: int


class Plan(NamedTuple):
    """The outcome of the stateless part: what may be used, in order, and what stopped the rest."""

    candidates: Sequence[Candidate]
    stopped: Sequence[Stopped]


class Claim(NamedTuple):
    """One unit of a rate that a decision takes when it is recorded."""

    key: bytes
    limit: int


class Verdict(NamedTuple):
    """What is decided about one call. The claims must be made true in the transaction that records it."""

    reason: Reason
    path: Path
    grant: Permission | None = None
    claims: tuple[Claim, ...] = ()
    retry_after: int | None = None
    #: The path of the grant that came closest, for a denial.
    closest: Stopped | None = None


def decide(agent: AgentFacts, request: AccessRequest, facts: Facts, windows: Mapping[bytes, Window]) -> Verdict:
    """Decide one call of an agent. `windows` holds the counters that `claims_of` its plan names."""
    return choose(agent, plan(agent, request, facts), facts, windows)


def plan(agent: AgentFacts, request: AccessRequest, facts: Facts) -> Plan:
    """Try every grant of a live agent without counters. A grant that needs none ends the search."""
    candidates: list[Candidate] = []
    stopped: list[Stopped] = []
    for path in facts.paths_of(agent):
        outcome = _try(path, request, facts)
        if isinstance(outcome, Stopped):
            stopped.append(outcome)
            continue
        candidates.append(outcome)
        if outcome.is_free:
            break
    return Plan(candidates, stopped)


def choose(agent: AgentFacts, plan: Plan, facts: Facts, windows: Mapping[bytes, Window]) -> Verdict:
    """Take the first candidate whose rates all have room; none of them is charged here."""
    refused: Verdict | None = None
    for candidate in plan.candidates:
        verdict = _settle(candidate, facts, windows)
        if verdict.reason is Reason.ALLOWED:
            return verdict
        refused = _sooner(refused, verdict)
    if refused is not None:
        return refused
    closest = max(plan.stopped, key=lambda stop: _CLOSENESS[stop.reason])
    return Verdict(closest.reason, facts.founding_path(agent), closest=closest)


def claims_of(plan: Plan) -> Iterator[bytes]:
    """The counters that choosing may look at."""
    for candidate in plan.candidates:
        for link, choice in zip(candidate.path, candidate.choices, strict=True):
            if _is_rated(choice[0]):
                yield from (_key(link, permission) for permission in choice)


def _try(path: Path, request: AccessRequest, facts: Facts) -> Candidate | Stopped:
    """Ask every link for this very request, the acting agent's own first."""
    last = len(path) - 1
    choices: list[Sequence[Permission]] = []
    for index in range(last, -1, -1):
        choice = _pass(path[index], request, facts.now)
        if isinstance(choice, Reason):
            narrowed = choice is Reason.NOT_GRANTED and index < last
            return Stopped(Reason.CHAIN_NARROWED if narrowed else choice, path, index)
        if index == last and not _lives(path[index], facts):
            return Stopped(Reason.DELEGATION_ENDED, path, index)
        choices.append(choice)
    choices.reverse()
    return Candidate(path, tuple(choices))


def _lives(link: Link, facts: Facts) -> bool:
    """Whether the delegation that leads here lives, with everything above it; an agent's own grants live with it."""
    return link.edge_id is None or facts.edge_lives(link.edge_id)


def _pass(link: Link, request: AccessRequest, now: int) -> Sequence[Permission] | Reason:
    """The permissions of one link that let the request through, unrated first, or why the closest does not."""
    matching = link.permissions.matching(request)
    if len(matching) == 1 and not matching[0].constraints.any:
        return matching
    closest = Reason.NOT_GRANTED
    passing: list[Permission] = []
    for permission in matching:
        reason = _violated(permission, request, now)
        if reason is None:
            passing.append(permission)
        elif _CLOSENESS[reason] > _CLOSENESS[closest]:
            closest = reason
    passing.sort(key=_is_rated)
    return passing or closest


def _violated(permission: Permission, request: AccessRequest, now: int) -> Reason | None:
    constraints = permission.constraints
    if not constraints.any:
        return None
    return constraints.violated(request, now) or (Reason.APPROVAL_REQUIRED if constraints.require_approval else None)


def _is_rated(permission: Permission) -> bool:
    return permission.constraints.max_calls_per_hour is not None


def _settle(candidate: Candidate, facts: Facts, windows: Mapping[bytes, Window]) -> Verdict:
    """All or nothing: at every link one permission that is unrated or has room."""
    claims: list[Claim] = []
    grant = candidate.choices[-1][0]
    for link, choice in zip(candidate.path, candidate.choices, strict=True):
        if not _is_rated(choice[0]):
            continue
        permission = next((each for each in choice if _has_room(link, each, windows)), None)
        if permission is None:
            wait = min(_wait(link, each, windows, facts.now) for each in choice)
            return Verdict(Reason.RATE_LIMITED, candidate.path, retry_after=wait)
        claims.append(Claim(_key(link, permission), permission.constraints.max_calls_per_hour or 0))
        if link is candidate.path[-1]:
            grant = permission
    return Verdict(Reason.ALLOWED, candidate.path, grant=grant, claims=tuple(claims))


def _key(link: Link, permission: Permission) -> bytes:
    return keys.rate(link.holder, permission.key)


def _has_room(link: Link, permission: Permission, windows: Mapping[bytes, Window]) -> bool:
    return windows[_key(link, permission)].hour < (permission.constraints.max_calls_per_hour or 0)


def _wait(link: Link, permission: Permission, windows: Mapping[bytes, Window], now: int) -> int:
    return windows[_key(link, permission)].retry_after(permission.constraints.max_calls_per_hour or 0, now)


def _sooner(first: Verdict | None, second: Verdict) -> Verdict:
    """Of two rate refusals, the one that passes earlier."""
    if first is None or (second.retry_after or 0) < (first.retry_after or 0):
        return second
    return first
