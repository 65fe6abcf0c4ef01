"""Back into an account whose passkeys are lost: by codes, by mail, or by an administrator. Never past the passkey."""

from kavach_core.capabilities.recovery.model import RecoveryLink
from kavach_core.capabilities.recovery.service import Recovery

__all__ = ["Recovery", "RecoveryLink"]
