"""A question that waits for its one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ChallengeKind(StrEnum):
    """What a challenge was made for; it answers nothing else."""

    PASSKEY_REGISTRATION = "passkey_registration"
    PASSKEY_ADDITION = "passkey_addition"
    PASSKEY_AUTHENTICATION = "passkey_authentication"
    PASSKEY_VERIFICATION = "passkey_verification"
    RECOVERY_LINK = "recovery_link"
    SIGN_UP_LINK = "sign_up_link"
    EMAIL_LINK = "email_link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was known when the question was asked. Nothing in an answer stands above it."""

    user_id: bytes | None = None
    session_id: bytes | None = None
    data: Mapping[str, str] = field(default_factory=dict[str, str])
