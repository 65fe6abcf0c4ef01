"""A proxy between asyncpg and PostgreSQL that cuts a connection around its COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

#: The server never gets it; it is sent and the line cut at once; or the server has answered, and nobody hears it.
Moment = Literal["before", "at", "after"]

#: The message that asyncpg sends for `execute("commit")`.
_COMMIT = b"Q\0\0\0\x0bcommit\0"


@dataclass
class Cutter:
    """What the proxy is to do, and what it did."""

    url: str
    #: When to cut the next COMMIT, on whichever connection it comes, and how many to let pass before that.
    next_cut: Moment | None = None
    passing: int = 0
    cuts: int = 0

    def take(self) -> Moment | None:
        """What to do with a COMMIT that is here."""
        if self.passing:
            self.passing -= 1
            return None
        cut, self.next_cut = self.next_cut, None
        self.cuts += cut is not None
        return cut


class _Line:
    """One connection through the proxy."""

    def __init__(self, cutter: Cutter, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._cutter = cutter
        self._client = client
        self._server = server
        self._deaf = False

    async def pass_on(self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        """Pass on both ways until either end is gone or the line is cut."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._up(from_client))
            both.create_task(self._down(from_server))

    async def _up(self, source: asyncio.StreamReader) -> None:
        while data := await _read(source):
            cut = self._cutter.take() if _COMMIT in data else None
            if cut != "before":
                self._server.write(data)
            if cut in ("before", "at"):
                break
            self._deaf = cut == "after"
        self.close()

    async def _down(self, source: asyncio.StreamReader) -> None:
        while (data := await _read(source)) and not self._deaf:
            self._client.write(data)
        self.close()

    def close(self) -> None:
        # What was written to the server still gets there; the client is cut off with what it was about to hear.
        self._server.close()
        self._client.transport.abort()


@asynccontextmanager
async def cutter_before(url: str) -> AsyncGenerator[Cutter]:
    """A proxy before the server of this URL."""
    parts = urlsplit(url)
    lines: set[asyncio.Task[None]] = set()

    async def connected(from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        from_server, server = await asyncio.open_connection(parts.hostname, parts.port)
        line = asyncio.create_task(_Line(cutter, client, server).pass_on(from_client, from_server))
        lines.add(line)
        line.add_done_callback(lines.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    cutter = Cutter(urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}")))
    try:
        yield cutter
    finally:
        listening.close()
        await asyncio.gather(*lines)


async def _read(source: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await source.read(65536)
    return b""
