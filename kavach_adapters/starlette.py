"""Kavach in Starlette: routes to mount, a guard, and decorators that hand a typed identity to an endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, TypeVar, Unpack

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route

from kavach_adapters._adapter import Establish, Options, Who
from kavach_adapters._connection import RECHECK
from kavach_adapters._starlette import ANYTHING, OnStarlette, Unknown, answer, operation_endpoint
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Requirement
from kavach_core.api.operation import Operation
from kavach_core.api.table import TABLE
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

C = TypeVar("C", bound=HTTPConnection)
#: An endpoint that takes the connection and who is asking, and the one that Starlette calls.
Inner = Callable[[C, Who], Coroutine[Any, Any, Any]]
Outer = Callable[[C], Coroutine[Any, Any, Any]]


class KavachStarlette(OnStarlette):
    """One mount of Kavach in a Starlette app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        super().__init__(edge, recheck)
        #: For `Starlette(routes=[*kv.routes, ...])`: everything under `/api/kavach`, or wherever `mount` says.
        self.routes: Sequence[BaseRoute] = _routes(edge)
        #: For the root of the app: documents that belong there.
        self.well_known: Sequence[BaseRoute] = [_route(edge, operation) for operation in WELL_KNOWN]

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Close Kavach when the app shuts down: `Starlette(lifespan=kv.lifespan)`, or inside the app's own."""
        try:
            yield
        finally:
            await self._edge.get_kavach.close()

    def identity(self, endpoint: Inner[C, Identity]) -> Outer[C]:
        """Hand the endpoint whoever is asking: a human, an agent or a service."""
        return self._with(self._edge.require_identity, endpoint)

    def human(self, endpoint: Inner[C, HumanIdentity]) -> Outer[C]:
        """Hand the endpoint the human who is asking."""
        return self._with(self._edge.require_human, endpoint)

    def agent(self, endpoint: Inner[C, AgentIdentity]) -> Outer[C]:
        """Hand the endpoint the agent that is asking: verified, not authorized for anything."""
        return self._with(self._edge.require_agent, endpoint)

    def require(self, permission: str, *, cost: int | None = None) -> Callable[[Inner[C, AgentIdentity]], Outer[C]]:
        """Hand the endpoint the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        requirement = Requirement(self._edge, permission, cost)

        def decorate(endpoint: Inner[C, AgentIdentity]) -> Outer[C]:
            return self._with(requirement, endpoint)

        return decorate

    def _with(self, establish: Establish[Who], endpoint: Inner[C, Who]) -> Outer[C]:
        @wraps(endpoint)
        async def wrapped(connection: C) -> Any:
            try:
                who = await self._opened_by(connection, establish)
            except KavachError as error:
                return await answer(connection, error)
            return await endpoint(connection, who)

        return wrapped


def kavach_starlette(get_kavach: GetKavach, *, recheck: float = RECHECK, **options: Unpack[Options]) -> KavachStarlette:
    """Make the routes, guard and decorators of one Kavach for a Starlette app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        recheck: Seconds after which an open socket is verified again, and a stream where the guard is around the app.
        options: `resolve_user`, `grantable`, `humans_from` and `mount`, as `Options` describes them.
    """
    return KavachStarlette(Edge(get_kavach, **options), recheck)


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
