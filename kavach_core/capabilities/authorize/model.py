"""The question, and the answer as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from kavach_core.primitives.permissions import AccessRequest, Permission
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
    #: The agent at whose link it stopped; None if it passed.
    stopped_at: str | None
    #: The permissions of that link that mean this action and resource.
    permissions: tuple[Permission, ...]


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
    #: Whole seconds until a rate lets one more call through.
    retry_after: int | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call as it waits for its batch: about an agent by credential, by id, or both."""

    credential: bytes | None = None
    agent_id: bytes | None = None
    #: None asks only whether the credential holds.
    request: AccessRequest | None
    arguments: str | None = None
    arguments_hash: bytes | None = None
    origin: Origin
    dry_run: bool = False
    #: Whether many refusals may close the door for a while: over HTTP.
    throttled: bool = False
    #: When the call arrived, on the process's monotonic clock in nanoseconds.
    arrived: int
