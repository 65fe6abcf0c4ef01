"""Reads a request path in every way a server, router or file handler might, and says whether any of them is protected.

A path is protected if any reading of it is protected; it is public only if every reading is public. Pure, and without
regular expressions on what a client sent. What happens to a protected path is left to the guard.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from kavach_core.errors import ConfigurationError
from kavach_core.primitives.path_patterns import PathPatterns, Segments, fold, split

#: What one router alone takes a path for, besides what all do.
AlsoReads = Callable[[str], Iterable[str]]

MAX_PATH = 1024
MAX_NEXT = 2048

_MAX_RAW = 4 * MAX_PATH
_MAX_SPELLINGS = 64
_MAX_REMEMBERED = 4096
_PLAIN = frozenset(string.ascii_letters + string.digits + "/-._~!$&'()*+,:=@")
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
_NOT_QUOTED = "/!$&'()*+,;=:@"


def reads_no_more(path: str) -> Iterable[str]:
    """The `AlsoReads` of routers that take a path for nothing that others do not."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRules:
    """Which paths need an identity: those that `protect` matches, or all but those that `public` matches.

    Exactly one of the two is given. `exempt` paths (the login page, the mount) need none. Patterns are written as
    routes are, without root path; `prefixes` are further root paths, which the app knows and the scope does not say.
    `also_reads` is for a router with ways of its own.
    """

    protect: PathPatterns | None = None
    public: PathPatterns | None = None
    exempt: PathPatterns = field(default_factory=PathPatterns)
    prefixes: tuple[str, ...] = ()
    also_reads: AlsoReads = reads_no_more
    _known: dict[tuple[str, str], bool] = field(
        default_factory=dict[tuple[str, str], bool], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if (self.protect is None) == (self.public is None):
            raise ConfigurationError("A guard needs protect= or public=, and not both.")

    def protects(self, path: str, raw_path: bytes | None, root_path: str) -> bool:
        """Whether the target of an ASGI scope with these values needs an identity."""
        known = self._known.get((root_path, path))
        if known is not None and _says_the_same(raw_path, path):
            return known
        protected = self._decide(path, raw_path, root_path)
        if _is_plain(path, raw_path):
            self._remember((root_path, path), protected)
        return protected

    def _decide(self, path: str, raw_path: bytes | None, root_path: str) -> bool:
        found = readings(path, raw_path, root_path, self.prefixes, self.also_reads)
        if not found:
            return True
        roots = [split(root) for root in _roots(root_path, self.prefixes)]
        forms = [(reading, *_below(roots, reading)) for reading in found]
        if all(any(map(self._opens, same)) for same in forms):
            return False
        return self.protect is None or any(self.protect.matches(fold(form)) for same in forms for form in same)

    def _opens(self, segments: Segments) -> bool:
        if self.exempt.matches_exactly(segments):
            return True
        return self.public is not None and self.public.matches_exactly(segments)

    def _remember(self, key: tuple[str, str], protected: bool) -> None:
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = protected


def readings(
    path: str,
    raw_path: bytes | None,
    root_path: str,
    prefixes: Sequence[str] = (),
    also_reads: AlsoReads = reads_no_more,
) -> tuple[Segments, ...]:
    """Every way to read the target of a scope, as segments in the case they came in.

    There is none for a path over 1,024 characters, or for one that reads in more than 64 ways before its dots and
    doubled slashes are looked at. Such a path counts as protected.
    """
    if len(path) > MAX_PATH or (raw_path is not None and len(raw_path) > _MAX_RAW):
        return ()
    roots = _roots(root_path, prefixes)
    if not roots and _is_plain(path, raw_path) and not tuple(also_reads(path)):
        return (split(path),)
    raw = None if raw_path is None else _without_query(raw_path).decode("utf-8", "replace")
    spellings = _spellings([path] if raw is None else [path, unquote(raw)], roots, also_reads)
    if not spellings:
        return ()
    splits = [split(spelling) for spelling in spellings]
    if raw is not None:
        # A router may split first and decode after, which leaves an encoded slash inside its segment.
        splits.append(tuple(map(unquote, split(raw))))
    return tuple(dict.fromkeys(reading for segments in splits for reading in _resolutions(segments)))


def safe_next(path: str, query: str) -> str | None:
    """The value of `next` that leads back to a scope's decoded `path` and raw `query`, if it can lead nowhere else."""
    target = quote(path, safe=_NOT_QUOTED, errors="replace")
    if query:
        target += "?" + quote(query, safe=_NOT_QUOTED + "%?", errors="replace")
    return target if is_safe_next(target) else None


def is_safe_next(target: str) -> bool:
    """Whether a redirect to `target` stays on this origin; ask it again when a client sends the value back.

    As it is and after up to three decodings it starts with one slash and not two, and has no backslash and no control
    character. It is at most 2,048 characters long.
    """
    if len(target) > MAX_NEXT:
        return False
    for _ in range(4):
        if not target.startswith("/") or target.startswith("//") or "\\" in target or _has_controls(target):
            return False
        target = unquote(target)
    return True


def _is_plain(path: str, raw_path: bytes | None) -> bool:
    """Whether every server and router reads this path alike, as long as there is no root path."""
    return (
        path.startswith("/")
        and len(path) <= MAX_PATH
        and _PLAIN.issuperset(path)
        and "//" not in path
        and "/." not in path
        and _says_the_same(raw_path, path)
    )


def _says_the_same(raw_path: bytes | None, plain: str) -> bool:
    return raw_path is None or _without_query(raw_path) == plain.encode("ascii")


def _without_query(raw_path: bytes) -> bytes:
    # Some servers and test clients leave the query on; a question mark of the path itself is always encoded here.
    return raw_path.partition(b"?")[0]


def _roots(root_path: str, prefixes: Sequence[str]) -> tuple[str, ...]:
    """The root path, the prefixes, and each prefix under the root path, without slashes at their ends."""
    root = root_path.rstrip("/")
    below = [prefix.rstrip("/") for prefix in prefixes]
    return tuple(dict.fromkeys(found for found in (root, *below, *(root + prefix for prefix in below)) if found))


def _below(roots: Iterable[Segments], segments: Segments) -> Iterator[Segments]:
    """What is left of `segments` under each root: what the app's own router sees."""
    for root in roots:
        if segments[: len(root)] == root:
            yield segments[len(root) :]


def _spellings(texts: Iterable[str], roots: Sequence[str], also_reads: AlsoReads) -> set[str]:
    """Close `texts` under every rewriting, in any order; give none if that makes too many."""
    # The root path is taken away once at most: what looks like it further on is the path's own.
    waiting = [(text, False) for text in texts]
    seen = set(waiting)
    while waiting and len(seen) <= _MAX_SPELLINGS:
        text, is_below = waiting.pop()
        found = [(rewritten, is_below) for rewritten in (*_rewritten(text), *also_reads(text))]
        if not is_below:
            found += [(rest, True) for rest in _without_roots(text, roots)]
        waiting += (state for state in found if state not in seen)
        seen.update(found)
    return set() if waiting else {text for text, _ in seen}


def _rewritten(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)
    if "\\" in text:
        yield text.replace("\\", "/")
    for mark in "#?":
        if mark in text:
            yield text.partition(mark)[0]
    if ";" in text:
        yield "/".join(segment.partition(";")[0] for segment in text.split("/"))
        before, slash, last = text.rpartition("/")
        yield before + slash + last.partition(";")[0]
    if "//" in text:
        yield _without_authority(text)
    if not text.startswith("/"):
        # Parsers of whole URLs drop spaces in front, and need no slashes after a scheme.
        yield text.lstrip()
        yield _without_scheme(text)
    if _has_controls(text):
        yield text.translate(_CONTROLS)


def _without_authority(text: str) -> str:
    """The path of `https://host/path`, `/https://host/path` or `//host/path`; other texts as they are."""
    if text.startswith("//"):
        rest = text[2:]
    else:
        scheme, _, rest = text.removeprefix("/").partition("://")
        if "/" in scheme:
            return text
    _, slash, path = rest.partition("/")
    return slash + path


def _without_scheme(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    return rest if colon and "/" not in scheme else text


def _without_roots(text: str, roots: Sequence[str]) -> Iterator[str]:
    # Some routers cut at the first place where the root path occurs, on a segment boundary or not.
    folded = text.casefold()
    same_places = text if len(folded) == len(text) else folded
    for root in roots:
        for place, source in ((text.find(root), text), (folded.find(root.casefold()), same_places)):
            if place >= 0:
                yield source[place + len(root) :]


def _resolutions(segments: Segments) -> Iterator[Segments]:
    """The segments as they are, without empty ones, and with their dots resolved before or after that."""
    yield segments
    if "" in segments or "." in segments or ".." in segments:
        dense = tuple(filter(None, segments))
        yield dense
        yield _dots_resolved(dense)
        yield tuple(filter(None, _dots_resolved(segments)))


def _dots_resolved(segments: Segments) -> Segments:
    resolved: list[str] = []
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment != ".":
            resolved.append(segment)
    return tuple(resolved)


def _has_controls(text: str) -> bool:
    return not text.isprintable() and text.translate(_CONTROLS) != text
