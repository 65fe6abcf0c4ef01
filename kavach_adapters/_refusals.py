"""Sockets that a framework would close in its own way when its handler fails: closed here with what was wrong."""

from __future__ import annotations

from typing import Final

from kavach_adapters._asgi import ASGIApp, Message, Receive, Scope, Send, refuse_handshake
from kavach_core.api.problems import to_close, to_reply

#: Where a handler's failure is noted, from the innermost of the app's layers.
_REFUSAL: Final = "kavach.refusal"


class SocketRefusals:
    """Wraps an app. A socket that is closed after `note_refusal` is refused with the error, or closed with its code."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, with an eye on how it closes a socket."""
        if scope["type"] == "websocket":
            scope[_REFUSAL] = send = _Refusal(scope, send)
        await self.app(scope, receive, send)


def note_refusal(scope: Scope, error: Exception) -> None:
    """Tell why the socket of a scope is about to be closed."""
    refusal = scope.get(_REFUSAL)
    if isinstance(refusal, _Refusal):
        refusal.error = error


class _Refusal:
    """The `send` of one socket."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.error: Exception | None = None
        self._scope = scope
        self._send = send
        self._is_accepted = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self._is_accepted = True
        if message["type"] != "websocket.close" or self.error is None:
            await self._send(message)
        elif self._is_accepted:
            code, reason = to_close(self.error)
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        else:
            await refuse_handshake(to_reply(self.error), self._scope, self._send)
