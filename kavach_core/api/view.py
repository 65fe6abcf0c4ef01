"""What Kavach looks at in a request or WebSocket handshake, whatever framework carries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kavach_core.primitives.paths import safe_next

#: Reads the body. Raises `BodyTooLarge` as soon as it is larger than the number of bytes given.
BodyReader = Callable[[int], Awaitable[bytes]]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One request. Headers are raw, as the server passed them: lower-case names, in order, duplicates and all."""

    method: str
    #: The whole path, decoded, as the server gives it. No security decision rests on it.
    path: str
    query: str = ""
    #: The path as it was sent, where the server tells, and what leads to the app, behind a proxy or below a mount.
    raw_path: bytes | None = None
    root_path: str = ""
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    #: The address of the other end of the connection, as the server sees it.
    peer: str | None = None
    #: What the connection carries from middleware to handler: ASGI's `scope["state"]`.
    state: MutableMapping[str, object] = field(default_factory=dict[str, object], repr=False)
    params: MutableMapping[str, str] = field(default_factory=dict[str, str])
    is_websocket: bool = False
    read: BodyReader | None = field(default=None, repr=False)

    @property
    def way_back(self) -> str | None:
        """The value of `next` that leads back here, if it can lead nowhere else."""
        return safe_next(self.path, self.query, raw_path=self.raw_path, root_path=self.root_path)

    @property
    def is_unsafe(self) -> bool:
        """Whether it may change something: an unsafe method (RFC 9110, section 9.2.1), or a WebSocket handshake."""
        return self.is_websocket or self.method not in _SAFE_METHODS

    def all(self, name: str) -> list[str]:
        """All values of a header, in order."""
        wanted = name.encode("ascii")
        return [value.decode("latin-1") for header, value in self.headers if header == wanted]

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.encode("ascii")
        for header, value in self.headers:
            if header == wanted:
                return value.decode("latin-1")
        return None

    def cookies(self, name: str) -> list[str]:
        """All different values of a cookie over all `Cookie` headers (HTTP/2 may split them), in order."""
        found: dict[str, None] = {}
        for line in self.all("cookie"):
            for part in line.split(";"):
                key, _, value = part.strip().partition("=")
                if key == name:
                    found[value.strip('"')] = None
        return list(found)
