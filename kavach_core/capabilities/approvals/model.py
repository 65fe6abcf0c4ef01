"""An approval: what it is bound to, and how it stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class ApprovalStatus(StrEnum):
    """How an approval stands."""

    PENDING = "pending"
    #: The next such call may go ahead, once.
    APPROVED = "approved"
    #: Such calls are refused, without asking again, until it expires.
    DENIED = "denied"
    USED = "used"
    #: Nobody answered, or nobody used the answer, in time; or the agent was revoked.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One question to a human, as the server recorded it: nothing in it comes from the agent but the call itself."""

    id: str
    agent_id: str
    #: What the agent is called now.
    agent_name: str
    #: Whose agent it is now, and so who may answer.
    owner_id: str
    action: str
    resource: str
    #: What the call was made with, redacted as in the audit but never cut; None if it had no arguments.
    arguments: dict[str, object] | None
    #: SHA-256 of their canonical JSON, with secrets hidden: of a secret that can be guessed no hash is told.
    arguments_hash: str | None
    #: What the call may cost at most, if that was said.
    cost: int | None
    status: ApprovalStatus
    created_at: datetime
    #: Until when it can be answered; once approved, until when it can be used.
    expires_at: datetime
    decided_at: datetime | None
    #: The owner, or the API key, that answered.
    decided_by: str | None
    #: The decision that used it.
    audit_id: str | None


class OpenApproval(NamedTuple):
    """An approval that is not closed, as a decision sees it, in the order the statements select."""

    id: bytes
    binding: bytes
    status: str
    expires_at: int


class Asked(NamedTuple):
    """A call that needs an approval: what a new one is made of, in the order of the columns."""

    binding: bytes
    agent_id: bytes
    action: str
    resource: str
    arguments: str | None
    arguments_hash: bytes | None
    cost: int | None


def bind(agent_id: bytes, action: str, resource: str, arguments_hash: bytes | None, cost: int | None) -> bytes:
    """What an approval is good for: this agent, this action, this resource, exactly these arguments and this cost.

    Each part goes in behind its length, so that no two calls are one text.
    """
    said_cost = b"" if cost is None else str(cost).encode()
    parts = (agent_id, action.encode(), resource.encode(), arguments_hash or b"", said_cost)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
