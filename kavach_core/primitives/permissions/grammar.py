"""Resources and actions: what may be written, what a pattern matches, and how two patterns compare.

A resource is segments separated by `:`. In a pattern `*` stands for exactly one segment, `**` as the last segment for
one or more, and the pattern `*` alone for everything. Comparison is by code point; there are no partial wildcards.
"""

from __future__ import annotations

import re
from itertools import accumulate, takewhile, zip_longest
from typing import NamedTuple

from kavach_core.errors import InvalidInput
from kavach_core.primitives.text import require_name

MAX_SEGMENTS = 32
MAX_RESOURCE_LENGTH = 512
MAX_ACTION_LENGTH = 64

_ANY = "*"
_ANY_MORE = "**"
_ACTION = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff:,*]{1,64}")


class Pattern(NamedTuple):
    """A resource pattern taken apart: the `fixed` segments, and whether it is `open` to one or more after them."""

    fixed: tuple[str, ...]
    open: bool

    @classmethod
    def of(cls, resource: str) -> Pattern:
        """Take a valid pattern apart; text that is not one gives a pattern that matches no valid request."""
        if resource == _ANY:
            return _EVERYTHING
        segments = tuple(resource.split(":"))
        if segments[-1] == _ANY_MORE:
            return cls(segments[:-1], True)
        return cls(segments, False)

    @property
    def resource(self) -> str:
        """The pattern as it is written."""
        if not self.fixed:
            return _ANY
        return ":".join((*self.fixed, _ANY_MORE) if self.open else self.fixed)

    @property
    def literal(self) -> tuple[str, ...]:
        """The segments before the first wildcard."""
        return tuple(takewhile(_ANY.__ne__, self.fixed))

    def matches(self, segments: tuple[str, ...]) -> bool:
        """Tell whether a request's segments are matched."""
        fixed, is_open = self
        if len(segments) <= len(fixed) if is_open else len(segments) != len(fixed):
            return False
        for want, have in zip(fixed, segments, strict=False):  # noqa: SIM110 - four times as fast as all() here
            if want != have and want != _ANY:
                return False
        return True

    def covers(self, other: Pattern) -> bool:
        """Tell whether everything that `other` matches is matched by this one too."""
        if self.open:
            if len(other.fixed) + other.open <= len(self.fixed):
                return False
        elif other.open or len(other.fixed) != len(self.fixed):
            return False
        return all(mine in (_ANY, theirs) for mine, theirs in zip(self.fixed, other.fixed, strict=False))

    def meet(self, other: Pattern) -> Pattern | None:
        """Give the pattern that matches exactly what both match, or None where they have nothing in common."""
        for one, two in ((self, other), (other, self)):
            if not one.open and len(one.fixed) < len(two.fixed) + two.open:
                return None
        pairs = list(zip_longest(self.fixed, other.fixed, fillvalue=_ANY))
        if any(mine != theirs and _ANY not in (mine, theirs) for mine, theirs in pairs):
            return None
        fixed = tuple(theirs if mine == _ANY else mine for mine, theirs in pairs)
        return Pattern(fixed, self.open and other.open)


_EVERYTHING = Pattern((), True)


def check_pattern(value: object, field: str) -> str:
    """Return a resource pattern in its one spelling (`**` alone is `*`), or raise InvalidInput."""
    text = _text(value, field)
    segments = _split(text, field)
    for segment in segments:
        if _ANY in segment and segment not in (_ANY, _ANY_MORE):
            raise InvalidInput("A wildcard stands for whole segments: * or **.", field=field)
    if _ANY_MORE in segments[:-1]:
        raise InvalidInput("** may only be the last segment.", field=field)
    return _ANY if text == _ANY_MORE else text


def check_resource(value: object, field: str) -> tuple[str, ...]:
    """Return the segments of an exact resource, one without wildcards, or raise InvalidInput."""
    text = _text(value, field)
    if _ANY in text:
        raise InvalidInput("A request names one resource, without wildcards.", field=field)
    return _split(text, field)


def check_action(value: object, field: str) -> str:
    """Return an exact action, or raise InvalidInput."""
    if not isinstance(value, str) or not _ACTION.fullmatch(value):
        raise InvalidInput(
            f"An action has 1 to {MAX_ACTION_LENGTH} characters, without spaces, controls, colon, comma or *.",
            field=field,
        )
    return value if value.isascii() else require_name(value, field=field)


def check_granted_action(value: object, field: str) -> str:
    """Return an action of a permission: an exact one or `*`."""
    return _ANY if value == _ANY else check_action(value, field)


def prefixes(segments: tuple[str, ...]) -> tuple[str, ...]:
    """Give the beginnings of a resource, from none of its segments (`""`) to all of them."""
    return ("", *accumulate(segments, "{}:{}".format))


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("A resource is text.", field=field)
    return require_name(value, field=field, longest=MAX_RESOURCE_LENGTH)


def _split(text: str, field: str) -> tuple[str, ...]:
    segments = tuple(text.split(":"))
    if len(segments) > MAX_SEGMENTS:
        raise InvalidInput(f"A resource has at most {MAX_SEGMENTS} segments.", field=field)
    if "" in segments:
        raise InvalidInput("A resource has no empty segments.", field=field)
    return segments
