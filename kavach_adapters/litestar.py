"""Kavach in Litestar: a plugin with the routes, a guard, and dependencies that inject a typed identity."""

# No postponed annotations here: Litestar reads the signatures of handlers and of callable objects as they are.

from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Generic, Unpack, cast

from litestar import Litestar, Response, Router
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute
from litestar.types import Scope
from litestar.utils import normalize_path

from kavach_adapters._adapter import Adapter, Establish, GuardOptions, Options, Refused, Who, mount_name
from kavach_adapters._asgi import ASGIApp, innermost
from kavach_adapters._asgi import Scope as AnyScope
from kavach_adapters._connection import RECHECK, Watched
from kavach_adapters._litestar import AnyRequest, ErrorResponse, scope_view
from kavach_adapters._litestar_mounts import Mounts
from kavach_adapters._litestar_routes import UnknownUnder, operation_handlers
from kavach_adapters._refusals import SocketRefusals, note_refusal
from kavach_core.api import openapi
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Requirement
from kavach_core.api.problems import to_reply
from kavach_core.api.table import TABLE
from kavach_core.api.view import View
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True)
class Require(Generic[Who]):
    """A dependency for `Provide(...)`; its `guard` is for `guards=[...]`."""

    establish: Establish[Who]

    async def __call__(self, scope: Scope) -> Who:
        """Inject who is asking."""
        try:
            return await self.establish(scope_view(scope))
        except KavachError as error:
            raise Refused(error) from error

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let nobody else reach the handlers of a route, controller or router."""
        await self(connection.scope)


class KavachLitestar(Adapter[Connection], InitPlugin, ReceiveRoutePlugin):
    """One mount of Kavach in a Litestar app: `Litestar(plugins=[kv])`. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        super().__init__(edge, recheck)
        self._mounts = Mounts()
        #: For `Litestar(route_handlers=[kv.well_known, ...])`: documents that belong at the root.
        self.well_known = Router("/", route_handlers=operation_handlers(edge, WELL_KNOWN))
        #: Dependencies: `dependencies={"user": Provide(kv.human)}` and so on. Litestar cannot check a value against a
        #: union: a handler takes one of any kind as `NamedDependency[SkipValidation[Identity]]`.
        self.identity = Require[Identity](edge.require_identity)
        self.human = Require[HumanIdentity](edge.require_human)
        self.agent = Require[AgentIdentity](edge.require_agent)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the routes under the mount, and what belongs to them. Called by Litestar."""
        is_first = next(each for each in app_config.plugins if isinstance(each, KavachLitestar)) is self
        handlers = operation_handlers(self._edge, TABLE, "" if is_first else f"{mount_name(self._edge)}_")
        app_config.route_handlers.append(Router(self._edge.mount, route_handlers=handlers))
        path = normalize_path(app_config.path)
        self._is_below(path)
        app_config.before_send.append(UnknownUnder(path.rstrip("/") + self._edge.mount))
        app_config.on_shutdown.append(self._edge.get_kavach.close)
        app_config.middleware.insert(0, DefineMiddleware(cast(Any, self._around)))
        # Their types name classes of any parameters, which strict type checkers do not take.
        loosely: Any = app_config
        loosely.after_exception.append(self._note)
        loosely.exception_handlers.setdefault(Refused, self.answer_error)
        if app_config.openapi_config is not None:
            # A copy: the default one is shared by all apps of the process.
            app_config.openapi_config = copy(app_config.openapi_config)
            own = app_config.openapi_config.components
            app_config.openapi_config.components = [*(own if isinstance(own, list) else [own]), _SECURITY]
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Take note of what the guard must know of the app's routes. Called by Litestar."""
        self._mounts.receive(route)
        self._router_changed()

    def Guard(self, app: ASGIApp | Litestar, **options: Unpack[GuardOptions]) -> ASGIApp:  # noqa: N802 - as elsewhere
        """Protect paths: `app = kv.Guard(Litestar(...), protect=[...])`, or `public=[...]` for all but those.

        It goes around the whole app: Litestar runs its own middleware only for a path that has a route. The `path` and
        mounts of a `Litestar` somewhere inside are known. Browsers without a session go to `login`. Raises
        `ConfigurationError` for a pattern it cannot read.
        """
        inside = innermost(app, Litestar)
        if inside is not None:
            self._is_below(normalize_path(inside.path))
            self._mounts.receive(*inside.routes)
        return self._guarded(cast(ASGIApp, app), options, also_reads=self._mounts.also_reads)

    def require(self, permission: str, *, cost: int | None = None) -> Require[AgentIdentity]:
        """A dependency on an agent that is verified, authorized for `"action:resource"`, and recorded."""
        return Require(Requirement(self._edge, permission, cost))

    def answer_error(self, request: AnyRequest, error: Exception) -> Response[Any]:
        """Answer what the app's own code gets from Kavach: `exception_handlers={KavachError: kv.answer_error}`.

        A request gets the error body. A socket is refused with it, or closed with its code.
        """
        return ErrorResponse(to_reply(error.error if isinstance(error, Refused) else error))

    def _view(self, connection: Connection) -> View:
        return scope_view(connection.scope)

    def _around(self, app: ASGIApp) -> ASGIApp:
        return Watched(SocketRefusals(app), self._edge, self._recheck)

    async def _note(self, error: Exception, scope: Scope) -> None:
        """Litestar asks no error handler about a socket. What they would have answered is noted before it closes."""
        if isinstance(error, Refused):
            note_refusal(cast(AnyScope, scope), error.error)
        elif isinstance(error, KavachError) and self._is_asked_about(error, scope):
            note_refusal(cast(AnyScope, scope), error)

    def _is_asked_about(self, error: KavachError, scope: Scope) -> bool:
        route_handler: Any = scope["route_handler"]
        handlers = route_handler.resolve_exception_handlers()
        return next((handlers[each] for each in type(error).__mro__ if each in handlers), None) == self.answer_error


def kavach_litestar(get_kavach: GetKavach, *, recheck: float = RECHECK, **options: Unpack[Options]) -> KavachLitestar:
    """Make the plugin, guard and dependencies of one Kavach for a Litestar app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        recheck: Seconds after which an open socket or stream is verified again.
        options: `resolve_user`, `grantable`, `humans_from` and `mount`, as `Options` describes them.
    """
    return KavachLitestar(Edge(get_kavach, **options), recheck)


_SECURITY: Final = Components(
    security_schemes={name: SecurityScheme(**said) for name, said in openapi.SECURITY_SCHEMES.items()}
)
