"""Globs on the arguments of a call: `*` is any run of characters, `?` any one, and the whole text must match.

Without backtracking and without regular expressions: the pieces between stars are found one after the other, leftmost
first, so the time grows with the length of the text and not with its product by the glob's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.checks import check_list
from kavach_core.primitives.text import require_clean

MAX_PATTERNS = 50
MAX_PATTERN_LENGTH = 256

# A run of wildcards with a star in it means the same in any order; this is the order `Glob.covers` can compare.
_WILD_RUN = re.compile(r"[*?]*\*[*?]*")


@dataclass(frozen=True, slots=True)
class Glob:
    """One glob, cut at its stars."""

    text: str
    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Glob:
        """Compile a glob; every text is one."""
        ordered = _WILD_RUN.sub(lambda run: "?" * run[0].count("?") + "*", text)
        return cls(text, tuple(ordered.split("*")))

    def matches(self, text: str) -> bool:
        """Tell whether the whole text is matched."""
        return _match(self.pieces, text, barrier="")

    def covers(self, other: Glob) -> bool:
        """Tell whether everything `other` matches is surely matched by this one. It may miss a case, never invent one.

        The other glob is read as a text in which `?` is some character and `*` some run of them, so that a `?` of ours
        may stand for the first and only a star of ours for the second.
        """
        return _match(self.pieces, "*".join(other.pieces), barrier="*")


class Binding(NamedTuple):
    """One argument and the globs of which at least one must match it."""

    argument: str
    globs: tuple[Glob, ...]

    def allows(self, arguments: Mapping[str, object]) -> bool:
        """Tell whether the argument is there, is text, and matches a glob."""
        value = arguments.get(self.argument)
        return isinstance(value, str) and any(glob.matches(value) for glob in self.globs)

    def covers(self, other: Binding) -> bool:
        """Tell whether each glob of `other` is covered by one of ours."""
        return all(any(mine.covers(theirs) for mine in self.globs) for theirs in other.globs)

    def meet(self, other: Binding) -> tuple[Glob, ...]:
        """Give the globs for texts that both allow: of each two the covered one, and none where neither covers."""
        kept = {
            narrower.text: narrower
            for mine in self.globs
            for theirs in other.globs
            if (narrower := theirs if mine.covers(theirs) else mine if theirs.covers(mine) else None)
        }
        return tuple(kept.values())


def check_patterns(value: object, field: str) -> tuple[str, ...]:
    """Return a list of `argument=glob` texts, sorted and unique, or raise InvalidInput."""
    return tuple(sorted({_check_pattern(member, field) for member in check_list(value, field, longest=MAX_PATTERNS)}))


def bind(patterns: tuple[str, ...]) -> tuple[Binding, ...]:
    """Compile checked patterns, gathered by argument."""
    globs: dict[str, list[Glob]] = {}
    for pattern in patterns:
        argument, _, glob = pattern.partition("=")
        globs.setdefault(argument, []).append(Glob.of(glob))
    return tuple(Binding(argument, tuple(alternatives)) for argument, alternatives in globs.items())


def _check_pattern(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("A pattern is text: argument=glob.", field=field)
    argument, equals, _ = require_clean(value, field=field, longest=MAX_PATTERN_LENGTH).partition("=")
    if not (argument and equals):
        raise InvalidInput("A pattern names its argument: argument=glob.", field=field)
    return value


def _match(pieces: tuple[str, ...], text: str, *, barrier: str) -> bool:
    """Match pieces with any run between them; a `?` stands for any character but the `barrier`."""
    head, tail = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return len(text) == len(head) and _fits(head, text, 0, barrier)
    at, stop = len(head), len(text) - len(tail)
    if at > stop or not (_fits(head, text, 0, barrier) and _fits(tail, text, stop, barrier)):
        return False
    for piece in pieces[1:-1]:
        found = _find(piece, text, at, stop, barrier)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _fits(piece: str, text: str, at: int, barrier: str) -> bool:
    if "?" not in piece:
        return text.startswith(piece, at)
    there = text[at : at + len(piece)]
    return all(want == have or (want == "?" and have != barrier) for want, have in zip(piece, there, strict=True))


def _find(piece: str, text: str, start: int, stop: int, barrier: str) -> int:
    """Give the leftmost place of the piece in `text[start:stop]`, or -1."""
    if "?" not in piece:
        return text.find(piece, start, stop)
    # Shift-And: bit i of `state` says that the text read so far ends with the first i + 1 characters of the piece.
    wild = sum(1 << i for i, want in enumerate(piece) if want == "?")
    masks: dict[str, int] = {}
    for i, want in enumerate(piece):
        masks[want] = masks.get(want, wild) | (1 << i)
    masks[barrier] = 0
    whole, state = 1 << (len(piece) - 1), 0
    for at in range(start, stop):
        state = ((state << 1) | 1) & masks.get(text[at], wild)
        if state & whole:
            return at - len(piece) + 1
    return -1
