"""Why a decision came out as it did: one closed list of codes, and one sentence for each.

Codes are a promise to clients; sentences may change. Prose is made from the code, never the reverse.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The code of a decision or of a refused credential."""

    ALLOWED = "ALLOWED"

    # The credential.
    MALFORMED_CREDENTIAL = "MALFORMED_CREDENTIAL"
    UNKNOWN_CREDENTIAL = "UNKNOWN_CREDENTIAL"
    TOKEN_ROTATED = "TOKEN_ROTATED"
    KEY_ENDED = "KEY_ENDED"
    TEST_KEY_REFUSED = "TEST_KEY_REFUSED"

    # The agent and what it hangs from.
    UNKNOWN_AGENT = "UNKNOWN_AGENT"
    AGENT_REVOKED = "AGENT_REVOKED"
    AGENT_EXPIRED = "AGENT_EXPIRED"
    AGENT_IDLE = "AGENT_IDLE"
    OWNER_SUSPENDED = "OWNER_SUSPENDED"
    PROJECT_SUSPENDED = "PROJECT_SUSPENDED"
    TOO_MANY_REFUSALS = "TOO_MANY_REFUSALS"
    CHAIN_CUT = "CHAIN_CUT"

    # The permission, from farthest to closest.
    NOT_GRANTED = "NOT_GRANTED"
    DELEGATION_ENDED = "DELEGATION_ENDED"
    CHAIN_NARROWED = "CHAIN_NARROWED"
    OWNER_NOT_PERMITTED = "OWNER_NOT_PERMITTED"
    UNKNOWN_CONSTRAINT = "UNKNOWN_CONSTRAINT"
    ARGUMENT_NOT_ALLOWED = "ARGUMENT_NOT_ALLOWED"
    OUTSIDE_TIME_WINDOW = "OUTSIDE_TIME_WINDOW"
    ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    APPROVAL_DENIED = "APPROVAL_DENIED"
    TOO_MANY_APPROVALS = "TOO_MANY_APPROVALS"
    TOO_LARGE_TO_APPROVE = "TOO_LARGE_TO_APPROVE"
    RATE_LIMITED = "RATE_LIMITED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"

    # No decision: what a call really cost, recorded after it.
    SETTLED = "SETTLED"

    @property
    def ends_credential(self) -> bool:
        """Whether the agent's credential itself does not hold, so that no question it asks can be answered."""
        return self in _DEAD

    @property
    def sentence(self) -> str:
        """One sentence for people; it names no other grant."""
        return _SENTENCES[self]


_DEAD = frozenset(
    {
        Reason.MALFORMED_CREDENTIAL,
        Reason.UNKNOWN_CREDENTIAL,
        Reason.TOKEN_ROTATED,
        Reason.UNKNOWN_AGENT,
        Reason.AGENT_REVOKED,
        Reason.AGENT_EXPIRED,
        Reason.AGENT_IDLE,
        Reason.OWNER_SUSPENDED,
        Reason.PROJECT_SUSPENDED,
        Reason.CHAIN_CUT,
    }
)

_SENTENCES = {
    Reason.ALLOWED: "Allowed.",
    Reason.MALFORMED_CREDENTIAL: "The credential is not well formed.",
    Reason.UNKNOWN_CREDENTIAL: "The credential is not known.",
    Reason.TOKEN_ROTATED: "The token was replaced by a newer one.",
    Reason.KEY_ENDED: "The API key is revoked or expired.",
    Reason.TEST_KEY_REFUSED: "Test keys are refused where the app is reached over https.",
    Reason.UNKNOWN_AGENT: "There is no such agent.",
    Reason.AGENT_REVOKED: "The agent is revoked.",
    Reason.AGENT_EXPIRED: "The agent has expired.",
    Reason.AGENT_IDLE: "The agent was idle for longer than its ttl.",
    Reason.OWNER_SUSPENDED: "The owner of the agent is suspended.",
    Reason.PROJECT_SUSPENDED: "All agents of this project are suspended.",
    Reason.TOO_MANY_REFUSALS: "The agent was refused too often; its calls wait until the minute ends.",
    Reason.CHAIN_CUT: "The delegation this agent lives by, or one above it, has ended.",
    Reason.NOT_GRANTED: "No grant of the agent covers this action on this resource.",
    Reason.DELEGATION_ENDED: "A delegation that covered this has expired, or ended further up.",
    Reason.CHAIN_NARROWED: "An agent further up the chain may no longer do this.",
    Reason.OWNER_NOT_PERMITTED: "The human the agent acts for may not do this.",
    Reason.UNKNOWN_CONSTRAINT: "The grant carries a constraint that this release does not know.",
    Reason.ARGUMENT_NOT_ALLOWED: "An argument is missing or outside what the grant allows.",
    Reason.OUTSIDE_TIME_WINDOW: "The grant does not apply at this time of day.",
    Reason.ADDRESS_NOT_ALLOWED: "The grant does not apply from this address, or the address is not known.",
    Reason.APPROVAL_REQUIRED: "The grant needs an approval for this call.",
    Reason.APPROVAL_DENIED: "The human refused this call.",
    Reason.TOO_MANY_APPROVALS: "Too many calls of this agent wait for an approval.",
    Reason.TOO_LARGE_TO_APPROVE: "The arguments are too large to be shown to whoever would approve them.",
    Reason.RATE_LIMITED: "The grant's calls for this hour are used up.",
    Reason.BUDGET_EXCEEDED: "A budget of the agent, or of something above it, has not enough left.",
    Reason.SETTLED: "What the call cost was recorded.",
}
