"""What the test apps answer, whatever the framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.websockets import WebSocket

from kavach_core import Browser, Decision

#: Headers in which the guard tells who is asking, where an app wants that.
_FORWARDED = {b"x-user-id", *(b"x-kavach-" + name for name in (b"kind", b"owner-id", b"agent-id", b"key-id"))}


def described(identity: object) -> dict[str, Any]:
    """Who is asking."""
    kind = None if identity is None else type(identity).__name__.removesuffix("Identity").lower()
    return {"kind": kind, "id": getattr(identity, "id", None), "auditId": getattr(identity, "audit_id", None)}


def about(browser: Browser) -> dict[str, Any]:
    """What an endpoint learns of a browser."""
    return {"isNew": browser.is_new, "hash": browser.hash.hex()}


def seen(connection: Any) -> dict[str, Any]:
    """What an endpoint without any dependency sees of the identity, and of the headers that might claim one."""
    in_scope = connection.scope.get("state", {}).get("kavach_identity")
    # Quart has no state of its own on a request, only the scope.
    identity = getattr(connection.state, "kavach_identity", None) if hasattr(connection, "state") else in_scope
    claims = sorted(name.decode() for name, _ in connection.scope["headers"] if name.startswith(b"x"))
    said = [[name.decode(), value.decode()] for name, value in connection.scope["headers"] if name in _FORWARDED]
    return {**described(identity), "same": identity is in_scope, "claims": claims, "forwarded": said}


async def greet(socket: WebSocket, message: object) -> None:
    """Accept, say one thing, and close."""
    await socket.accept()
    await socket.send_json(message)
    await socket.close()


async def ticks() -> AsyncGenerator[str]:
    """A stream that never ends by itself."""
    while True:
        yield "tick\n"
        await asyncio.sleep(0.01)


async def events(decide: Callable[[], Awaitable[Decision]]) -> AsyncGenerator[str]:
    """Server-sent events, each of them decided; the one that is denied is the last."""
    decision = await decide()
    while decision:
        yield f"data: {decision.code}\n\n"
        await asyncio.sleep(0.01)
        decision = await decide()
    yield f"data: {decision.code}\n\n"
