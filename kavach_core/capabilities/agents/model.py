"""An agent as people see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from kavach_core.primitives.permissions import Permission
from kavach_core.primitives.principal import AgentType


class AgentStatus(StrEnum):
    """Of the agent itself; both ends are final. `expired` also stands for idle past `ttl`."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A principal that acts for its owner."""

    id: str
    owner_id: str
    name: str
    type: AgentType
    #: Its own permissions; what was delegated to it is in `delegations.list`.
    permissions: tuple[Permission, ...]
    status: AgentStatus
    metadata: Mapping[str, object]
    #: How long it may rest between uses; None for ever.
    ttl: timedelta | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    #: The delegation an agent made by `delegate` lives by.
    founding_delegation_id: str | None
    #: Only on what `create`, `delegate` and `rotate` return, and never again.
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedAgent(Agent):
    """An agent with its new token, and the live delegations it had made with the old one."""

    delegations: tuple[str, ...]
    #: Whether those were ended in the same transaction.
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegatedAgent(Agent):
    """An agent made by delegating, with its token and the delegation it lives by."""

    delegation_id: str
    delegated_permissions: tuple[Permission, ...]
