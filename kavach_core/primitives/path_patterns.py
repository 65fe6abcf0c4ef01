"""The pattern grammar of the guard: `/dashboard/:path*` and its kin, matched on segments without regular expressions.

Which segments a request path may stand for is left to `paths`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from kavach_core.errors import ConfigurationError

Segments = tuple[str, ...]

_MAX_OPTIONAL = 4
#: As `int` and pydantic read it: `7`, `+07`, `0_7`, ` 7.0`, in the digits of any script.
_NUMBER = re.compile(r"\s*([+-]?)(\d[\d_]*)(?:\.0*)?\s*")
_UUID = re.compile("[0-9a-f]{32}")
_LITERAL_MARKS = frozenset("-._~@,=&")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPatterns:
    """Path patterns, checked when they are made; a path matches if one of them does.

    A pattern is a path. Its segments are literal, or match: `:id` and `{id}` one segment, `:id?` none or one, `:rest+`
    one or more, `:rest*` and `{rest:path}` any number. A slash at the end makes no difference.
    """

    _exact: tuple[_Shape, ...] = ()
    _folded: tuple[_Shape, ...] = ()

    @classmethod
    def parse(cls, patterns: Sequence[str]) -> PathPatterns:
        """Compile `patterns`; raise ConfigurationError for anything but the syntax above."""
        if isinstance(patterns, str):
            raise ConfigurationError(f"Path patterns are a list of strings, not the one string {patterns!r}.")
        exact = tuple(shape for pattern in patterns for shape in _parse(pattern))
        return cls(_exact=exact, _folded=tuple(shape.folded() for shape in exact))

    def matches(self, segments: Segments) -> bool:
        """Match folded `segments` (see `fold`): for what must not be missed."""
        return any(shape.fits(segments) for shape in self._folded)

    def matches_exactly(self, segments: Segments) -> bool:
        """Match `segments` as they are: for what is let through.

        Routers tell `/users/ME` from `/users/me`: a public `/users/me` must not open `/users/{id}` for the user ME.
        """
        return any(shape.fits(segments) for shape in self._exact)


def split(path: str) -> Segments:
    """The segments of a path; one slash at either end makes none."""
    segments = path.removeprefix("/").split("/")
    return tuple(segments if segments[-1] else segments[:-1])


def fold(segments: Segments) -> Segments:
    """Segments without the differences that case, Unicode's compatible forms, and dots and spaces at the end make.

    Nor those between two ways to write a number or a UUID: a route with a typed parameter takes them for one.
    """
    return tuple(map(_fold, segments))


class _Wild(Enum):
    """A segment that is not literal."""

    ONE = "one"
    MAYBE = "none or one"
    SOME = "one or more"
    ANY = "any number"


_Piece = str | _Wild
_SUFFIXES = {"?": _Wild.MAYBE, "+": _Wild.SOME, "*": _Wild.ANY}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """One way to fill a pattern: fixed segments at both ends, and between them nothing or, if open, any number.

    None in an end stands for any one segment that is not empty.
    """

    head: tuple[str | None, ...]
    tail: tuple[str | None, ...]
    is_open: bool

    def folded(self) -> _Shape:
        head, tail = (tuple(want and _fold(want) for want in end) for end in (self.head, self.tail))
        return _Shape(head=head, tail=tail, is_open=self.is_open)

    def fits(self, segments: Segments) -> bool:
        between = len(segments) - len(self.head) - len(self.tail)
        if between < 0 or (between > 0 and not self.is_open):
            return False
        return _agree(self.head, segments) and _agree(self.tail, segments[len(segments) - len(self.tail) :])


def _agree(wanted: tuple[str | None, ...], segments: Segments) -> bool:
    for want, have in zip(wanted, segments, strict=False):
        if have != want and (want is not None or not have):
            return False
    return True


def _parse(pattern: str) -> list[_Shape]:
    """The shapes of a pattern: one, or two for each way an optional segment doubles them."""
    if not pattern.startswith("/"):
        raise _refusal(pattern, "it does not start with a slash")
    pieces = [_piece(pattern, segment) for segment in split(pattern)]
    if sum(piece in (_Wild.SOME, _Wild.ANY) for piece in pieces) > 1:
        raise _refusal(pattern, "more than one of its segments matches any number")
    if pieces.count(_Wild.MAYBE) > _MAX_OPTIONAL:
        raise _refusal(pattern, f"more than {_MAX_OPTIONAL} of its segments are optional")
    ways: list[list[_Piece]] = [[]]
    for piece in pieces:
        if piece is _Wild.MAYBE:
            ways += [[*way, _Wild.ONE] for way in ways]
        else:
            added = (_Wild.ONE, _Wild.ANY) if piece is _Wild.SOME else (piece,)
            ways = [[*way, *added] for way in ways]
    return [_shape(way) for way in ways]


def _shape(way: list[_Piece]) -> _Shape:
    is_open = _Wild.ANY in way
    end_of_head = way.index(_Wild.ANY) if is_open else len(way)
    fixed = [piece if isinstance(piece, str) else None for piece in way]
    return _Shape(head=tuple(fixed[:end_of_head]), tail=tuple(fixed[end_of_head + 1 :]), is_open=is_open)


def _piece(pattern: str, segment: str) -> _Piece:
    if segment.startswith(":"):
        suffix = _SUFFIXES.get(segment[-1])
        name, piece = segment[1:], _Wild.ONE
        if suffix is not None:
            name, piece = segment[1:-1], suffix
    elif segment.startswith("{") and segment.endswith("}"):
        name, _, converter = segment[1:-1].partition(":")
        if ":" in segment and converter != "path":
            raise _refusal(pattern, f"{segment!r} has a converter other than path")
        piece = _Wild.ANY if converter else _Wild.ONE
    else:
        return _literal(pattern, segment)
    if not name.isidentifier():
        raise _refusal(pattern, f"{segment!r} has no proper name")
    return piece


def _literal(pattern: str, segment: str) -> str:
    if segment in ("", ".", ".."):
        raise _refusal(pattern, "it has an empty segment or a dot segment")
    if not all(character.isalnum() or character in _LITERAL_MARKS for character in segment):
        raise _refusal(pattern, f"{segment!r} is neither literal nor a known wildcard")
    return segment


def _fold(segment: str) -> str:
    # Windows opens a file by its name with dots and spaces at the end, too.
    segment = segment.rstrip(" .") or segment
    folded = segment.casefold() if segment.isascii() else unicodedata.normalize("NFKC", segment).casefold()
    return _value(folded) or folded


def _value(segment: str) -> str | None:
    """The whole number or UUID that a route's typed parameter reads in a segment, written in one way."""
    number = _NUMBER.fullmatch(segment)
    if number is not None:
        sign, digits = number.groups()
        # Not as an int: a path may have more digits than Python turns into one.
        plain = "".join(str(unicodedata.digit(each)) for each in digits if each != "_").lstrip("0")
        return f"-{plain}" if sign == "-" and plain else plain or "0"
    hexadecimal = segment.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
    return hexadecimal if _UUID.fullmatch(hexadecimal) else None


def _refusal(pattern: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The path pattern {pattern!r} is refused: {why}.")
