"""What Starlette and FastAPI have in common: replies as Starlette responses, endpoints for operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse

from kavach_adapters._asgi import view_of
from kavach_core.api.dispatch import run, run_unknown
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Operation, Reply
from kavach_core.api.view import View

Endpoint = Callable[[Request], Awaitable[Response]]

ALL_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]


def to_response(reply: Reply, *, head: bool = False) -> Response:
    """A reply as Starlette sends it, header by header."""
    if reply.stream is not None and not head:
        response: Response = StreamingResponse(reply.stream, status_code=reply.status)
    else:
        response = Response(b"" if head else reply.body, status_code=reply.status)
    response.raw_headers = reply.all_headers()
    return response


def connection_view(connection: HTTPConnection) -> View:
    """The view of a request or WebSocket."""
    return view_of(connection.scope)


def operation_endpoint(edge: Edge, operation: Operation) -> Endpoint:
    """The endpoint of one operation."""

    async def endpoint(request: Request) -> Response:
        view = view_of(request.scope, request.receive, dict(request.path_params))
        return to_response(await run(edge, operation, view), head=request.method == "HEAD")

    endpoint.__name__ = operation.name
    return endpoint


def unknown_endpoint(table: Sequence[Operation]) -> Endpoint:
    """The endpoint of everything under the mount that no operation is for."""

    async def endpoint(request: Request) -> Response:
        reply = run_unknown(table, "/" + str(request.path_params.get("rest", "")))
        return to_response(reply, head=request.method == "HEAD")

    return endpoint
