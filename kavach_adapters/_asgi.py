"""What all adapters share: a view of an ASGI scope, a body read no further than its limit, a reply as ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeVar

from kavach_core.api.identify import nothing_said
from kavach_core.api.operation import Reply
from kavach_core.api.view import BodyReader, View
from kavach_core.errors import BodyTooLarge, InvalidInput

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: A kind of app.
App = TypeVar("App")
_MOST_LAYERS: Final = 100
#: Marks a scope whose state is its own. Servers are free to hand the same one to every request.
_OWN_STATE: Final = "kavach.own_state"


def view_of(
    scope: Scope,
    receive: Receive | None = None,
    params: Mapping[str, object] | None = None,
    *,
    read: BodyReader | None = None,
) -> View:
    """The view of an HTTP or WebSocket scope. What is learnt about it is kept in the scope's state.

    The body is read from `receive`, or by `read` where the framework may have done so before.
    """
    client = scope.get("client")
    return View(
        method=scope.get("method", "GET"),
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        raw_path=scope.get("raw_path"),
        root_path=scope.get("root_path", ""),
        headers=scope["headers"],
        peer=client[0] if client else None,
        state=own_state(scope),
        params={name: str(part) for name, part in (params or {}).items()},
        is_websocket=scope["type"] == "websocket",
        read=read if receive is None else body_reader(scope, receive),
    )


def innermost(app: object, kind: type[App]) -> App | None:
    """The app of a kind that others are wrapped around, where they keep what they wrap as `app`, as most do."""
    for _ in range(_MOST_LAYERS):
        if isinstance(app, kind):
            return app
        app = getattr(app, "app", None)
    return None


def own_state(scope: Scope) -> dict[str, object]:
    """The state of this scope alone, without an identity that another request may have left there."""
    if _OWN_STATE not in scope:
        scope["state"] = nothing_said(scope.get("state") or {})
        scope[_OWN_STATE] = True
    state: dict[str, object] = scope["state"]
    return state


def body_reader(scope: Scope, receive: Receive) -> BodyReader:
    """Read the whole body, but never more than the limit asked for."""

    async def read(limit: int) -> bytes:
        if any(_declared(value) > limit for name, value in scope["headers"] if name == b"content-length"):
            raise BodyTooLarge(limit)
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise InvalidInput("The body never came to its end.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                raise BodyTooLarge(limit)
        return bytes(body)

    return read


async def send_reply(reply: Reply, receive: Receive, send: Send, *, head: bool = False) -> None:
    """Send a reply as ASGI messages, a stream only for as long as somebody listens."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.all_headers()})
    if reply.stream is None or head:
        await send({"type": "http.response.body", "body": b"" if head else reply.body, "more_body": False})
        return
    sending = asyncio.create_task(_send_stream(reply.stream, send))
    leaving = asyncio.create_task(_client_leaves(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.wait((sending, leaving))
    if not sending.cancelled():
        sending.result()


async def refuse_socket(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a handshake that nobody has received yet."""
    await receive()
    await refuse_handshake(reply, scope, send)


async def refuse_handshake(reply: Reply, scope: Scope, send: Send) -> None:
    """Refuse a handshake: with a real answer where the server can send one, else by closing before it is accepted."""
    if can_answer_handshake(scope):
        headers = reply.all_headers()
        await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": reply.body})
    else:
        await send({"type": "websocket.close", "code": 4000 + reply.status, "reason": ""})


def can_answer_handshake(scope: Scope) -> bool:
    """Whether the server can refuse a handshake with an HTTP answer (ASGI's WebSocket Denial Response)."""
    return "websocket.http.response" in (scope.get("extensions") or {})


def text_headers(reply: Reply) -> list[tuple[str, str]]:
    """The headers of a reply for a framework that takes them as text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.all_headers()]


async def _send_stream(stream: AsyncIterator[str], send: Send) -> None:
    async for chunk in stream:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _declared(value: bytes) -> int:
    return int(value) if value.isdigit() else 0
