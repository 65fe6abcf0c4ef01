"""A passkey as people see one, and what a verified ceremony tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from kavach_core.capabilities.sessions.model import Session

#: Passkeys one user may have.
MOST_PASSKEYS: Final = 10
#: Bytes a credential id may have (WebAuthn, section 4, credential ID).
LONGEST_CREDENTIAL_ID: Final = 1023

#: What a browser is asked for, as JSON: the argument of its `parse...OptionsFromJSON`.
Options = dict[str, object]


class DeviceType(StrEnum):
    """Whether a passkey may be copied between devices (WebAuthn, backup eligibility). It never changes."""

    SINGLE_DEVICE = "single_device"
    MULTI_DEVICE = "multi_device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """One passkey of a user."""

    id: str
    name: str
    #: What browsers know it by, in base64url.
    credential_id: str
    created_at: datetime
    last_used_at: datetime | None
    device_type: DeviceType
    #: Whether a copy exists elsewhere now. One that has none is lost with its device.
    backed_up: bool
    #: How browsers reach it: `internal`, `hybrid`, `usb`, ...
    transports: tuple[str, ...]
    #: Since when it is refused, because a copy of a key that cannot be copied was seen.
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPasskey:
    """A passkey that was added to an account."""

    passkey: Passkey
    #: Only for somebody who was recovering: their new sign-in, in place of the recovery session, with its token.
    session: Session | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """What a verified registration tells of a new passkey."""

    credential_id: bytes
    #: In COSE form, as the authenticator made it.
    public_key: bytes = field(repr=False)
    sign_count: int
    aaguid: str
    device_type: DeviceType
    backed_up: bool
    transports: tuple[str, ...]

    @property
    def default_name(self) -> str:
        """What to call it until its owner does."""
        if self.device_type is DeviceType.MULTI_DEVICE:
            return "Synced passkey"
        return "Passkey of one device" if "internal" in self.transports else "Security key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What a verified authentication tells of the passkey that signed it."""

    sign_count: int
    device_type: DeviceType
    backed_up: bool
