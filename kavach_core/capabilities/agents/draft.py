"""What is to be written of an agent: checked drafts of new ones, checked changes to existing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kavach_core.capabilities.agents.queries import AgentRow
from kavach_core.errors import InvalidInput
from kavach_core.primitives import clock, duration
from kavach_core.primitives.duration import Duration
from kavach_core.primitives.permissions import PermissionLike, PermissionSet, parse_permissions
from kavach_core.primitives.principal import AgentType
from kavach_core.primitives.text import canonical_json, require_name, require_shallow
from kavach_core.primitives.unset import Unset
from kavach_core.store import Transaction

_LONGEST_NAME: Final = 255
_LONGEST_METADATA: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new agent, before it has an owner and an id."""

    name: str
    type: AgentType
    permissions: PermissionSet
    metadata: str
    ttl: int | None
    expires_at: int

    def to_row(self, tx: Transaction, owner_id: str) -> AgentRow:
        """The row of this agent, made now."""
        return AgentRow(
            id=tx.new_id(),
            owner_id=owner_id,
            name=self.name,
            type=self.type.value,
            permissions=self.permissions.digest,
            metadata=self.metadata,
            founding_id=None,
            ttl=self.ttl,
            idle_at=clock.idle_from(tx.now, self.ttl),
            expires_at=self.expires_at,
            created_at=tx.now,
            updated_at=tx.now,
            rotated_at=tx.now,
            last_used_at=None,
            revoked_at=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changes of an agent: the columns that were given, and the set that the new permissions name."""

    columns: Mapping[str, object]
    permissions: PermissionSet | None

    @property
    def names(self) -> list[str]:
        """Which parts change."""
        return sorted(self.columns)

    def applied_to(self, row: AgentRow, now: int) -> AgentRow:
        """The row after the change. A new `ttl` counts from the last use."""
        if self.columns.get("expires_at", clock.NEVER) <= now:  # type: ignore[operator]
            raise InvalidInput("The end lies in the past.", field="expiresAt")
        row = row._replace(**self.columns, updated_at=now)  # type: ignore[arg-type]
        if "ttl" in self.columns:
            used_at = row.created_at if row.last_used_at is None else row.last_used_at
            row = row._replace(idle_at=clock.idle_from(used_at, row.ttl))
        return row


def make_draft(
    *,
    name: str,
    type: AgentType,
    permissions: Sequence[PermissionLike] = (),
    ttl: Duration | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Draft:
    """Check the parts of a new agent. Raises `InvalidInput`."""
    return Draft(
        name=_name(name),
        type=type,
        permissions=PermissionSet.of(parse_permissions(permissions)),
        metadata=_metadata(metadata or {}),
        ttl=_ttl(ttl),
        expires_at=_end(expires_at),
    )


def make_changes(
    *,
    name: str | Unset,
    permissions: Sequence[PermissionLike] | Unset,
    ttl: Duration | Unset | None,
    expires_at: datetime | Unset | None,
    metadata: Mapping[str, object] | Unset,
) -> Changes:
    """Check the parts of a change; what is `UNSET` stays. Raises `InvalidInput`."""
    columns: dict[str, object] = {}
    kept: PermissionSet | None = None
    if not isinstance(name, Unset):
        columns["name"] = _name(name)
    if not isinstance(permissions, Unset):
        kept = PermissionSet.of(parse_permissions(permissions))
        columns["permissions"] = kept.digest
    if not isinstance(ttl, Unset):
        columns["ttl"] = _ttl(ttl)
    if not isinstance(expires_at, Unset):
        columns["expires_at"] = _end(expires_at)
    if not isinstance(metadata, Unset):
        columns["metadata"] = _metadata(metadata)
    return Changes(columns=columns, permissions=kept)


def _name(name: str) -> str:
    return require_name(name, field="name", longest=_LONGEST_NAME)


def _ttl(ttl: Duration | None) -> int | None:
    return None if ttl is None else duration.to_micros(ttl)


def _end(expires_at: datetime | None) -> int:
    return clock.NEVER if expires_at is None else clock.to_micros(expires_at, field="expiresAt")


def _metadata(metadata: Mapping[str, object]) -> str:
    if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInput("Metadata is an object.", field="metadata")
    require_shallow(metadata, field="metadata")
    text = canonical_json(metadata)
    if len(text) > _LONGEST_METADATA:
        raise InvalidInput(f"Metadata has at most {_LONGEST_METADATA} bytes as JSON.", field="metadata")
    return text
