"""Tell why, for a dry run: every grant that was looked at, the closest one, and what would let the call pass."""

from __future__ import annotations

from typing import Final

from kavach_core.capabilities.authorize.model import Explanation, LookedAt
from kavach_core.capabilities.authorize.policy import Candidate, Plan, Stopped, Verdict
from kavach_core.capabilities.delegation import Path
from kavach_core.primitives import ids
from kavach_core.primitives.permissions import AccessRequest
from kavach_core.primitives.reasons import Reason

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
    Reason.APPROVAL_REQUIRED: "Have the owner drop requireApproval, or grant a permission without it.",
    Reason.RATE_LIMITED: "Wait until the hour's calls are fewer, or raise maxCallsPerHour where it stopped.",
    Reason.TOKEN_ROTATED: "Use the newest token.",
    Reason.AGENT_REVOKED: "Create a new agent: revoked is final.",
    Reason.AGENT_EXPIRED: "Create a new agent: expired is final.",
    Reason.AGENT_IDLE: "Create a new agent: expired is final.",
    Reason.OWNER_SUSPENDED: "Resume the owner.",
}


def explain(plan: Plan | None, verdict: Verdict | None, reason: Reason, request: AccessRequest | None) -> Explanation:
    """Build the explanation of one decision from what deciding it left behind."""
    stopped = [] if plan is None or request is None else [_stopped(each, request) for each in plan.stopped]
    open_ = [] if plan is None else [_candidate(each, verdict) for each in plan.candidates]
    looked_at = (*open_, *stopped)
    closest = next((each for each in looked_at if each.code is reason), None)
    return Explanation(looked_at=looked_at, closest=closest, would_pass=_REMEDIES.get(reason, reason.sentence))


def _stopped(stop: Stopped, request: AccessRequest) -> LookedAt:
    link = stop.path[stop.link]
    return LookedAt(
        source=_source(stop.path),
        code=stop.reason,
        stopped_at=ids.AGENT.text(link.agent_id),
        permissions=tuple(link.permissions.matching(request)),
    )


def _candidate(candidate: Candidate, verdict: Verdict | None) -> LookedAt:
    used = verdict is not None and verdict.reason is Reason.ALLOWED and verdict.path == candidate.path
    return LookedAt(
        source=_source(candidate.path),
        code=Reason.ALLOWED if used else Reason.RATE_LIMITED,
        stopped_at=None,
        permissions=tuple(candidate.choices[-1]),
    )


def _source(path: Path) -> str:
    return ids.DELEGATION.optional(path[-1].edge_id) or "own"
