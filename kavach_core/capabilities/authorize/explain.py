"""Tell why, for a dry run: every grant that was looked at, the closest one, and what would let the call pass."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from itertools import takewhile
from typing import Final

from kavach_core.capabilities.authorize.model import Explanation, LookedAt
from kavach_core.capabilities.authorize.policy import Candidate, Plan, Stopped, Verdict
from kavach_core.capabilities.delegation import AgentFacts, Link, Path
from kavach_core.primitives import ids
from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet
from kavach_core.primitives.reasons import Reason

_MOST_NEAREST: Final = 3
_Likeness = tuple[bool, bool, int]

_REMEDIES: Final = {
    Reason.ALLOWED: "Nothing is missing.",
    Reason.NOT_GRANTED: "Grant the agent this action on this resource, by its own permissions or a delegation.",
    Reason.CHAIN_CUT: "Create a new agent: the delegation this one lives by has ended for good.",
    Reason.DELEGATION_ENDED: "Delegate anew: the delegation, or something above it, has ended for good.",
    Reason.CHAIN_NARROWED: "Let the agent where it stopped have this permission again.",
    Reason.UNKNOWN_CONSTRAINT: "Replace the permission by one whose constraints this release knows.",
    Reason.ARGUMENT_NOT_ALLOWED: "Call with arguments that match the patterns of the permission, all of them as text.",
    Reason.OUTSIDE_TIME_WINDOW: "Call within the time window of the permission (UTC).",
    Reason.ADDRESS_NOT_ALLOWED: "Call from an address on the permission's list.",
    Reason.OWNER_NOT_PERMITTED: "Let the human have this permission themselves: owners.set_permissions.",
    Reason.APPROVAL_REQUIRED: "Have a human approve this very call, or grant a permission without requireApproval.",
    Reason.APPROVAL_DENIED: "Wait until the refusal expires and ask again, or call with other arguments.",
    Reason.TOO_MANY_APPROVALS: "Have a human answer what waits already.",
    Reason.TOO_LARGE_TO_APPROVE: "Call with arguments short enough to be shown, or grant without requireApproval.",
    Reason.RATE_LIMITED: "Wait until the hour's calls are fewer, or raise maxCallsPerHour where it stopped.",
    Reason.BUDGET_EXCEEDED: "Wait for the next window of the budget, or raise it.",
    Reason.PROJECT_SUSPENDED: "Resume the project.",
    Reason.TOKEN_ROTATED: "Use the newest token.",
    Reason.AGENT_REVOKED: "Create a new agent: revoked is final.",
    Reason.AGENT_EXPIRED: "Create a new agent: expired is final.",
    Reason.AGENT_IDLE: "Create a new agent: expired is final.",
    Reason.OWNER_SUSPENDED: "Resume the owner.",
}


def explain(
    agent: AgentFacts | None, plan: Plan | None, verdict: Verdict | None, reason: Reason, request: AccessRequest | None
) -> Explanation:
    """Build the explanation of one decision from what deciding it left behind."""
    looked_at: list[LookedAt] = []
    if agent is not None and plan is not None and request is not None:
        # After the first that passes no other is tried.
        tried = zip(plan.candidates, () if verdict is None else _tried(verdict), strict=False)
        looked_at += [_candidate(agent, candidate, outcome) for candidate, outcome in tried]
        looked_at += [_stopped(agent, each, request) for each in plan.stopped]
    alike = [each for each in looked_at if each.code is reason]
    closest = max(alike, key=lambda each: _best_likeness(each, request), default=None)
    return Explanation(looked_at=tuple(looked_at), closest=closest, would_pass=_REMEDIES.get(reason, reason.sentence))


def _tried(verdict: Verdict) -> Sequence[Verdict]:
    return (*verdict.tried, verdict) if verdict.reason is Reason.ALLOWED else verdict.tried


def _candidate(agent: AgentFacts, candidate: Candidate, outcome: Verdict) -> LookedAt:
    link, permissions = outcome.stopped or (None, candidate.choices[len(candidate.path) - 1])
    return LookedAt(
        source=_source(candidate.path),
        code=outcome.reason,
        stopped_at=None if link is None else _place(agent, candidate.path, link),
        permissions=tuple(permissions),
    )


def _stopped(agent: AgentFacts, stop: Stopped, request: AccessRequest) -> LookedAt:
    permissions = stop.link.permissions
    matching = tuple(permissions.matching(request))
    return LookedAt(
        source=_source(stop.path),
        code=stop.reason,
        stopped_at=_place(agent, stop.path, stop.link),
        permissions=matching,
        nearest=() if matching else _nearest(permissions, request),
    )


def _nearest(permissions: PermissionSet, request: AccessRequest) -> tuple[Permission, ...]:
    alike = (each for each in permissions if any(_likeness(each, request)))
    return tuple(nlargest(_MOST_NEAREST, alike, key=lambda each: _likeness(each, request)))


def _best_likeness(looked_at: LookedAt, request: AccessRequest | None) -> _Likeness:
    unlike = (False, False, 0)
    return _likeness(looked_at.nearest[0], request) if looked_at.nearest and request is not None else unlike


def _likeness(permission: Permission, request: AccessRequest) -> _Likeness:
    """How little keeps a permission from meaning a request: the same resource, the same action, a common beginning."""
    means_resource = permission.pattern.matches(request.segments)
    means_action = not {request.action, "*"}.isdisjoint(permission.actions)
    in_common = takewhile(
        lambda pair: pair[0] == pair[1], zip(permission.pattern.literal, request.segments, strict=False)
    )
    return means_resource, means_action, len(list(in_common))


def _place(agent: AgentFacts, path: Path, link: Link) -> str:
    """The agent at a link of the path, or the owner whose rights are no part of it."""
    return ids.AGENT.text(link.agent_id) if link in path else agent.owner_id


def _source(path: Path) -> str:
    return ids.DELEGATION.optional(path[-1].edge_id) or "own"
