"""An API key as people see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions import Permission


class Scope(StrEnum):
    """What an API key may be used for. `*` is all of them, those of later releases too."""

    ALL = "*"
    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    DELEGATIONS_READ = "delegations:read"
    DELEGATIONS_WRITE = "delegations:write"
    AUTHORIZE = "authorize"
    AUDIT_READ = "audit:read"
    AUDIT_EXPORT = "audit:export"
    OWNERS_WRITE = "owners:write"
    SESSIONS_WRITE = "sessions:write"
    KEYS_WRITE = "keys:write"
    BUDGETS_READ = "budgets:read"
    BUDGETS_WRITE = "budgets:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WRITE = "approvals:write"
    PROJECT_WRITE = "project:write"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret."""

    id: str
    name: str
    #: The last characters of the secret, to tell keys apart.
    hint: str
    #: A test key is refused where the app is reached over https.
    test: bool
    scopes: frozenset[Scope]
    #: The permissions it may give to agents.
    grantable: tuple[Permission, ...]
    expires_at: datetime | None
    created_at: datetime
    rotated_at: datetime
    revoked_at: datetime | None
    #: Only on what `create` and `rotate` return.
    key: str | None = field(default=None, repr=False)


def parse_scopes(values: Iterable[str]) -> frozenset[Scope]:
    """Read scopes by name. Raises `InvalidInput` for one that does not exist, and for none at all."""
    try:
        scopes = frozenset(Scope(value) for value in values)
    except (TypeError, ValueError):
        raise InvalidInput(f"Scopes are {', '.join(Scope)}.", field="scopes") from None
    if not scopes:
        raise InvalidInput("A key has at least one scope.", field="scopes")
    return scopes
