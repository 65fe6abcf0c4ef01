"""What Starlette and FastAPI have in common: replies as Starlette responses, endpoints for operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from kavach_adapters._asgi import Receive, Scope, Send, view_of
from kavach_adapters._connection import watch_socket
from kavach_core.api import problems
from kavach_core.api.dispatch import run, run_unknown
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Operation, Reply
from kavach_core.api.view import View
from kavach_core.errors import KavachError

Endpoint = Callable[[Request], Awaitable[Response]]


class _Anything(Convertor[str]):
    """Like Starlette's `path`, which a line end stops: such a path would leave the mount and its errors."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """Take the text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Give the text as it is."""
        return value


register_url_convertor("kavach_anything", _Anything())
#: The path of everything under the mount.
ANYTHING: Final = "/{rest:kavach_anything}"


def to_response(reply: Reply, *, head: bool = False) -> Response:
    """A reply as Starlette sends it, header by header."""
    if reply.stream is not None and not head:
        response: Response = StreamingResponse(reply.stream, status_code=reply.status)
    else:
        response = Response(b"" if head else reply.body, status_code=reply.status)
    response.raw_headers = reply.all_headers()
    return response


async def refuse(connection: HTTPConnection, cause: KavachError) -> Response | None:
    """Answer a request with the error; refuse a handshake with it, by a real answer where the server can send one."""
    error = problems.for_clients(cause)
    response = to_response(problems.to_reply(error))
    if not isinstance(connection, WebSocket):
        return response
    if "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(response)
    else:
        await connection.close(problems.close_code(error), error.public_code)
    return None


def connection_view(connection: HTTPConnection) -> View:
    """The view of a request or WebSocket."""
    return view_of(connection.scope, params={name: str(part) for name, part in connection.path_params.items()})


def watch(edge: Edge, connection: HTTPConnection, every: float) -> None:
    """Verify a socket again while it is open. Streams are left to the guard: only a layer around the app sees them."""
    if not isinstance(connection, WebSocket):
        return

    async def close(code: int, reason: str) -> None:
        if WebSocketState.DISCONNECTED not in (connection.application_state, connection.client_state):
            # A client that goes away in this moment has what it needs.
            with suppress(WebSocketDisconnect):
                await connection.close(code, reason)

    receive = watch_socket(edge, connection.scope, connection.receive, every, close)
    # The handler has this socket in its hands already, and all its ways to receive lead through here.
    connection.receive = receive  # type: ignore[assignment,method-assign]


def operation_endpoint(edge: Edge, operation: Operation) -> Endpoint:
    """The endpoint of one operation."""

    async def endpoint(request: Request) -> Response:
        view = view_of(request.scope, request.receive, dict(request.path_params))
        return to_response(await run(edge, operation, view), head=request.method == "HEAD")

    endpoint.__name__ = operation.name
    return endpoint


class Unknown:
    """Answers what no operation under the mount is for. It is an ASGI app, so that a router hands it any method."""

    def __init__(self, table: Sequence[Operation]) -> None:
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 405 for a path that has other methods, else 404."""
        reply = run_unknown(self._table, "/" + str(scope["path_params"].get("rest", "")))
        await to_response(reply, head=scope["method"] == "HEAD")(scope, receive, send)
