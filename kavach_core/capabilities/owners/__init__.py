"""The humans agents act for: opaque ids, suspended, bounded and renamed here, locked here for limits."""

from kavach_core.capabilities.owners.model import Owner
from kavach_core.capabilities.owners.queries import OwnerRow
from kavach_core.capabilities.owners.service import MoveOwner, Owners

__all__ = ["MoveOwner", "Owner", "OwnerRow", "Owners"]
