"""The question, and the answer as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from kavach_core.capabilities.approvals.model import bind
from kavach_core.primitives import ids
from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet
from kavach_core.primitives.principal import AgentIdentity
from kavach_core.primitives.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Where a call came from. The address counts for `ipAllowlist`, the rest is recorded."""

    ip: str | None = None
    user_agent: str | None = None
    #: The request's own id, or its `traceparent` (W3C Trace Context).
    request_id: str | None = None
    #: Over HTTP an agent that is refused very often is not looked at for the rest of the minute.
    over_http: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """One grant that was considered, and how far it came. `source` is `own` or a delegation id."""

    source: str
    code: Reason
    #: The agent at whose link it stopped, or the owner at whose own rights it did; None if it passed all of them.
    stopped_at: str | None
    #: The permissions of that link that mean this action and resource.
    permissions: tuple[Permission, ...]
    #: Where there are none: up to three that would need the least change, the nearest first.
    nearest: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why: every grant that was looked at, the one that came closest, and what would let the call pass."""

    looked_at: tuple[LookedAt, ...]
    closest: LookedAt | None
    would_pass: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one call. Its record is committed; `bool()` is `allowed`."""

    allowed: bool
    code: Reason
    audit_id: str | None
    #: The permission that allowed it, as held by the acting agent.
    grant: Permission | None = None
    #: Whole seconds until a rate or budget may let one more call through.
    retry_after: int | None = None
    #: The approval it used, or the one that waits for an answer.
    approval_id: str | None = None
    #: Budgets that are exceeded and only warn.
    warnings: tuple[str, ...] = ()
    #: Who acted; None if that is not known.
    identity: AgentIdentity | None = field(default=None, repr=False)
    #: Only for a dry run.
    explanation: Explanation | None = None

    @property
    def reason(self) -> str:
        """One sentence for people, made from the code."""
        return self.code.sentence

    def __bool__(self) -> bool:
        return self.allowed


class Origin(NamedTuple):
    """What is recorded of where a call came from, already made safe to store."""

    address: str | None
    user_agent: str | None
    request_id: str | None


class Rights(NamedTuple):
    """What the app's `owner_permissions` said an owner may do."""

    owner_id: str
    permissions: PermissionSet


class OwnerUnknown(NamedTuple):
    """In the place of a decision: it needs to be known what this owner may do, which the app has to be asked."""

    owner_id: str


class Question(NamedTuple):
    """One call as it waits for its batch: about an agent by credential, by id, or both."""

    #: None asks only whether the credential holds.
    request: AccessRequest | None
    origin: Origin
    #: When the call arrived, on the process's monotonic clock in nanoseconds.
    arrived: int
    credential: bytes | None = None
    agent_id: bytes | None = None
    arguments: str | None = None
    #: Of the arguments as they are recorded, and as they are. The second tells of secrets, and is never shown.
    arguments_hash: bytes | None = None
    exact_hash: bytes | None = None
    #: The arguments as whoever approves the call sees them: redacted and never cut. None if they are too large for it.
    shown: str | None = None
    #: What the call costs at most, in the unit the app has in mind; None if it did not say.
    cost: int | None = None
    #: What the app says the human may do; None if it was not asked.
    rights: Rights | None = None
    dry_run: bool = False
    #: Whether many refusals may close the door for a while: over HTTP.
    throttled: bool = False
    #: Whose turn this takes while many wait: the owner's if they are known, else the credential's own.
    turn: object = None

    def require_request(self) -> AccessRequest:
        """What is asked, of a question that asks more than whether the credential holds."""
        if self.request is None:
            raise RuntimeError("this question is about a credential alone")
        return self.request

    def binding(self, agent_id: bytes) -> bytes:
        """What an approval of this call by this agent is bound to."""
        request = self.require_request()
        return bind(agent_id, request.action, request.resource, self.exact_hash, self.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What an allowed call really cost, waiting for its batch."""

    audit_id: bytes
    actual: int
    turn: object = None
    arrived: int

    @property
    def public_id(self) -> str:
        """The id of the decision as people know it."""
        return ids.AUDIT.text(self.audit_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A cost that was corrected. Its record is committed."""

    #: The row of the correction itself.
    audit_id: str
    #: The decision it corrects.
    settles: str
    reserved: int
    actual: int
    #: Budgets that are exceeded because the call cost more than it had reserved.
    exceeded: tuple[str, ...] = ()
