"""A session as people see it, and what verifying one gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal


class SignInMethod(StrEnum):
    """How a session was started."""

    #: By the app, which signed the human in its own way.
    APP = "app"
    PASSKEY = "passkey"
    PASSWORD = "password"
    #: By a recovery code or link: such a session can only add a passkey.
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A sign-in of one human in one browser or program."""

    id: str
    user_id: str
    created_at: datetime
    #: The absolute end; resting longer than allowed ends it earlier.
    expires_at: datetime
    last_used_at: datetime
    address: str | None
    user_agent: str | None
    method: SignInMethod
    #: Whether its human proved who they are a short while ago (`fresh_for`), as sensitive changes ask for.
    is_fresh: bool
    #: Whole seconds from now to the absolute end.
    expires_in: int
    #: Only on what `create` returns.
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSession(Session):
    """A session whose token was verified now."""

    @property
    def valid(self) -> Literal[True]:
        """True: this is not a `SessionRejected`."""
        return True

    def __bool__(self) -> Literal[True]:
        return True


class SessionEnd(StrEnum):
    """Why a session token does not hold."""

    UNKNOWN = "UNKNOWN_CREDENTIAL"
    REVOKED = "SESSION_REVOKED"
    EXPIRED = "SESSION_EXPIRED"
    OWNER_SUSPENDED = "OWNER_SUSPENDED"
    #: It holds for adding a passkey, and as a sign-in it does not exist.
    RECOVERY_ONLY = "RECOVERY_ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRejected:
    """A session token that does not hold."""

    code: SessionEnd

    @property
    def valid(self) -> Literal[False]:
        """False: nobody was verified."""
        return False

    def __bool__(self) -> Literal[False]:
        return False
