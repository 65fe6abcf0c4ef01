"""Who is asking: a human, an agent with a human behind it, or a service that holds an API key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from kavach_core.primitives.permissions import Permission, PermissionSet
from kavach_core.primitives.reasons import Reason


class AgentType(StrEnum):
    """What kind of principal an agent is. `delegated` is given to those made by `agents.delegate`."""

    AUTONOMOUS = "autonomous"
    DELEGATED = "delegated"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanIdentity:
    """A human: `id` is the owner id of their agents."""

    id: str
    #: Set when the human came in by a Kavach session; None when the app's own `resolve_user` named them.
    session_id: str | None = None
    #: Whether the credential was an `Authorization` header, which no foreign page can make a browser send.
    by_header: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """A live agent whose token was verified. What it may do is decided call by call, by `authorize`."""

    agent_id: str
    owner_id: str
    name: str
    type: AgentType
    #: The audit entry of the decision that let this call in, where there was one (`require`).
    audit_id: str | None = None
    credential: bytes | None = field(default=None, repr=False)
    held: tuple[PermissionSet, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """The agent's id, under the name every identity has."""
        return self.agent_id

    @property
    def valid(self) -> Literal[True]:
        """True: this is not a `Rejected`."""
        return True

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What was granted to the agent, its own and delegated. For showing; `authorize` decides."""
        return tuple(permission for permissions in self.held for permission in permissions)

    def __bool__(self) -> Literal[True]:
        return True


#: What `agents.verify` returns for a token that holds.
Verified = AgentIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A credential that does not hold. There is nothing on it that could be used by mistake."""

    code: Reason
    #: The record of the refusal; None when the credential belongs to nobody.
    audit_id: str | None = None
    #: Whole seconds to wait, when the agent was refused so often that its calls are not looked at for a while.
    retry_after: int | None = None

    @property
    def valid(self) -> Literal[False]:
        """False: nobody was verified."""
        return False

    def __bool__(self) -> Literal[False]:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceIdentity:
    """The holder of an API key."""

    key_id: str
    name: str
    scopes: frozenset[str]
    grantable: PermissionSet = field(repr=False)
    #: A test key, and when it ends. It makes no key that is live, or that outlives it.
    test: bool = False
    expires_at: datetime | None = None

    @property
    def id(self) -> str:
        """The key's id, under the name every identity has."""
        return self.key_id

    def has_scope(self, scope: str) -> bool:
        """Whether the key carries the scope, or `*`."""
        return scope in self.scopes or "*" in self.scopes


Identity = HumanIdentity | AgentIdentity | ServiceIdentity
