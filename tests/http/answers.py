"""What the test apps answer, whatever the framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.websockets import WebSocket


def described(identity: object) -> dict[str, Any]:
    """Who is asking."""
    kind = None if identity is None else type(identity).__name__.removesuffix("Identity").lower()
    return {"kind": kind, "id": getattr(identity, "id", None), "auditId": getattr(identity, "audit_id", None)}


def seen(connection: Any) -> dict[str, Any]:
    """What an endpoint without any dependency sees of the identity, and of the headers that might claim one."""
    in_scope = connection.scope.get("state", {}).get("kavach_identity")
    # Quart has no state of its own on a request, only the scope.
    identity = getattr(connection.state, "kavach_identity", None) if hasattr(connection, "state") else in_scope
    claims = sorted(name.decode() for name, _ in connection.scope["headers"] if name.startswith(b"x"))
    return {**described(identity), "same": identity is in_scope, "claims": claims}


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
