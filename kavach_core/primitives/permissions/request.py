"""What is asked: one action on one resource, with the arguments of the call and the address it came from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Self

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.grammar import check_action, check_resource, prefixes
from kavach_core.primitives.permissions.networks import Address, find_address


class AccessRequest(NamedTuple):
    """One question to the grammar, made by `of`. The time is not part of it: it comes with the facts."""

    action: str
    resource: str
    arguments: Mapping[str, object] | None
    address: Address | None
    #: The resource cut at its colons, and all its beginnings: `("", "app", "app:read")`.
    segments: tuple[str, ...]
    prefixes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        *,
        action: str,
        resource: str,
        arguments: Mapping[str, object] | None = None,
        address: str | Address | None = None,
    ) -> Self:
        """Make a request from what a caller gave; an address that cannot be read counts as unknown.

        Raises InvalidInput, with the field, for an inexact action or resource and for arguments that are no object.
        """
        if arguments is not None and not isinstance(arguments, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput("Arguments are an object.", field="arguments")
        # What is no text cannot be remembered, and is refused.
        are_text = isinstance(action, str) and isinstance(resource, str)  # pyright: ignore[reportUnnecessaryIsInstance]
        take_apart = _taken_apart if are_text else _taken_apart.__wrapped__
        return cls(action, resource, arguments, find_address(address), *take_apart(action, resource))


@lru_cache(maxsize=1024)
def _taken_apart(action: str, resource: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The segments of a resource and all its beginnings, once action and resource were checked.

    Remembered, because most calls ask for one of few permissions.
    """
    check_action(action, "action")
    segments = check_resource(resource, "resource")
    return segments, prefixes(segments)
