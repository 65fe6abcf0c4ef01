"""The grammar of permissions: what may be written, what matches, what covers what. Pure functions, one place.

Read in this order: `grammar` (resources, actions), `request`, the conditions (`globs`, `windows`, `networks`, gathered
in `constraints`), `permission`, `sets`, `covering`.
"""

from kavach_core.primitives.permissions.constraints import (
    NO_CONSTRAINTS,
    Constraints,
    parse_constraints,
    read_constraints,
)
from kavach_core.primitives.permissions.covering import covers, meet, uncovered
from kavach_core.primitives.permissions.networks import find_address
from kavach_core.primitives.permissions.permission import (
    MAX_PAIRS,
    Permission,
    PermissionLike,
    parse_permission,
    parse_permissions,
)
from kavach_core.primitives.permissions.request import AccessRequest
from kavach_core.primitives.permissions.sets import PermissionSet, read_line
from kavach_core.primitives.permissions.windows import TimeWindow

__all__ = [
    "MAX_PAIRS",
    "NO_CONSTRAINTS",
    "AccessRequest",
    "Constraints",
    "Permission",
    "PermissionLike",
    "PermissionSet",
    "TimeWindow",
    "covers",
    "find_address",
    "meet",
    "parse_constraints",
    "parse_permission",
    "parse_permissions",
    "read_constraints",
    "read_line",
    "uncovered",
]
