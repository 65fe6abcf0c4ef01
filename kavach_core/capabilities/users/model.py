"""A user as people see one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who signs in with Kavach's own sign-in."""

    #: Who they are to everything else: the owner id of their agents and sessions.
    id: str
    email: str | None
    #: Whether a mail to the address was answered. An unverified one proves nothing and links nothing.
    email_verified: bool
    display_name: str | None
    created_at: datetime
