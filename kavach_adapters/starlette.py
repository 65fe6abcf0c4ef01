"""Kavach in Starlette: routes to mount, a guard, and decorators that hand a typed identity to an endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, TypeVar

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from kavach_adapters._connection import RECHECK, checked
from kavach_adapters._guard import GuardMiddleware
from kavach_adapters._mount import (
    ANYTHING,
    Unknown,
    connection_view,
    operation_endpoint,
    refuse,
    watch,
)
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Grantable, HumansFrom, ResolveUser, split_permission
from kavach_core.api.operation import Operation
from kavach_core.api.table import TABLE
from kavach_core.api.view import View
from kavach_core.capabilities.authorize import Decision
from kavach_core.capabilities.sessions import LiveSession
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

C = TypeVar("C", bound=HTTPConnection)
Who = TypeVar("Who")
#: An endpoint that takes the connection and who is asking, and the one that Starlette calls.
Inner = Callable[[C, Who], Coroutine[Any, Any, Any]]
Outer = Callable[[C], Coroutine[Any, Any, Any]]


class KavachStarlette:
    """One mount of Kavach in a Starlette app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        self._edge = edge
        self._recheck = checked(recheck)
        #: For `Starlette(routes=[*kv.routes, ...])`: everything under `/api/kavach`, or wherever `mount` says.
        self.routes: Sequence[BaseRoute] = _routes(edge)
        #: For the root of the app: documents that belong there.
        self.well_known: Sequence[BaseRoute] = [_route(edge, operation) for operation in WELL_KNOWN]

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
        Sockets and streams are verified again while they are open, on every path. Also closes Kavach when the app
        shuts down. Raises `ConfigurationError` for a pattern it cannot read.
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

    def identity(self, endpoint: Inner[C, Identity]) -> Outer[C]:
        """Hand the endpoint whoever is asking: a human, an agent or a service."""
        return self._with(self._edge.require_identity, endpoint)

    def human(self, endpoint: Inner[C, HumanIdentity]) -> Outer[C]:
        """Hand the endpoint the human who is asking."""
        return self._with(self._edge.require_human, endpoint)

    def agent(self, endpoint: Inner[C, AgentIdentity]) -> Outer[C]:
        """Hand the endpoint the agent that is asking: verified, not authorized for anything."""
        return self._with(self._edge.require_agent, endpoint)

    def require(self, permission: str) -> Callable[[Inner[C, AgentIdentity]], Outer[C]]:
        """Hand the endpoint the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        split_permission(permission)

        def decorate(endpoint: Inner[C, AgentIdentity]) -> Outer[C]:
            return self._with(lambda view: self._edge.require(view, permission), endpoint)

        return decorate

    async def session(self, connection: HTTPConnection) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(connection_view(connection))

    async def authorize(
        self, connection: HTTPConnection, permission: str, arguments: Mapping[str, object] | None = None
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(connection_view(connection), permission, arguments)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Close Kavach when the app shuts down: `Starlette(lifespan=kv.lifespan)`, or inside the app's own."""
        try:
            yield
        finally:
            await self._edge.get_kavach.close()

    def _with(self, establish: Callable[[View], Awaitable[Who]], endpoint: Inner[C, Who]) -> Outer[C]:
        @wraps(endpoint)
        async def wrapped(connection: C) -> Any:
            try:
                who = await establish(connection_view(connection))
            except KavachError as error:
                return await refuse(connection, error)
            watch(self._edge, connection, self._recheck)
            return await endpoint(connection, who)

        return wrapped


def kavach_starlette(
    get_kavach: GetKavach,
    *,
    resolve_user: ResolveUser | None = None,
    grantable: Grantable | None = None,
    humans_from: HumansFrom = "app",
    mount: str = "/api/kavach",
    recheck: float = RECHECK,
) -> KavachStarlette:
    """Make the routes, guard and decorators of one Kavach for a Starlette app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        resolve_user: Names the human behind a request by the auth the app already has, or nobody.
        grantable: The most a human may give to their agents over HTTP; without it humans create none.
        humans_from: Whom to ask first for the human, the `app` or Kavach's own `session`.
        mount: The path that `routes` are under.
        recheck: Seconds after which an open socket is verified again, and a stream where the guard is around the app.
    """
    edge = Edge(get_kavach, resolve_user=resolve_user, grantable=grantable, humans_from=humans_from, mount=mount)
    return KavachStarlette(edge, recheck)


def _routes(edge: Edge) -> Sequence[BaseRoute]:
    # Not a Mount: it does not take its own bare path, which the app would redirect, nor one with a line end.
    unknown = Unknown(TABLE)
    return [
        *(_route(edge, operation, edge.mount) for operation in TABLE),
        Route(edge.mount, unknown, include_in_schema=False),
        Route(edge.mount + ANYTHING, unknown, include_in_schema=False),
    ]


def _route(edge: Edge, operation: Operation, prefix: str = "") -> Route:
    endpoint = operation_endpoint(edge, operation)
    return Route(prefix + operation.path, endpoint, methods=[operation.method], name=f"kavach:{operation.name}")
