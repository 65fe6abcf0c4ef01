"""The routes of Kavach in FastAPI: routers whose operations FastAPI shows in its own OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.security.http import HTTPBearer
from starlette.responses import Response
from starlette.routing import Route

from kavach_adapters._starlette import ANYTHING, Unknown, operation_endpoint
from kavach_core.api import openapi
from kavach_core.api.edge import Edge
from kavach_core.api.operation import Caller, Operation
from kavach_core.api.table import TABLE

#: The security scheme that all of Kavach's operations and dependencies share in the document.
SCHEME: Final = "kavachBearer"


def mount_router(edge: Edge, started: Callable[[object], None]) -> APIRouter:
    """Everything under the mount; is told of the app when it starts, and closes Kavach when it shuts down."""

    @asynccontextmanager
    async def closing(app: object) -> AsyncGenerator[None]:
        started(app)
        try:
            yield
        finally:
            await edge.get_kavach.close()

    router = APIRouter(lifespan=closing, redirect_slashes=False)
    _add_operations(router, edge, TABLE)
    unknown = Unknown(TABLE)
    # The bare path of the mount is empty here, and a route of Starlette's own has to begin with a slash.
    bare = Route("/", unknown, include_in_schema=False)
    bare.path = ""
    router.routes += [Route(ANYTHING, unknown, include_in_schema=False), bare]
    return router


def plain_router(edge: Edge, table: Sequence[Operation]) -> APIRouter:
    """A router of these operations and nothing else."""
    router = APIRouter()
    _add_operations(router, edge, table)
    return router


def _add_operations(router: APIRouter, edge: Edge, table: Sequence[Operation]) -> None:
    for operation in table:
        endpoint = operation_endpoint(edge, operation)
        add: Callable[..., None] = router.add_api_route
        add(operation.path, endpoint, methods=[operation.method], response_model=None, **_described(operation))
        if operation.method == "GET":
            add(operation.path, endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)


def _described(operation: Operation) -> dict[str, Any]:
    """What FastAPI is told about an operation for its OpenAPI document."""
    said = openapi.fragment(operation)
    responses = said.pop("responses")
    said.pop("security")
    bearer = Depends(HTTPBearer(scheme_name=SCHEME, auto_error=False))
    return {
        "operation_id": said.pop("operationId"),
        "summary": said.pop("summary"),
        "description": said.pop("description"),
        "tags": said.pop("tags"),
        "status_code": operation.status,
        # One without a media type: FastAPI then adds no content of its own to the document.
        "response_class": Response,
        "dependencies": [] if Caller.ANYONE in operation.callers else [bearer],
        "openapi_extra": {**said, "responses": responses},
    }
