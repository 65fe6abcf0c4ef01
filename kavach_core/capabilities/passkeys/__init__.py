"""Passkeys: how humans sign in without a password (W3C Web Authentication, level 3)."""

from kavach_core.capabilities.passkeys.model import AddedPasskey, DeviceType, Options, Passkey
from kavach_core.capabilities.passkeys.service import Passkeys

__all__ = ["AddedPasskey", "DeviceType", "Options", "Passkey", "Passkeys"]
