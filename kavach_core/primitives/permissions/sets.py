"""Permission sets: immutable, named by the hash of their text, searched without being parsed.

The text is one line per permission, sorted. A line begins with the segments before the first wildcard, so a request can
only be meant by lines that begin with a beginning of its resource: a few bisections, however many lines there are.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kavach_core.primitives.permissions.constraints import NO_CONSTRAINTS, Constraints, read_constraints
from kavach_core.primitives.permissions.permission import Permission
from kavach_core.primitives.permissions.request import AccessRequest

# Measured with everything parsed: the split text, the permissions and their places in the buckets.
_BYTES_PER_LINE = 1_000
_BYTES_PER_ACTION = 300
_BYTES_PER_CHARACTER = 6
#: Answers a set remembers. Routes mostly ask for one and the same permission; a set never changes, so they stay true.
_MOST_ANSWERS: Final = 16
_BYTES_OF_ANSWERS: Final = 8_000


class _Bucket(NamedTuple):
    """The parsed lines with one literal prefix.

    A pattern that is literal again after a wildcard is found by that segment and its place, so that a thousand patterns
    like `*:x` are not all looked at.
    """

    plain: dict[str, list[Permission]]
    anchored: dict[tuple[str, int, str], list[Permission]]

    @classmethod
    def of(cls, permissions: Iterable[Permission]) -> _Bucket:
        bucket = cls({}, {})
        for permission in permissions:
            fixed, wild = permission.pattern.fixed, len(permission.pattern.literal)
            place = next((place for place in range(wild, len(fixed)) if fixed[place] != "*"), None)
            for action in ("*",) if "*" in permission.actions else permission.actions:
                if place is None:
                    bucket.plain.setdefault(action, []).append(permission)
                else:
                    bucket.anchored.setdefault((action, place, fixed[place]), []).append(permission)
        return bucket

    def find(self, segments: Sequence[str], action: str) -> list[Permission]:
        found = [*self.plain.get(action, ())]
        if self.anchored:
            for place, segment in enumerate(segments):
                found += self.anchored.get((action, place, segment), ())
        return found


class PermissionSet:
    """Permissions in canonical form. Equal sets have equal digests, however they were listed."""

    __slots__ = ("_answers", "_buckets", "_lines", "body", "digest")

    def __init__(self, body: str, digest: bytes) -> None:
        self.body: Final = body
        self.digest: Final = digest
        self._lines = body.split("\n") if body else []
        # Only prefixes that are there, so that requests cannot make it grow.
        self._buckets: dict[str, _Bucket] = {}
        self._answers: dict[tuple[str, str], Sequence[Permission]] = {}

    @classmethod
    def of(cls, permissions: Iterable[Permission]) -> PermissionSet:
        """Make the set of some permissions, exact duplicates once."""
        body = "\n".join(sorted({permission.line for permission in permissions}))
        return cls(body, hashlib.sha256(body.encode()).digest())

    @classmethod
    def from_body(cls, body: str, digest: bytes) -> PermissionSet:
        """Take a stored set back. That the digest is the body's is the promise of whoever stored them together."""
        return cls(body, digest)

    def matching(self, request: AccessRequest) -> Sequence[Permission]:
        """Return the permissions meant by resource and action; constraints are not looked at.

        The order depends on nothing but the set and the request.
        """
        if not self._lines:
            return ()
        asked = (request.resource, request.action)
        found = self._answers.get(asked)
        if found is None:
            segments = request.segments
            reaching = self.reaching(request.prefixes, segments, request.action)
            found = tuple(permission for permission in reaching if permission.pattern.matches(segments))
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[asked] = found
        return found

    def reaching(self, prefixes: Iterable[str], segments: Sequence[str], action: str) -> list[Permission]:
        """Return the few permissions worth comparing: literal only where `segments` are, with this action or `*`."""
        found: list[Permission] = []
        for prefix in prefixes:
            bucket = self._buckets.get(prefix) or self._load(prefix)
            if bucket is not None:
                found += bucket.find(segments, "*")
                if action != "*":
                    found += bucket.find(segments, action)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing is granted."""
        return not self._lines

    @property
    def pairs(self) -> int:
        """How many (resource, action) pairs there are."""
        return sum(line.split("\t", 3)[2].count(",") + 1 for line in self._lines)

    @property
    def size(self) -> int:
        """About how many bytes the set takes in memory once all of it was used; for bounding caches."""
        lines, actions = len(self._lines), len(self._lines) + self.body.count(",")
        parsed = len(self.body) * _BYTES_PER_CHARACTER + lines * _BYTES_PER_LINE + actions * _BYTES_PER_ACTION
        return parsed + _BYTES_OF_ANSWERS

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Permission]:
        return map(read_line, self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermissionSet) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<PermissionSet of {len(self)}, {self.digest.hex()[:12]}>"

    def _load(self, prefix: str) -> _Bucket | None:
        """Parse the lines that begin with the prefix; None if there are none."""
        lines = self._lines
        start = bisect_left(lines, prefix + "\t")
        # Nothing but the tab sorts between a prefix with its tab and the same prefix with the next character.
        stop = bisect_left(lines, prefix + "\n", start)
        if start == stop:
            return None
        self._buckets[prefix] = bucket = _Bucket.of(map(read_line, lines[start:stop]))
        return bucket


def read_line(line: str) -> Permission:
    """Return the permission a stored line stands for; `Permission.line` is its inverse."""
    _, resource, actions, constraints = line.split("\t")
    return Permission.trusted(resource, tuple(actions.split(",")), _read_constraints(constraints))


def _read_constraints(text: str) -> Constraints:
    if not text:
        return NO_CONSTRAINTS
    try:
        return read_constraints(json.loads(text))
    except ValueError:
        return read_constraints(text)
