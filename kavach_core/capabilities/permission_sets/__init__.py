"""Permission sets, stored once under their digest and cached, because what a digest names cannot change."""

from kavach_core.capabilities.permission_sets.sets import PermissionSets

__all__ = ["PermissionSets"]
