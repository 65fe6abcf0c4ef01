"""Kavach in FastAPI: a router to include, a guard, and dependencies that inject a typed identity."""

# No postponed annotations here: FastAPI reads the signatures of callable objects as they are.

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from fastapi import APIRouter, Depends
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from fastapi.security.http import HTTPBearer
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from kavach_adapters._connection import RECHECK, checked
from kavach_adapters._guard import GuardMiddleware
from kavach_adapters._mount import ANYTHING, Unknown, connection_view, operation_endpoint, refuse, watch
from kavach_core.api import openapi
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Grantable, HumansFrom, ResolveUser, split_permission
from kavach_core.api.operation import Caller, Operation
from kavach_core.api.table import TABLE
from kavach_core.capabilities.authorize import Decision
from kavach_core.capabilities.sessions import LiveSession
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

_SCHEME = "kavachBearer"

Who = TypeVar("Who", bound=Identity)


@dataclass(frozen=True)
class _Dependency(SecurityBase):
    """A dependency that FastAPI shows as a security requirement. Equal ones override each other in tests."""

    edge: Edge = field(repr=False)
    recheck: float = field(repr=False)
    model = HTTPBearerModel(description=openapi.SECURITY_SCHEMES[_SCHEME]["description"])
    scheme_name = _SCHEME

    def opened(self, connection: HTTPConnection, who: Who) -> Who:
        """Give who opened a connection; a socket is verified again while it is open."""
        watch(self.edge, connection, self.recheck)
        return who


class RequireIdentity(_Dependency):
    """Injects whoever is asking: a human, an agent or a service."""

    async def __call__(self, connection: HTTPConnection) -> Identity:
        try:
            return self.opened(connection, await self.edge.require_identity(connection_view(connection)))
        except KavachError as error:
            _refuse(connection, error)


class RequireHuman(_Dependency):
    """Injects the human who is asking."""

    async def __call__(self, connection: HTTPConnection) -> HumanIdentity:
        try:
            return self.opened(connection, await self.edge.require_human(connection_view(connection)))
        except KavachError as error:
            _refuse(connection, error)


class RequireAgent(_Dependency):
    """Injects the agent that is asking: verified, not authorized for anything."""

    async def __call__(self, connection: HTTPConnection) -> AgentIdentity:
        try:
            return self.opened(connection, await self.edge.require_agent(connection_view(connection)))
        except KavachError as error:
            _refuse(connection, error)


@dataclass(frozen=True)
class RequirePermission(_Dependency):
    """Injects the agent that is asking, verified, authorized for one permission and recorded."""

    permission: str

    async def __call__(self, connection: HTTPConnection) -> AgentIdentity:
        try:
            return self.opened(connection, await self.edge.require(connection_view(connection), self.permission))
        except KavachError as error:
            _refuse(connection, error)


class KavachFastAPI:
    """One mount of Kavach in a FastAPI app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        self._edge = edge
        self._recheck = checked(recheck)
        #: For `app.include_router(kv.router, prefix="/api/kavach")`; closes Kavach when the app shuts down.
        self.router = _router(edge)
        #: For `app.include_router(kv.well_known)`: documents that belong at the root.
        self.well_known = _plain_router(edge, WELL_KNOWN)
        #: Dependencies: `Annotated[HumanIdentity, Depends(kv.human)]` and so on.
        self.identity = RequireIdentity(edge, recheck)
        self.human = RequireHuman(edge, recheck)
        self.agent = RequireAgent(edge, recheck)

    def Guard(  # noqa: N802 - it is given to add_middleware, where classes go
        self,
        app: ASGIApp,
        *,
        protect: Sequence[str] | None = None,
        public: Sequence[str] | None = None,
        login: str | None = None,
        allow: Sequence[str] = ("human",),
        prefixes: Sequence[str] = (),
    ) -> ASGIApp:
        """Protect paths: those in `protect`, or all but those in `public`. Browsers without a session go to `login`.

        `allow` says who is let in: human, agent, service. `prefixes` are root paths that the server does not tell.
        Sockets and streams are verified again while they are open, on every path. Raises `ConfigurationError` for a
        pattern it cannot read.
        """
        return GuardMiddleware(
            app,
            self._edge,
            protect=protect,
            public=public,
            login=login,
            allow=allow,
            prefixes=prefixes,
            recheck=self._recheck,
        )

    def require(self, permission: str) -> RequirePermission:
        """A dependency on an agent that is verified, authorized for `"action:resource"`, and recorded.

        Two with the same permission are equal, so `app.dependency_overrides[kv.require("read:repos")]` works.
        """
        split_permission(permission)
        return RequirePermission(self._edge, self._recheck, permission)

    async def session(self, connection: HTTPConnection) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(connection_view(connection))

    async def authorize(
        self, connection: HTTPConnection, permission: str, arguments: Mapping[str, object] | None = None
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(connection_view(connection), permission, arguments)


def kavach_fastapi(
    get_kavach: GetKavach,
    *,
    resolve_user: ResolveUser | None = None,
    grantable: Grantable | None = None,
    humans_from: HumansFrom = "app",
    mount: str = "/api/kavach",
    recheck: float = RECHECK,
) -> KavachFastAPI:
    """Make the router, guard and dependencies of one Kavach for a FastAPI app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        resolve_user: Names the human behind a request by the auth the app already has, or nobody.
        grantable: The most a human may give to their agents over HTTP; without it humans create none.
        humans_from: Whom to ask first for the human, the `app` or Kavach's own `session`.
        mount: Where `router` is included.
        recheck: Seconds after which an open socket is verified again, and a stream where the guard is around the app.
    """
    edge = Edge(get_kavach, resolve_user=resolve_user, grantable=grantable, humans_from=humans_from, mount=mount)
    return KavachFastAPI(edge, recheck)


class Refused(Exception):
    """A refusal in an app's own route, on its way to the handler below."""

    def __init__(self, error: KavachError) -> None:
        super().__init__(error.message)
        self.error = error


def _refuse(connection: HTTPConnection, error: KavachError) -> NoReturn:
    # Starlette looks handlers up in this table for each connection. A handler for a class of our own, entered here,
    # needs no line in the app and touches no other exception.
    handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
    handlers.setdefault(Refused, _answer)
    raise Refused(error) from error


async def _answer(connection: HTTPConnection, refused: Refused) -> Response | None:
    return await refuse(connection, refused.error)


def _router(edge: Edge) -> APIRouter:
    @asynccontextmanager
    async def closing(app: object) -> AsyncGenerator[None]:
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


def _plain_router(edge: Edge, table: Sequence[Operation]) -> APIRouter:
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
    bearer = Depends(HTTPBearer(scheme_name=_SCHEME, auto_error=False))
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
