"""ASGI by hand: WebSockets and lifespans, as a server drives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import ClientDisconnect

_SECONDS = 10


class Socket:
    """One WebSocket from the client's side, and how its handshake was answered."""

    def __init__(self, to_app: asyncio.Queue[dict[str, Any]], from_app: asyncio.Queue[dict[str, Any]]) -> None:
        self._to_app = to_app
        self._from_app = from_app
        #: None if the handshake was accepted, else the HTTP status it was refused with, or stands for.
        self.refused: int | None = None
        #: The body of a refusal that came as an HTTP answer.
        self.body: dict[str, Any] | None = None
        #: The close code, where the handshake was refused by closing.
        self.code: int | None = None

    async def shake(self) -> None:
        """Wait for the answer to the handshake."""
        answer = await self.message()
        if answer["type"] == "websocket.close":
            self.code = answer["code"]
            self.refused = answer["code"] - 4000
        elif answer["type"] == "websocket.http.response.start":
            self.refused = answer["status"]
            self.body = json.loads((await self.message())["body"])
        else:
            assert answer["type"] == "websocket.accept", answer

    async def message(self, within: float = _SECONDS) -> dict[str, Any]:
        """The next message of the app. Raises `TimeoutError` if it says nothing for so many seconds."""
        return await asyncio.wait_for(self._from_app.get(), within)

    async def json(self) -> Any:
        """The next message of the app, which is JSON."""
        return json.loads((await self.message())["text"])

    async def send(self, text: str) -> None:
        """Send a message to the app."""
        await self._to_app.put({"type": "websocket.receive", "text": text})


@asynccontextmanager
async def socket(
    app: Any, path: str, headers: Mapping[str, str], *, can_answer: bool = True, **scope: Any
) -> AsyncGenerator[Socket]:
    """Open a WebSocket. `can_answer` is whether the server can refuse a handshake with an HTTP answer."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asked = {
        **_scope(path, headers),
        "type": "websocket",
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if can_answer else {},
        **scope,
    }
    await to_app.put({"type": "websocket.connect"})
    task = asyncio.create_task(app(asked, to_app.get, from_app.put))
    found = Socket(to_app, from_app)
    try:
        await found.shake()
        yield found
    finally:
        await to_app.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(task, _SECONDS)


class Stream:
    """One streamed answer from the client's side."""

    def __init__(self, spec_version: str) -> None:
        self._raises = spec_version >= "2.4"
        self.started: asyncio.Event = asyncio.Event()
        self.ended: asyncio.Event = asyncio.Event()
        self.left: asyncio.Event = asyncio.Event()
        self.status: int | None = None
        self.chunks: list[bytes] = []

    async def take(self, message: dict[str, Any]) -> None:
        """Receive a message of the app, as a server does: from ASGI 2.4 on it raises when the client is gone."""
        if self.left.is_set():
            if self._raises:
                raise OSError("the client has left")
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        assert not self.ended.is_set(), "something came after the end"
        self.chunks.append(message.get("body", b""))
        self.started.set()
        if not message.get("more_body", False):
            self.ended.set()


@asynccontextmanager
async def stream(app: Any, path: str, headers: Mapping[str, str], **scope: Any) -> AsyncGenerator[Stream]:
    """GET a path whose answer goes on. At the end the client leaves, and the app is done."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await found.left.wait()
        return {"type": "http.disconnect"}

    asked = {**_scope(path, headers), "type": "http", "method": "GET", "scheme": "http", **scope}
    found = Stream(asked["asgi"]["spec_version"])
    task = asyncio.create_task(app(asked, receive, found.take))
    try:
        await asyncio.wait_for(found.started.wait(), _SECONDS)
        yield found
    finally:
        found.left.set()
        with suppress(ClientDisconnect, OSError):  # what a server raises comes back to it
            await asyncio.wait_for(task, _SECONDS)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncGenerator[None]:
    """Start an app up, and shut it down at the end."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put)
    )
    await to_app.put({"type": "lifespan.startup"})
    assert (await asyncio.wait_for(from_app.get(), _SECONDS))["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await asyncio.wait_for(from_app.get(), _SECONDS))["type"] == "lifespan.shutdown.complete"
    await asyncio.wait_for(task, _SECONDS)


async def request(app: Any, path: str, headers: Mapping[str, str] | None = None, **scope: Any) -> tuple[int, Any]:
    """Send a GET with a scope of one's own, and give the status and the JSON of the answer."""
    sent: list[dict[str, Any]] = []
    ended = asyncio.Event()

    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ended.set()

    asked = {**_scope(path, headers or {}), "type": "http", "method": "GET", "scheme": "http", **scope}
    await app(asked, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body) if body else None


def _scope(path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
