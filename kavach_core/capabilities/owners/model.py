"""What is known of an owner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kavach_core.primitives.permissions import Permission
from kavach_core.primitives.text import require_clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An owner on record. Owners come into being when something of theirs does."""

    id: str
    created_at: datetime
    suspended_at: datetime | None
    #: What the human may do, and so the most any of their agents may; None where nothing is said.
    permissions: tuple[Permission, ...] | None

    @property
    def suspended(self) -> bool:
        """Whether everything of theirs is refused now."""
        return self.suspended_at is not None


def require_owner_id(owner_id: str, *, field: str = "ownerId") -> str:
    """Return an owner id as it is; it is opaque, but has 1 to 255 clean characters. Raises `InvalidInput`."""
    return require_clean(owner_id, field=field)
