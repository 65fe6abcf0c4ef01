"""Kavach in Litestar: a plugin with the routes, a guard, and dependencies that inject a typed identity."""

# No postponed annotations here: Litestar reads the signatures of handlers and of callable objects as they are.

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar, cast

from litestar import Litestar, Response, Router
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, WebSocketException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import InitPlugin
from litestar.types import ASGIApp, Scope

from kavach_adapters._asgi import ASGIApp as AnyASGIApp
from kavach_adapters._connection import RECHECK, Watched, checked
from kavach_adapters._guard import GuardMiddleware
from kavach_adapters._litestar import AnyRequest, UnknownUnder, operation_handlers, scope_view
from kavach_core.api import openapi, problems
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Grantable, HumansFrom, ResolveUser, split_permission
from kavach_core.api.table import TABLE
from kavach_core.api.view import View
from kavach_core.capabilities.authorize import Decision
from kavach_core.capabilities.sessions import LiveSession
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

Connection = ASGIConnection[Any, Any, Any, Any]
Who = TypeVar("Who", bound=Identity)


@dataclass(frozen=True)
class Require(Generic[Who]):
    """A dependency for `Provide(...)`; its `guard` is for `guards=[...]`."""

    establish: Callable[[View], Awaitable[Who]]

    async def __call__(self, scope: Scope) -> Who:
        """Inject who is asking."""
        try:
            return await self.establish(scope_view(scope))
        except KavachError as error:
            _refuse(scope, error)

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let nobody else reach the handlers of a route, controller or router."""
        await self(connection.scope)


class KavachLitestar(InitPlugin):
    """One mount of Kavach in a Litestar app: `Litestar(plugins=[kv])`. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        self._edge = edge
        self._recheck = checked(recheck)
        #: For `Litestar(route_handlers=[kv.well_known, ...])`: documents that belong at the root.
        self.well_known = Router("/", route_handlers=operation_handlers(edge, WELL_KNOWN))
        #: Dependencies: `dependencies={"user": Provide(kv.human)}` and so on. Litestar cannot check a value against a
        #: union: a handler takes one of any kind as `NamedDependency[SkipValidation[Identity]]`.
        self.identity = Require[Identity](edge.require_identity)
        self.human = Require[HumanIdentity](edge.require_human)
        self.agent = Require[AgentIdentity](edge.require_agent)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the routes under the mount, and what belongs to them. Called by Litestar."""
        app_config.route_handlers.append(Router(self._edge.mount, route_handlers=operation_handlers(self._edge, TABLE)))
        app_config.before_send.append(UnknownUnder(app_config.path.rstrip("/") + self._edge.mount))
        loosely: Any = app_config
        loosely.exception_handlers.setdefault(KavachHTTPException, _answer)
        app_config.on_shutdown.append(self._edge.get_kavach.close)
        app_config.middleware.insert(0, DefineMiddleware(_watched, edge=self._edge, every=self._recheck))
        if app_config.openapi_config is not None:
            # A copy: the default one is shared by all apps of the process.
            app_config.openapi_config = copy(app_config.openapi_config)
            own = app_config.openapi_config.components
            app_config.openapi_config.components = [*(own if isinstance(own, list) else [own]), _SECURITY]
        return app_config

    def Guard(  # noqa: N802 - it is called like a class, as in the other frameworks
        self,
        app: AnyASGIApp | Litestar,
        *,
        protect: Sequence[str] | None = None,
        public: Sequence[str] | None = None,
        login: str | None = None,
        allow: Sequence[str] = ("human",),
        prefixes: Sequence[str] = (),
    ) -> AnyASGIApp:
        """Protect paths: those in `protect`, or all but those in `public`. Browsers without a session go to `login`.

        It goes around the whole app, `app = kv.Guard(Litestar(...), protect=[...])`: Litestar runs its own middleware
        only for a path that has a route. `allow` says who is let in: human, agent, service. `prefixes` are root paths
        that the server does not tell; the app's own `path` is known. Raises `ConfigurationError` for a pattern it
        cannot read.
        """
        if isinstance(app, Litestar) and app.path.strip("/"):
            prefixes = (app.path, *prefixes)
        return GuardMiddleware(
            cast(AnyASGIApp, app),
            self._edge,
            protect=protect,
            public=public,
            login=login,
            allow=allow,
            prefixes=prefixes,
            recheck=self._recheck,
        )

    def require(self, permission: str) -> Require[AgentIdentity]:
        """A dependency on an agent that is verified, authorized for `"action:resource"`, and recorded."""
        split_permission(permission)
        return Require(lambda view: self._edge.require(view, permission))

    async def session(self, connection: Connection) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(scope_view(connection.scope))

    async def authorize(
        self, connection: Connection, permission: str, arguments: Mapping[str, object] | None = None
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(scope_view(connection.scope), permission, arguments)


def kavach_litestar(
    get_kavach: GetKavach,
    *,
    resolve_user: ResolveUser | None = None,
    grantable: Grantable | None = None,
    humans_from: HumansFrom = "app",
    mount: str = "/api/kavach",
    recheck: float = RECHECK,
) -> KavachLitestar:
    """Make the plugin, guard and dependencies of one Kavach for a Litestar app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        resolve_user: Names the human behind a request by the auth the app already has, or nobody.
        grantable: The most a human may give to their agents over HTTP; without it humans create none.
        humans_from: Whom to ask first for the human, the `app` or Kavach's own `session`.
        mount: The path that the routes are under.
        recheck: Seconds after which an open socket or stream is verified again.
    """
    edge = Edge(get_kavach, resolve_user=resolve_user, grantable=grantable, humans_from=humans_from, mount=mount)
    return KavachLitestar(edge, recheck)


class KavachHTTPException(HTTPException):
    """A refusal in an app's own route. Answered with Kavach's error body, not Litestar's."""


def _refuse(scope: Scope, cause: KavachError) -> NoReturn:
    error = problems.for_clients(cause)
    if scope["type"] == ScopeType.WEBSOCKET:
        raise WebSocketException(detail=error.public_code, code=problems.close_code(error)) from cause
    raise KavachHTTPException(
        error.message,
        status_code=problems.status_of(error),
        headers=problems.headers_of(error),
        extra=problems.body_of(error),
    ) from cause


def _answer(request: AnyRequest, error: KavachHTTPException) -> Response[Any]:
    headers = {"cache-control": "no-store", **(error.headers or {})}
    return Response(error.extra, status_code=error.status_code, headers=headers)


def _watched(app: ASGIApp, edge: Edge, every: float) -> ASGIApp:
    return cast(ASGIApp, Watched(cast(AnyASGIApp, app), edge, every))


_SECURITY = Components(
    security_schemes={name: SecurityScheme(**said) for name, said in openapi.SECURITY_SCHEMES.items()}
)
