"""People who sign in here."""

from kavach_core.capabilities.users.model import AddressProof, User
from kavach_core.capabilities.users.service import Users

__all__ = ["AddressProof", "User", "Users"]
