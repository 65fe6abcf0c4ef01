"""Real servers on loopback ports, in the loop of the test, and requests to them byte for byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from granian.constants import Interfaces
from granian.server.embed import Server as Granian
from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.http.live import live

_SECONDS = 10


@asynccontextmanager
async def _uvicorn(app: Any, root_path: str, http: str) -> AsyncGenerator[int]:
    async with live(app, http=http, root_path=root_path, log_level="critical") as url:
        yield urlsplit(url).port or 0


@asynccontextmanager
async def _hypercorn(app: Any, root_path: str) -> AsyncGenerator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    config, stop = Config(), asyncio.Event()
    config.bind = [f"fd://{listener.detach()}"]
    config.root_path = root_path
    config.errorlog = None
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait, mode="asgi"))
    try:
        yield port
    finally:
        stop.set()
        await task


@asynccontextmanager
async def _granian(app: Any, root_path: str) -> AsyncGenerator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    # Its workers run in this process; what answers is the same as in a process of its own.
    server: Any = Granian(
        app, port=port, interface=Interfaces.ASGI, url_path_prefix=root_path or None, log_enabled=False
    )
    task = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(_until_it_listens(port, task), _SECONDS)
        yield port
    finally:
        server.stop()
        await task


async def _until_it_listens(port: int, task: asyncio.Task[None]) -> None:
    while not task.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise RuntimeError("the server ended before it began")


#: Serves an app under a root path, and gives its port.
Serve = Callable[[Any, str], AbstractAsyncContextManager[int]]

REAL_SERVERS: Final[dict[str, Serve]] = {
    "uvicorn-h11": lambda app, root_path: _uvicorn(app, root_path, "h11"),
    "uvicorn-httptools": lambda app, root_path: _uvicorn(app, root_path, "httptools"),
    "hypercorn": _hypercorn,
    "granian": _granian,
}


class Answer(NamedTuple):
    """What a server sent back; the status is 0 if it only closed the connection."""

    status: int
    text: str


async def send(port: int, request: bytes, *, until: bytes = b"") -> Answer:
    """Send bytes, and read until the server closes the connection or `until` has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(request)
        async with asyncio.timeout(_SECONDS):
            while not (until and until in received) and (piece := await reader.read(65_536)):
                received += piece
    except ConnectionResetError:
        # A server need not read a request to its end to refuse it.
        pass
    finally:
        writer.close()
    words = received.split(b" ", 2)
    return Answer(int(words[1]) if received.startswith(b"HTTP/") else 0, received.decode("latin-1"))


def request(target: str, *headers: str, method: str = "GET", version: str = "1.1", host: str = "localhost") -> bytes:
    """A request as bytes. The headers are whole lines; the connection is closed after the answer."""
    hosts = [f"host: {host}"] if host else []
    lines = [f"{method} {target} HTTP/{version}", *hosts, "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(target: str, *headers: str) -> bytes:
    """The handshake of a WebSocket, as bytes."""
    lines = [f"GET {target} HTTP/1.1", "host: localhost", "connection: Upgrade", "upgrade: websocket", *headers]
    lines += ["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    return "\r\n".join(lines).encode("latin-1")
