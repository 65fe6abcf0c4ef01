"""A permission: a resource pattern, actions and constraints; the two spellings people write, the one they are kept in.

`"read:repos:private"` is an action and a resource; `{"resource": ..., "actions": [...], "constraints": {...}}` is all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Self, cast

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.checks import check_list, check_object, within
from kavach_core.primitives.permissions.constraints import NO_CONSTRAINTS, Constraints, parse_constraints
from kavach_core.primitives.permissions.grammar import Pattern, check_granted_action, check_pattern
from kavach_core.primitives.permissions.request import AccessRequest
from kavach_core.primitives.text import canonical_json

#: The most (resource, action) pairs one agent may hold.
MAX_PAIRS = 1_000

_PARTS = ("resource", "actions", "constraints")


@dataclass(frozen=True, slots=True, init=False)
class Permission:
    """Actions on the resources of one pattern, under constraints. Checked when made, so one that exists is valid."""

    resource: str
    #: Sorted and unique.
    actions: tuple[str, ...]
    constraints: Constraints
    pattern: Pattern = field(init=False, repr=False, compare=False)
    #: `key`, once somebody asked for it.
    _key: bytes | None = field(init=False, repr=False, compare=False)

    def __init__(
        self, *, resource: str, actions: Iterable[str], constraints: Constraints | Mapping[str, object] | None = None
    ) -> None:
        """Check and keep the parts. Raises InvalidInput naming the part that is wrong."""
        self._set(*_checked(resource, actions, constraints, field=""))

    @classmethod
    def trusted(cls, resource: str, actions: tuple[str, ...], constraints: Constraints) -> Self:
        """Make a permission of parts that were checked before."""
        permission = object.__new__(cls)
        permission._set(resource, actions, constraints)
        return permission

    @property
    def key(self) -> bytes:
        """Sixteen bytes that stand for these resources, actions and constraints, whatever the rate.

        What was counted under one rate still counts when the rate is changed.
        """
        if self._key is None:
            conditions = self.constraints.to_wire().items()
            constraints = {name: value for name, value in conditions if name != "maxCallsPerHour"}
            text = "\t".join((self.resource, ",".join(self.actions), canonical_json(constraints)))
            object.__setattr__(self, "_key", hashlib.sha256(text.encode()).digest()[:16])
        return cast(bytes, self._key)

    @property
    def line(self) -> str:
        """The stored form: literal prefix, resource, actions and constraints (empty for none) with tabs between."""
        constraints = canonical_json(self.constraints.to_wire()) if self.constraints.any else ""
        return "\t".join((":".join(self.pattern.literal), self.resource, ",".join(self.actions), constraints))

    def matches(self, request: AccessRequest) -> bool:
        """Tell whether resource and action are meant; the constraints are not looked at."""
        return (request.action in self.actions or "*" in self.actions) and self.pattern.matches(request.segments)

    def to_wire(self) -> dict[str, object]:
        """Write the permission as an object with wire names, the constraints only if there are any."""
        wire: dict[str, object] = {"resource": self.resource, "actions": list(self.actions)}
        if self.constraints.any:
            wire["constraints"] = self.constraints.to_wire()
        return wire

    def _set(self, resource: str, actions: tuple[str, ...], constraints: Constraints) -> None:
        put = object.__setattr__
        put(self, "resource", resource)
        put(self, "actions", actions)
        put(self, "constraints", constraints)
        put(self, "pattern", Pattern.of(resource))
        put(self, "_key", None)


#: The spellings that are accepted where permissions are written.
PermissionLike = Permission | str | Mapping[str, object]


def parse_permission(value: object, *, field: str = "permission") -> Permission:
    """Return the permission in a text, an object or a Permission. Raises InvalidInput with the place inside `field`."""
    if isinstance(value, str):
        action, colon, resource = value.partition(":")
        if not colon:
            raise InvalidInput('A permission in one text is "action:resource".', field=field)
        return Permission.trusted(
            check_pattern(resource, field), (check_granted_action(action, field),), NO_CONSTRAINTS
        )
    if isinstance(value, Permission):
        return Permission.trusted(*_checked(value.resource, value.actions, value.constraints, field=field))
    if not isinstance(value, Mapping):
        raise InvalidInput("A permission is a text or an object.", field=field)
    parts = check_object(cast("object", value), field, known=_PARTS)
    return Permission.trusted(*_checked(*(parts.get(part) for part in _PARTS), field=field))


def parse_permissions(
    values: Iterable[object], *, limit: int = MAX_PAIRS, field: str = "permissions"
) -> tuple[Permission, ...]:
    """Return the permissions of a list in its order, exact duplicates once.

    Raises InvalidInput with the place, or when they are more than `limit` (resource, action) pairs as written. No more
    than `limit` are read for that.
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput("Permissions are a list.", field=field)
    if isinstance(values, Sized):
        _check_pairs(len(values), limit, field)
    found: dict[Permission, None] = {}
    pairs = 0
    for index, value in enumerate(values):
        permission = parse_permission(value, field=f"{field}[{index}]")
        pairs += len(permission.actions)
        _check_pairs(pairs, limit, field)
        found[permission] = None
    return tuple(found)


def _check_pairs(pairs: int, limit: int, field: str) -> None:
    if pairs > limit:
        raise InvalidInput(f"At most {limit} pairs of a resource and an action are allowed.", field=field)


def _checked(
    resource: object, actions: object, constraints: object, *, field: str
) -> tuple[str, tuple[str, ...], Constraints]:
    names = within(field, "actions")
    members = check_list(actions, names, longest=MAX_PAIRS)
    return (
        check_pattern(resource, within(field, "resource")),
        tuple(sorted({check_granted_action(name, f"{names}[{index}]") for index, name in enumerate(members)})),
        parse_constraints(constraints, within(field, "constraints")),
    )
