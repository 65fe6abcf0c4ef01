"""Every way in which a server, router or file handler might read a request path.

Pure, and without regular expressions on what a client sent. What follows from a reading is left to `paths`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from kavach_core.primitives.path_patterns import Segments, split

#: What one router alone takes a path for, besides what all do. It is also told the root path of the scope.
AlsoReads = Callable[[str, str], Iterable[str]]

#: Longer than any page of an app has, even with a signed token or another URL in it; many servers stop earlier.
MAX_PATH = 8192

_MAX_RAW = 4 * MAX_PATH
_MAX_SPELLINGS = 64
#: Characters in all spellings of one path together.
_MAX_READ = 64 * 1024
#: Segments that the place of a mount may have.
_MAX_MOUNT = 8
_PLAIN = frozenset(string.ascii_letters + string.digits + "/-._~!$&'()*+,:=@")
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))


def reads_no_more(path: str, root_path: str) -> Iterable[str]:
    """The `AlsoReads` of routers that take a path for nothing that others do not."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Where an app may be below: what its router takes off a path before it looks for a route."""

    #: The root path of the scope, as it is written there.
    told: str
    #: It, the prefixes, and each prefix under it.
    all: tuple[str, ...]
    #: Those to which a router of mounts adds the place of a mount.
    mounts_below: tuple[str, ...]
    #: Whether the router may split at the root path wherever it stands.
    splits: bool

    @classmethod
    def of(cls, told: str, prefixes: Sequence[str] = (), *, splits: bool = True) -> Roots:
        """The roots of a scope, and of the app behind."""
        mounts_below = [root for root in (told, *prefixes) if root.strip("/")]
        # One that the scope tells as well is not there twice.
        below = [told + prefix for prefix in prefixes if prefix.rstrip("/") != told.rstrip("/")]
        found = dict.fromkeys(root for root in (*mounts_below, *below) if root.strip("/"))
        return cls(told=told, all=tuple(found), mounts_below=tuple(mounts_below), splits=splits)

    @property
    def segments(self) -> list[Segments]:
        """The roots as they may stand at the beginning of a reading, with a slash too many or without."""
        exact = [tuple(root.removeprefix("/").split("/")) for root in self.all]
        return list(dict.fromkeys((*exact, *(tuple(filter(None, root)) for root in exact))))

    def cut(self, text: str) -> Iterator[str]:
        """What may be left of a path without the root path."""
        folded = text.casefold()
        same_places = text if len(folded) == len(text) else folded
        for root in self.all:
            # On a segment boundary or not, and with the slash at its end or without.
            for front in (root, root.rstrip("/")):
                if text.startswith(front):
                    yield text[len(front) :]
                    break
                if folded.startswith(front.casefold()):
                    yield same_places[len(front.casefold()) :]
                    break
        yield from self._split(text)
        yield from self._split_by_a_mount(text)

    def _split(self, text: str) -> Iterator[str]:
        # Litestar, and Quart before 0.22. A single slash splits nothing off that matters, but for a path without one.
        if self.splits and self.told and not (self.told == "/" and text.startswith("/")):
            _, found, rest = text.partition(self.told)
            if found:
                yield rest

    def _split_by_a_mount(self, text: str) -> Iterator[str]:
        """Below the mounts of a router that looks in front alone there may be one that does not.

        Starlette adds the place of a mount to the root path whether the path begins with that or not, and whoever
        splits at both takes `/mount/x/root/mount/rest` for `rest`.
        """
        for root in self.mounts_below:
            if root in text:
                for mount in _first_segments(text):
                    _, found, rest = text.partition(root + mount)
                    if found:
                        yield f"{mount}/{rest}"


def readings(
    path: str,
    raw_path: bytes | None,
    roots: Roots,
    also_reads: AlsoReads = reads_no_more,
    *,
    may_empty: bool = True,
) -> tuple[Segments, ...]:
    """Every way to read the target of a scope, as segments in the case they came in.

    There is none for a path over 8 KiB, or for one that reads in too many ways before its dots and doubled slashes are
    looked at: more than 64, or fewer if it is long. Such a path counts as protected.

    `may_empty` is whether a mark that begins a segment may end the path there, too, or is a part of its name:
    `/tags/#python` is one tag to every router, while who parses it as a URL once more sees `/tags/`.
    """
    if len(path) > MAX_PATH or (raw_path is not None and len(raw_path) > _MAX_RAW):
        return ()
    if not roots.all and is_plain(path, raw_path) and not tuple(also_reads(path, roots.told)):
        return (split(path),)
    raw = None if raw_path is None else without_query(raw_path).decode("utf-8", "replace")
    texts = [path] if raw is None else [path, unquote(raw)]

    def rewritten(text: str) -> Iterator[str]:
        yield from _rewritten(text, may_empty)
        yield from also_reads(text, roots.told)

    spellings = _closed(texts, rewritten, roots)
    if not spellings:
        return ()
    splits = [split(spelling) for spelling in spellings]
    if raw is not None:
        # A router may split first and decode after, which leaves an encoded slash inside its segment.
        splits.append(tuple(map(unquote, split(raw))))
    return tuple(dict.fromkeys(reading for segments in splits for reading in _resolutions(segments)))


def is_plain(path: str, raw_path: bytes | None) -> bool:
    """Whether every server and router reads this path alike, as long as there is no root path."""
    return (
        path.startswith("/")
        and len(path) <= MAX_PATH
        and _PLAIN.issuperset(path)
        and "//" not in path
        and "/." not in path
        and says_the_same(raw_path, path)
    )


def says_the_same(raw_path: bytes | None, plain: str) -> bool:
    """Whether a raw path is this plain one."""
    return raw_path is None or without_query(raw_path) == plain.encode("ascii")


def without_query(raw_path: bytes) -> bytes:
    """The path alone: some servers and test clients leave the query on it."""
    # A question mark of the path itself is always encoded here.
    return raw_path.partition(b"?")[0]


def has_controls(text: str) -> bool:
    """Whether there are control characters in a text."""
    return not text.isprintable() and text.translate(_CONTROLS) != text


def _first_segments(text: str) -> Iterator[str]:
    """The path up to each of its first few segments."""
    end = 0
    for _ in range(_MAX_MOUNT):
        end = text.find("/", end + 1)
        if end < 0:
            yield text
            return
        yield text[:end]


def _closed(texts: Sequence[str], rewritten: Callable[[str], Iterable[str]], roots: Roots) -> set[str]:
    """Close `texts` under every rewriting, in any order; give none if that makes too many."""
    # The root path is taken away once at most: what looks like it further on is the path's own.
    waiting = [(text, False) for text in texts]
    seen = set(waiting)
    most = min(_MAX_SPELLINGS, _MAX_READ // max(1, *map(len, texts)))
    while waiting and len(seen) <= most:
        text, is_below = waiting.pop()
        found = [(each, is_below) for each in rewritten(text)]
        if not is_below:
            found += [(rest, True) for rest in roots.cut(text)]
        waiting += (state for state in found if state not in seen)
        seen.update(found)
    return set() if waiting else {text for text, _ in seen}


def _rewritten(text: str, may_empty: bool) -> Iterator[str]:
    # An empty segment that somebody drops leaves a dot segment one more to take back.
    may_empty = may_empty or ".." in text
    if "%" in text:
        yield unquote(text)
    if "\\" in text:
        yield text.replace("\\", "/")
    for mark in "#?":
        before, found, _ = text.partition(mark)
        if found and (may_empty or not before.endswith("/")):
            yield before
    if ";" in text:
        segments = text.split("/")
        bare = [segment.partition(";")[0] or ("" if may_empty else segment) for segment in segments]
        yield "/".join(bare)
        yield "/".join((*segments[:-1], bare[-1]))
    if "//" in text:
        yield _without_authority(text)
    if not text.startswith("/"):
        # Parsers of whole URLs drop spaces in front, and need no slashes after a scheme.
        yield text.lstrip()
        yield _without_scheme(text)
    if has_controls(text):
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
