"""What is known of a project as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One app's world."""

    id: str
    suspended_at: datetime | None

    @property
    def suspended(self) -> bool:
        """Whether every agent of it is refused now."""
        return self.suspended_at is not None
