"""The routes of Kavach in Quart: views of its connections, replies as its responses, and a blueprint of all of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from quart import Blueprint, Request, Response, Websocket, has_websocket_context, request, websocket
from quart.routing import QuartRule
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from kavach_adapters._asgi import Scope, text_headers, view_of
from kavach_adapters._refusals import note_refusal
from kavach_core.api.dispatch import run, run_unknown
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Operation, Reply
from kavach_core.api.problems import to_reply
from kavach_core.api.table import TABLE
from kavach_core.api.view import BodyReader, View
from kavach_core.errors import BodyTooLarge, InvalidInput

Connection = Request | Websocket


def current() -> Connection:
    """The request or socket that is being served, and not what stands for it: each look at that would ask anew."""
    standing_for: Any = websocket if has_websocket_context() else request
    return cast(Connection, standing_for._get_current_object())


def connection_view(connection: Connection, read: BodyReader | None = None) -> View:
    """The view of a request or WebSocket."""
    return view_of(_scope(connection), params=connection.view_args, read=read)


def answer(error: Exception) -> Response:
    """Answer a request with an error. A socket is refused with it, or closed with its code, once this is returned."""
    note_refusal(_scope(current()), error)
    return to_response(to_reply(error))


def to_response(reply: Reply) -> Response:
    """A reply as Quart sends it, header by header, and however long it takes."""
    is_head = not has_websocket_context() and _method() == "HEAD"
    response = Response(reply.stream if reply.stream is not None and not is_head else b"" if is_head else reply.body)
    response.status_code = reply.status
    response.headers = Headers(text_headers(reply))
    response.timeout = None
    return response


def mount_blueprint(edge: Edge) -> Blueprint:
    """Everything under the mount."""
    blueprint = Blueprint("kavach", __name__, url_prefix=edge.mount)
    add_operations(blueprint, edge, TABLE)
    blueprint.record(_add_unknown)
    return blueprint


def add_operations(blueprint: Blueprint, edge: Edge, table: Sequence[Operation]) -> None:
    """Add a rule for each operation."""
    for operation in table:
        blueprint.add_url_rule(
            operation.path.replace("{", "<").replace("}", ">"),
            endpoint=operation.name,
            view_func=_operation_view(edge, operation, table),
            methods=[operation.method],
            provide_automatic_options=False,
            merge_slashes=False,
        )


def _scope(connection: Connection) -> Scope:
    """The scope of a connection, without the narrow types of another server."""
    return cast(Scope, connection.scope)


def _operation_view(edge: Edge, operation: Operation, table: Sequence[Operation]) -> Callable[..., Awaitable[Response]]:
    async def operation_view(**params: str) -> Response:
        if _method() != request.method:
            # Werkzeug takes `get` for `GET`.
            return to_response(run_unknown(table, operation.path))
        return to_response(await run(edge, operation, connection_view(request, _read_body)))

    return operation_view


def _method() -> str:
    """The method of a request as it was sent."""
    return str(_scope(request)["method"])


async def _read_body(limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    try:
        body = cast(bytes, await request.get_data())
    except RequestEntityTooLarge:
        raise BodyTooLarge(limit) from None
    except HTTPException:
        raise InvalidInput("The body never came to its end.") from None
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


class _Anything(BaseConverter):
    """Like `path`, but also empty, with leading slashes and with line ends: nothing leaves the mount and its errors."""

    name = "kavach_anything"
    regex = r"[\s\S]*"
    part_isolating = False
    weight = 300


def _add_unknown(state: Any) -> None:
    """Route everything else under the mount. `add_url_rule` would ask for a list of methods; this is for any.

    Sockets are closed as the other frameworks close them where there is nothing; Quart would answer with a page.
    """

    async def unknown(rest: str = "") -> Response:
        return to_response(run_unknown(TABLE, f"/{rest}"))

    async def no_socket(rest: str = "") -> None:
        await websocket.close(1000)

    app = state.app
    app.url_map.converters[_Anything.name] = _Anything
    for view, is_socket in ((unknown, False), (no_socket, True)):
        endpoint = f"{state.name}.{view.__name__}"
        app.view_functions[endpoint] = view
        for path in ("", f"/<{_Anything.name}:rest>"):
            rule = f"{state.url_prefix}{path}"
            app.url_map.add(QuartRule(rule, endpoint=endpoint, merge_slashes=False, websocket=is_socket))
