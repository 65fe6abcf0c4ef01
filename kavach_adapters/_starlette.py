"""What Starlette and FastAPI have in common: views, replies, refusals, and the endpoints of operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Unpack

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Router
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from kavach_adapters._adapter import Adapter, Establish, GuardOptions, Who
from kavach_adapters._asgi import Receive, Scope, Send, innermost, refuse_handshake, view_of
from kavach_adapters._connection import watch_socket
from kavach_core.api.dispatch import run, run_unknown
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Operation, Reply
from kavach_core.api.problems import to_close, to_reply
from kavach_core.api.view import View

Endpoint = Callable[[Request], Awaitable[Response]]


class OnStarlette(Adapter[HTTPConnection]):
    """The verbs that read alike on Starlette and on FastAPI."""

    def Guard(self, app: ASGIApp, **options: Unpack[GuardOptions]) -> ASGIApp:  # noqa: N802 - goes where classes go
        """Protect paths: `app.add_middleware(kv.Guard, protect=[...])`, or `public=[...]` for all but those.

        Browsers without a session go to `login`. Sockets and streams are verified again while they are open, on every
        path. Also closes Kavach when the app shuts down. Raises `ConfigurationError` for a pattern it cannot read.
        """
        # Starlette's own router looks for a root path in front alone; what else the guard may be around is not known.
        knows_router = innermost(app, Starlette) is not None or innermost(app, Router) is not None
        return self._guarded(app, options, splits_at_root=not knows_router)

    async def answer_error(self, connection: HTTPConnection, error: Exception) -> Any:
        """Answer what the app's own code gets from Kavach: `app.add_exception_handler(KavachError, kv.answer_error)`.

        A request gets the error body. A socket is refused with it, or closed with its code.
        """
        return await answer(connection, error)

    def _view(self, connection: HTTPConnection) -> View:
        return view_of(connection.scope, params=connection.path_params)

    async def _opened_by(self, connection: HTTPConnection, establish: Establish[Who]) -> Who:
        """Establish who opened a connection, which is verified again while it is open if it is a socket."""
        who = await establish(self._view(connection))
        if isinstance(connection, WebSocket):
            _watch(self._edge, connection, self._recheck)
        return who


async def answer(connection: HTTPConnection, error: Exception) -> Response | None:
    """Answer a request with an error; refuse a handshake with it, or close a socket that is open."""
    if not isinstance(connection, WebSocket):
        return to_response(to_reply(error))
    if connection.application_state is WebSocketState.CONNECTING:
        await refuse_handshake(to_reply(error), connection.scope, connection.send)
    else:
        await _close(connection, *to_close(error))
    return None


def to_response(reply: Reply, *, head: bool = False) -> Response:
    """A reply as Starlette sends it, header by header."""
    if reply.stream is not None and not head:
        response: Response = StreamingResponse(reply.stream, status_code=reply.status)
    else:
        response = Response(b"" if head else reply.body, status_code=reply.status)
    response.raw_headers = reply.all_headers()
    return response


def operation_endpoint(edge: Edge, operation: Operation) -> Endpoint:
    """The endpoint of one operation."""

    async def endpoint(request: Request) -> Response:
        view = view_of(request.scope, request.receive, request.path_params)
        # The end of a route's expression is also found before a line end that ends the path.
        is_exact = view.path.endswith(operation.path.format(**request.path_params))
        reply = await run(edge, operation, view) if is_exact else run_unknown((), view.path)
        return to_response(reply, head=request.method == "HEAD")

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


def _watch(edge: Edge, socket: WebSocket, every: float) -> None:
    """Verify a socket again while it is open. Streams are left to the guard: only a layer around the app sees them."""

    async def close(code: int, reason: str) -> None:
        await _close(socket, code, reason)

    receive = watch_socket(edge, socket.scope, socket.receive, every, close)
    # The handler has this socket in its hands already, and all its ways to receive lead through here.
    socket.receive = receive  # type: ignore[assignment,method-assign]


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    if WebSocketState.DISCONNECTED not in (socket.application_state, socket.client_state):
        # A client that goes away in this moment has what it needs.
        with suppress(WebSocketDisconnect):
            await socket.close(code, reason)
