"""A user as people see one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


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


class AddressProof(NamedTuple):
    """What to mail to an address that somebody says is theirs."""

    #: As its owner wrote it, where it is another account's: somebody else's spelling may only look like it.
    address: str
    #: For the link that proves it; None where it is proved to be another account's, which only its owner may learn.
    token: str | None
