"""The humans agents act for: opaque ids, suspended and renamed here, locked here for limits."""

from kavach_core.capabilities.owners.model import Owner
from kavach_core.capabilities.owners.service import MoveOwner, Owners

__all__ = ["MoveOwner", "Owner", "Owners"]
