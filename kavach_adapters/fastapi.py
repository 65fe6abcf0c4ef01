"""Kavach in FastAPI: a router to include, a guard, and dependencies that inject a typed identity."""

# No postponed annotations here: FastAPI reads the signatures of callable objects as they are.

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NoReturn, Unpack

from fastapi import FastAPI
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp

from kavach_adapters._adapter import Establish, GuardOptions, Options, Refused, Who
from kavach_adapters._asgi import innermost
from kavach_adapters._connection import RECHECK
from kavach_adapters._fastapi import SCHEME, mount_router, plain_router
from kavach_adapters._starlette import OnStarlette, answer
from kavach_core.api import openapi
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Requirement
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity


@dataclass(frozen=True)
class Require(SecurityBase, Generic[Who]):
    """A dependency on who is asking, which FastAPI shows as a security requirement.

    Equal ones override each other in tests: those of one mount that establish the same.
    """

    establish: Establish[Who]
    opened_by: Callable[[HTTPConnection, Establish[Who]], Awaitable[Who]] = field(repr=False)
    model = HTTPBearerModel(description=openapi.SECURITY_SCHEMES[SCHEME]["description"])
    scheme_name = SCHEME

    async def __call__(self, connection: HTTPConnection) -> Who:
        """Inject who is asking."""
        try:
            return await self.opened_by(connection, self.establish)
        except KavachError as error:
            _refuse(connection, error)


class KavachFastAPI(OnStarlette):
    """One mount of Kavach in a FastAPI app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        super().__init__(edge, recheck)
        #: For `app.include_router(kv.router, prefix="/api/kavach")`; closes Kavach when the app shuts down.
        self.router = mount_router(edge, self._started)
        #: For `app.include_router(kv.well_known)`: documents that belong at the root.
        self.well_known = plain_router(edge, WELL_KNOWN)
        #: Dependencies: `Annotated[HumanIdentity, Depends(kv.human)]` and so on.
        self.identity = Require[Identity](edge.require_identity, self._opened_by)
        self.human = Require[HumanIdentity](edge.require_human, self._opened_by)
        self.agent = Require[AgentIdentity](edge.require_agent, self._opened_by)

    def Guard(self, app: ASGIApp, **options: Unpack[GuardOptions]) -> ASGIApp:  # noqa: N802 - as elsewhere
        """Protect paths, as in Starlette. The root path of a `FastAPI(root_path=...)` somewhere inside is known."""
        # Apps put it in the scope by themselves, where a guard outside does not see it.
        inside = innermost(app, FastAPI)
        router = innermost(app, Router) if inside is None else inside.router
        for root_path in _root_paths(() if router is None else router.routes):
            self._is_below(root_path)
        if inside is not None:
            self._is_below(inside.root_path)
        return super().Guard(app, **options)

    def require(self, permission: str, *, cost: int | None = None) -> Require[AgentIdentity]:
        """A dependency on an agent that is verified, authorized for `"action:resource"`, and recorded.

        Two with the same permission are equal, so `app.dependency_overrides[kv.require("read:repos")]` works.
        """
        return Require(Requirement(self._edge, permission, cost), self._opened_by)

    def _started(self, app: object) -> None:
        # Whatever is around it, by now.
        if isinstance(app, FastAPI):
            self._is_below(app.root_path)


def kavach_fastapi(get_kavach: GetKavach, *, recheck: float = RECHECK, **options: Unpack[Options]) -> KavachFastAPI:
    """Make the router, guard and dependencies of one Kavach for a FastAPI app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        recheck: Seconds after which an open socket is verified again, and a stream where the guard is around the app.
        options: `resolve_user`, `grantable`, `humans_from` and `mount`, as `Options` describes them; `router` is to be
            included under `mount`.
    """
    return KavachFastAPI(Edge(get_kavach, **options), recheck)


def _root_paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Those of apps that are mounted at `/`: each takes its own off the path, whatever the scope says of another."""
    for route in routes:
        mounted = innermost(route.app, FastAPI) if isinstance(route, Mount) and not route.path else None
        if mounted is not None:
            yield mounted.root_path
            yield from _root_paths(mounted.routes)


def _refuse(connection: HTTPConnection, error: KavachError) -> NoReturn:
    # Starlette looks handlers up in this table for each connection. A handler for a class of our own, entered here,
    # needs no line in the app and touches no other exception.
    handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
    handlers.setdefault(Refused, _answer)
    raise Refused(error) from error


async def _answer(connection: HTTPConnection, refused: Refused) -> Response | None:
    return await answer(connection, refused.error)
