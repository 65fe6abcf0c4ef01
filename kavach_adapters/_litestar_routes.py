"""The routes of Kavach in Litestar: a handler for each operation, and what Litestar's router misses."""

# No postponed annotations here: Litestar reads the signatures of handlers as they are.

from collections.abc import Sequence
from typing import Any, cast

from litestar.handlers import HTTPRouteHandler, route
from litestar.openapi.spec import Operation as Described
from litestar.response.base import ASGIResponse
from litestar.types import Message, Scope

from kavach_adapters._asgi import Scope as AnyScope
from kavach_adapters._litestar import AnyRequest, body_reader, scope_view, to_response
from kavach_core.api import openapi
from kavach_core.api.dispatch import run, run_unknown
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Operation
from kavach_core.api.table import TABLE
from kavach_core.api.view import View


def operation_handlers(edge: Edge, table: Sequence[Operation], prefix: str = "") -> list[HTTPRouteHandler]:
    """A handler for each operation, and those for HEAD and OPTIONS. `prefix` is for the names of a second mount."""
    paths = dict.fromkeys(operation.path for operation in table)
    return [
        # First, because Litestar answers OPTIONS by itself for a path that has no handler for it yet.
        *(_options_handler(table, path) for path in paths),
        *(_handler(edge, operation, operation.method, prefix) for operation in table),
        *(_handler(edge, operation, "HEAD", prefix) for operation in table if operation.method == "GET"),
    ]


class UnknownUnder:
    """Puts Kavach's answer in the place of Litestar's own where nothing under the mount is for a path or method.

    Litestar's router has no route for the rest of a prefix, and asks no middleware when it finds none.
    """

    def __init__(self, mount: str) -> None:
        self._mount = mount

    async def __call__(self, message: Message, scope: Scope) -> None:
        """Change what is about to be sent."""
        asked = cast(AnyScope, scope)
        if asked["type"] != "http" or "route_handler" in asked:
            return
        below = self._below(asked)
        if below is None:
            return
        reply = run_unknown(TABLE, below)
        if message["type"] == "http.response.start":
            message["status"], message["headers"] = reply.status, reply.all_headers()
        elif message["type"] == "http.response.body":
            is_last = not message.get("more_body", False)
            message["body"] = reply.body if is_last and asked["method"] != "HEAD" else b""

    def _below(self, scope: AnyScope) -> str | None:
        """The path below the mount, or None for one that is elsewhere."""
        root: str = scope.get("root_path", "")
        path: str = scope["path"].split(root, maxsplit=1)[-1] if root else scope["path"]
        if path == self._mount or path.startswith(f"{self._mount}/"):
            return path[len(self._mount) :] or "/"
        return None


def _handler(edge: Edge, operation: Operation, method: str, prefix: str) -> HTTPRouteHandler:
    async def handle(request: AnyRequest) -> ASGIResponse:
        view = scope_view(request.scope, body_reader(request))
        reply = await run(edge, operation, view) if _is_exact(view, request) else run_unknown((), view.path)
        return to_response(reply, head=method == "HEAD")

    handle.__name__ = operation.name

    class Documented(Described):
        def to_schema(self) -> dict[str, Any]:
            return {**openapi.fragment(operation), "operationId": prefix + operation.name}

    return route(
        _typed(operation.path),
        http_method=cast(Any, method),
        operation_class=Documented,
        operation_id=prefix + operation.name,
        include_in_schema=method == operation.method,
        request_max_body_size=operation.limit,
        # The answer has its own; Litestar would give a DELETE 204, and refuse that a 204 has a body.
        status_code=200,
    )(handle)


def _options_handler(table: Sequence[Operation], path: str) -> HTTPRouteHandler:
    async def options(request: AnyRequest) -> ASGIResponse:
        is_exact = _is_exact(scope_view(request.scope), request)
        return to_response(run_unknown(table if is_exact else (), path))

    return route(_typed(path), http_method="OPTIONS", include_in_schema=False, status_code=200)(options)


def _is_exact(view: View, request: AnyRequest) -> bool:
    """Whether the path is the one that was routed. Litestar takes `/agents/` and `//agents` for `/agents`."""
    return view.path.endswith(request.scope["path"])


def _typed(path: str) -> str:
    """The path of an operation as Litestar writes it: `{id:str}`."""
    return path.replace("}", ":str}")
