"""Shapes of input: lists and objects, refused by the name of the field when they are something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from kavach_core.errors import InvalidInput


def within(field: str, name: str) -> str:
    """Name a part of a field: `permissions[3]` and `resource` give `permissions[3].resource`."""
    return f"{field}.{name}" if field else name


def check_list(value: object, field: str, *, longest: int) -> list[object]:
    """Return the members of a list, tuple or set of 1 to `longest`; text is not a list of characters."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise InvalidInput("This must be a list.", field=field)
    members = cast("Collection[object]", value)
    if not members:
        raise InvalidInput("An empty list allows nothing; leave it out or name something.", field=field)
    if len(members) > longest:
        raise InvalidInput(f"This may have at most {longest} entries.", field=field)
    return list(members)


def check_object(value: object, field: str, *, known: Collection[str]) -> Mapping[str, object]:
    """Return `value` if it is a mapping with no other keys than the `known` ones."""
    if not isinstance(value, Mapping):
        raise InvalidInput("This must be an object.", field=field)
    members = cast("Mapping[object, object]", value)
    if any(key not in known for key in members):
        raise InvalidInput(f"An unknown key; known are {', '.join(known)}.", field=field)
    return cast("Mapping[str, object]", value)
