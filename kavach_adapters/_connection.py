"""Connections that stay open: a socket or stream is verified again while it is open, and ended once that fails.

What is verified is the credential it was opened with; what may be done with it is decided by `authorize`, message by
message. Nothing runs for an ordinary request: there is a timer only while something is open.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from kavach_adapters._asgi import ASGIApp, Message, Receive, Scope, Send, own_state, view_of
from kavach_adapters._interrupt import Interrupted, Interruptible
from kavach_adapters._watch import Close, Watch
from kavach_core.api.edge import Edge
from kavach_core.errors import ConfigurationError

#: Seconds between two looks at an open connection.
RECHECK: Final = 30.0

#: Seconds that an app has to stop by itself after it was told that its client is gone.
_GRACE: Final = 1.0
#: Marks a scope whose connection is watched already, further out.
_WATCHED: Final = "kavach.watched"

#: Statuses of answers that have neither a body nor its length.
_WITHOUT_BODY: Final = (204, 304)

_SOCKET_GONE: Final[Message] = {"type": "websocket.disconnect", "code": 1005, "reason": ""}
_CLIENT_GONE: Final[Message] = {"type": "http.disconnect"}


class Watched:
    """Wraps an app: its sockets are closed, and its streams ended, when who opened them is no longer who they were.

    Whoever told who that is, the guard or `require`, and of whichever mount: each is asked again.
    """

    def __init__(self, app: ASGIApp, edge: Edge, every: float) -> None:
        self.app = app
        self._edge = edge
        self._every = checked(every)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, with a watch over what it keeps open."""
        if scope["type"] not in ("http", "websocket") or _WATCHED in scope:
            await self.app(scope, receive, send)
            return
        scope[_WATCHED] = True
        await _Connection(self._edge, self._every, scope, receive, send).run(self.app)


def watch_socket(edge: Edge, scope: Scope, receive: Receive, every: float, close: Close) -> Receive:
    """Watch a socket from inside its handler, if no `Watched` is around it, until the task of the handler is done.

    Returns the `receive` that the handler has to use from now on.
    """
    task = asyncio.current_task()
    if _WATCHED in scope or task is None:
        return receive
    scope[_WATCHED] = True
    listening = Listening(receive, _SOCKET_GONE)

    async def end(code: int, reason: str) -> None:
        listening.interrupt()
        await close(code, reason)

    watch = Watch(edge, view_of(scope), every, end)
    watch.start()
    task.add_done_callback(lambda _: watch.cancel())
    return listening


def checked(every: float) -> float:
    """The seconds between two looks. Raises `ConfigurationError` if there are none between."""
    if not every > 0:
        raise ConfigurationError("recheck is a number of seconds, more than none.")
    return every


class Listening:
    """A `receive` that can be made to say that the client is gone.

    That comes before a socket is closed: granian does not close one while somebody waits for its next message.
    """

    def __init__(self, receive: Receive, gone: Message) -> None:
        self._receive = receive
        self._gone = gone
        self._waiting = Interruptible()
        self._is_interrupted = False

    async def __call__(self) -> Message:
        """Give the next message, or once interrupted the one that says that there will be no more."""
        if self._is_interrupted:
            return dict(self._gone)
        try:
            return await self._waiting.wait(self._receive())
        except Interrupted:
            return dict(self._gone)

    def interrupt(self) -> bool:
        """Say from now on that the client is gone. Returns whether somebody was waiting to hear it."""
        self._is_interrupted = True
        return self._waiting.interrupt()


class ConnectionEnded(OSError):
    """Sending on a socket that was closed here; ASGI 2.4 asks for an `OSError`, as for one that the client closed."""


class _Connection:
    """One request or socket on its way through `Watched`."""

    def __init__(self, edge: Edge, every: float, scope: Scope, receive: Receive, send: Send) -> None:
        self._edge = edge
        self._every = every
        self._scope = scope
        self._send = send
        self._is_socket = scope["type"] == "websocket"
        self._receive = Listening(receive, _SOCKET_GONE if self._is_socket else _CLIENT_GONE)
        # Its own before the app sees it: whoever copies the scope on the way shares it then.
        self._state = own_state(scope)
        self._watch: Watch | None = None
        #: What the app began its answer with.
        self._start: Message = {}
        self._running = Interruptible()
        self._grace: asyncio.TimerHandle | None = None
        self._is_done = False
        self._is_ended = False

    async def run(self, app: ASGIApp) -> None:
        """Run the app, until it or its connection ends."""
        try:
            await self._running.wait(app(self._scope, self._receive, self.send))
        except Interrupted:
            pass
        finally:
            if self._grace is not None:
                self._grace.cancel()
            if self._watch is not None:
                if not self._is_ended:
                    self._watch.cancel()
                await self._watch.finished()
        if self._is_ended and not self._is_socket:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(self, message: Message) -> None:
        """Pass on what the app sends; begin to watch with what stays open."""
        kind = message["type"]
        if self._is_ended:
            if self._is_socket and kind != "websocket.close":
                raise ConnectionEnded("The credential this socket was opened with no longer holds.")
            return
        if kind == "http.response.start":
            self._start = message
        if kind == "websocket.close" or (kind == "http.response.body" and not message.get("more_body", False)):
            self._done()
        elif self._watch is None and self._goes_on(message):
            self._watch_on()
        await self._send(message)

    def _watch_on(self) -> None:
        if self._edge.knows_somebody(self._state):
            self._watch = Watch(self._edge, view_of(self._scope), self._every, self._end)
            self._watch.start()

    def _goes_on(self, message: Message) -> bool:
        """Whether a message is not the last one for long."""
        match message["type"]:
            case "http.response.start":
                # A stream may have nothing to say for hours, and tells no length. What ends at once does.
                told = any(name == b"content-length" for name, _ in message.get("headers", ()))
                return not told and message["status"] not in _WITHOUT_BODY
            case "http.response.body":
                return not self._is_whole(message)
            case kind:
                return kind in ("websocket.accept", "websocket.send")

    def _is_whole(self, message: Message) -> bool:
        """Whether a part of a body is all of it: Quart says only after the last one that there are no more."""
        length = str(len(message.get("body", b""))).encode()
        return any(name == b"content-length" and value == length for name, value in self._start.get("headers", ()))

    def _done(self) -> None:
        self._is_done = True
        if self._watch is not None:
            self._watch.cancel()

    async def _end(self, code: int, reason: str) -> None:
        if self._is_done:
            return
        self._is_ended = True
        was_listening = self._receive.interrupt()
        if self._is_socket:
            # A client that went away in this moment has what it needs.
            with suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        else:
            # An app that listens stops when it hears that nobody is there. One that does not is cancelled.
            grace = _GRACE if was_listening else 0
            self._grace = asyncio.get_running_loop().call_later(grace, self._running.interrupt)
