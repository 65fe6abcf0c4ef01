"""A value out of a closed list, as people write it."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from kavach_core.errors import InvalidInput

E = TypeVar("E", bound=StrEnum)


def one_of(choices: type[E], value: str, field: str) -> E:
    """Return the member a text names. Raises `InvalidInput` for any other: to ignore it could widen."""
    try:
        return choices(value)
    except ValueError:
        *others, last = choices
        raise InvalidInput(f"{field} is {', '.join(others)} or {last}.", field=field) from None
