"""What is kept out of the record and from who approves a call: the values of arguments that are named like secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from kavach_core.config import plain_name

_REDACTED: Final = "[redacted]"


def redacted(value: object, ends: tuple[str, ...]) -> object:
    """The value with everything under a name with one of these ends, at any depth, replaced."""
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {key: _REDACTED if _is_secret(key, ends) else redacted(inner, ends) for key, inner in items}
    if isinstance(value, list | tuple):
        return [redacted(inner, ends) for inner in cast("Sequence[object]", value)]
    return value


def find_redacted(value: object, ends: tuple[str, ...], at: str = "") -> Iterator[str]:
    """Where in a recorded value something was replaced, as JSON pointers (RFC 6901).

    By its name as well as by what stands there: a caller may write the same word under another name.
    """
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            place = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
            if inner == _REDACTED and _is_secret(key, ends):
                yield place
            else:
                yield from find_redacted(inner, ends, place)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            yield from find_redacted(inner, ends, f"{at}/{index}")


def _is_secret(name: object, ends: tuple[str, ...]) -> bool:
    return plain_name(str(name)).endswith(ends)
