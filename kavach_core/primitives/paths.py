"""Says whether a request path needs an identity, and what may be told to lead back to it.

A path is protected if any reading of it is protected; it is public only if every reading is public. What the readings
of a path are is in `path_readings`; what happens to a protected path is left to the guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from kavach_core.errors import ConfigurationError
from kavach_core.primitives.path_patterns import PathPatterns, Segments, fold
from kavach_core.primitives.path_readings import (
    AlsoReads,
    Roots,
    has_controls,
    is_plain,
    readings,
    reads_no_more,
    says_the_same,
    without_query,
)

#: What a decision is remembered for: a root path, a path, and how many prefixes of the app's own were known.
_Target = tuple[str, str, int]

MAX_NEXT = 2048

_MAX_REMEMBERED = 4096
#: Longer paths are decided anew each time, so that what is remembered stays small.
_LONGEST_REMEMBERED = 512
_NOT_QUOTED = "/!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRules:
    """Which paths need an identity: those that `protect` matches, or all but those that `public` matches.

    Exactly one of the two is given. `exempt` paths (the mount) need none, nor does the `login` page, which is also
    exempt where it is written with the root path and asked for without. Patterns are written as routes are, without
    root path; `prefixes` are further root paths, which the app knows and the scope does not say, and `own_prefixes`
    those that the app tells later. `also_reads` is for a router with ways of its own.

    `splits_at_root` is whether the router may take a path for what comes after the root path wherever that stands. It
    is to be switched off where the router is known to look for it in front alone.
    """

    protect: PathPatterns | None = None
    public: PathPatterns | None = None
    exempt: PathPatterns = field(default_factory=PathPatterns)
    login: PathPatterns = field(default_factory=PathPatterns)
    prefixes: Sequence[str] = ()
    own_prefixes: Sequence[str] = ()
    also_reads: AlsoReads = reads_no_more
    splits_at_root: bool = True
    _known: dict[_Target, bool] = field(default_factory=dict[_Target, bool], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.protect is None) == (self.public is None):
            raise ConfigurationError("A guard needs protect= or public=, and not both.")

    def protects(self, path: str, raw_path: bytes | None, root_path: str) -> bool:
        """Whether the target of an ASGI scope with these values needs an identity."""
        target = (root_path, path, len(self.own_prefixes))
        known = self._known.get(target)
        if known is not None and says_the_same(raw_path, path):
            return known
        protected = self._decide(path, raw_path, root_path)
        if len(path) <= _LONGEST_REMEMBERED and is_plain(path, raw_path):
            self._remember(target, protected)
        return protected

    def forget(self) -> None:
        """Decide anew about every path: the router has learnt another way to read some."""
        self._known.clear()

    def _decide(self, path: str, raw_path: bytes | None, root_path: str) -> bool:
        roots = Roots.of(root_path, (*self.prefixes, *self.own_prefixes), splits=self.splits_at_root)
        found = readings(path, raw_path, roots, self.also_reads, may_empty=self.protect is not None)
        if not found:
            return True
        below = roots.segments
        if all(self._opens(reading, below) for reading in found):
            return False
        if self.protect is None:
            return True
        below = [fold(root) for root in below]
        return any(self.protect.matches(form) for reading in found for form in _forms(fold(reading), below))

    def _opens(self, reading: Segments, roots: Sequence[Segments]) -> bool:
        for form in _forms(reading, roots):
            if self.exempt.matches_exactly(form) or self.login.matches_exactly(form):
                return True
            if self.public is not None and self.public.matches_exactly(form):
                return True
        return any(self.login.matches_exactly((*root, *reading)) for root in roots)

    def _remember(self, target: _Target, protected: bool) -> None:
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[target] = protected


def safe_next(path: str, query: str, *, raw_path: bytes | None = None, root_path: str = "") -> str | None:
    """The value of `next` that leads back to a scope with these values, if it can lead nowhere else.

    The path is kept as it was sent, where the server tells that and nothing on the way has put another in its place:
    `/a%2Fb` is not `/a/b`.
    """
    raw = "" if raw_path is None else without_query(raw_path).decode("ascii", "replace")
    shown = (
        quote(raw, safe=_NOT_QUOTED + "%") if unquote(raw) == path else quote(path, safe=_NOT_QUOTED, errors="replace")
    )
    target = _under(root_path, path, shown)
    if query:
        target += "?" + quote(query, safe=_NOT_QUOTED + "%?", errors="replace")
    return target if is_safe_next(target) else None


def under_root(path: str, root_path: str) -> str:
    """A path of the app as it is from outside: below its root path, unless it begins with that already.

    A root path that would lead to another origin, because a route takes it from what a client sent, is left out.
    """
    outside = _under(root_path, path, path)
    return outside if is_safe_next(outside) else path


def _under(root_path: str, path: str, shown: str) -> str:
    root = root_path.rstrip("/")
    is_told = not root or path == root or path.startswith(f"{root}/")
    return shown if is_told else quote(root, safe=_NOT_QUOTED, errors="replace") + shown


def is_safe_next(target: str) -> bool:
    """Whether a redirect to `target` stays on this origin; ask it again when a client sends the value back.

    As it is and after up to three decodings it starts with one slash and not two, and has no backslash and no control
    character. It is at most 2,048 characters long.
    """
    if len(target) > MAX_NEXT:
        return False
    for _ in range(4):
        if not target.startswith("/") or target.startswith("//") or "\\" in target or has_controls(target):
            return False
        target = unquote(target)
    return True


def _forms(segments: Segments, roots: Iterable[Segments]) -> Iterator[Segments]:
    """A reading as it is, and what is left of it under each root: what the app's own router sees."""
    yield segments
    for root in roots:
        if segments[: len(root)] == root:
            yield segments[len(root) :]
