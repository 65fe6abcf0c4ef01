"""A delegation as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kavach_core.primitives.permissions import Permission


class DelegationStatus(StrEnum):
    """Whether a delegation gives anything now. `ended`: itself intact, but something it stands on has ended."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """An edge from one agent to another, with its one source."""

    id: str
    from_agent: str
    to_agent: str
    #: The delegation that the giver handed on; None for the giver's own permissions.
    source_id: str | None
    permissions: tuple[Permission, ...]
    depth: int
    max_depth: int
    purpose: str | None
    expires_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None
    status: DelegationStatus
