"""Kavach in Quart: a blueprint, a guard, and decorators that hand a typed identity to a view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from quart import Blueprint, Quart, Response, has_websocket_context, request, websocket

from kavach_adapters._asgi import ASGIApp
from kavach_adapters._connection import RECHECK, Watched, checked
from kavach_adapters._guard import GuardMiddleware
from kavach_adapters._quart import Connection, add_operations, connection_view, mount_blueprint, scope_of, to_response
from kavach_core.api import problems
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Grantable, HumansFrom, ResolveUser, split_permission
from kavach_core.api.view import View
from kavach_core.capabilities.authorize import Decision
from kavach_core.capabilities.sessions import LiveSession
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

P = ParamSpec("P")
R = TypeVar("R")
Who = TypeVar("Who")
#: An ASGI app, in whatever types its framework writes that.
App = TypeVar("App", bound=Callable[..., Awaitable[None]])
#: A view that takes who is asking before its own arguments, and the one that Quart calls.
Inner = Callable[Concatenate[Who, P], Awaitable[R]]
Outer = Callable[P, Coroutine[Any, Any, R | Response]]


class KavachQuart:
    """One mount of Kavach in a Quart app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        self._edge = edge
        self._recheck = checked(recheck)
        #: Everything under `/api/kavach`, or wherever `mount` says; `init_app` registers it.
        self.blueprint = mount_blueprint(edge)
        #: For `app.register_blueprint(kv.well_known)`: documents that belong at the root.
        self.well_known = Blueprint("kavach_well_known", __name__)
        add_operations(self.well_known, edge, WELL_KNOWN)

    def init_app(self, app: Quart) -> None:
        """Register the routes, verify what stays open again, and close Kavach when the app shuts down."""
        app.register_blueprint(self.blueprint)
        app.after_serving(self._edge.get_kavach.close)
        watched = Watched(cast(ASGIApp, app.asgi_app), self._edge, self._recheck)
        app.asgi_app = cast(Any, watched)  # type: ignore[method-assign]

    def Guard(  # noqa: N802 - it is called like a class, as in the other frameworks
        self,
        app: App,
        *,
        protect: Sequence[str] | None = None,
        public: Sequence[str] | None = None,
        login: str | None = None,
        allow: Sequence[str] = ("human",),
        prefixes: Sequence[str] = (),
    ) -> App:
        """Protect paths: those in `protect`, or all but those in `public`. Browsers without a session go to `login`.

        It goes around the app: `app.asgi_app = kv.Guard(app.asgi_app, protect=[...])`. `allow` says who is let in:
        human, agent, service. `prefixes` are root paths that the server does not tell. Raises `ConfigurationError` for
        a pattern it cannot read.
        """
        guard = GuardMiddleware(
            cast(ASGIApp, app),
            self._edge,
            protect=protect,
            public=public,
            login=login,
            allow=allow,
            prefixes=prefixes,
            recheck=self._recheck,
        )
        return cast(App, guard)

    def identity(self, view: Inner[Identity, P, R]) -> Outer[P, R]:
        """Hand the view whoever is asking: a human, an agent or a service."""
        return _with(self._edge.require_identity, view)

    def human(self, view: Inner[HumanIdentity, P, R]) -> Outer[P, R]:
        """Hand the view the human who is asking."""
        return _with(self._edge.require_human, view)

    def agent(self, view: Inner[AgentIdentity, P, R]) -> Outer[P, R]:
        """Hand the view the agent that is asking: verified, not authorized for anything."""
        return _with(self._edge.require_agent, view)

    def require(self, permission: str) -> Callable[[Inner[AgentIdentity, P, R]], Outer[P, R]]:
        """Hand the view the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        split_permission(permission)

        def decorate(view: Inner[AgentIdentity, P, R]) -> Outer[P, R]:
            return _with(lambda seen: self._edge.require(seen, permission), view)

        return decorate

    async def current_identity(self) -> Identity | None:
        """Return who is asking, or None if nobody says who they are. Raises as `Edge.identify`."""
        return await self._edge.identify(connection_view(_current()))

    async def session(self, connection: Connection) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(connection_view(connection))

    async def authorize(
        self, connection: Connection, permission: str, arguments: Mapping[str, object] | None = None
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(connection_view(connection), permission, arguments)


def kavach_quart(
    get_kavach: GetKavach,
    *,
    resolve_user: ResolveUser | None = None,
    grantable: Grantable | None = None,
    humans_from: HumansFrom = "app",
    mount: str = "/api/kavach",
    recheck: float = RECHECK,
) -> KavachQuart:
    """Make the blueprint, guard and decorators of one Kavach for a Quart app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        resolve_user: Names the human behind a request by the auth the app already has, or nobody.
        grantable: The most a human may give to their agents over HTTP; without it humans create none.
        humans_from: Whom to ask first for the human, the `app` or Kavach's own `session`.
        mount: The path that `blueprint` is under.
        recheck: Seconds after which an open socket or stream is verified again.
    """
    edge = Edge(get_kavach, resolve_user=resolve_user, grantable=grantable, humans_from=humans_from, mount=mount)
    return KavachQuart(edge, recheck)


def _with(establish: Callable[[View], Awaitable[Who]], view: Inner[Who, P, R]) -> Outer[P, R]:
    @wraps(view)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        try:
            who = await establish(connection_view(_current()))
        except KavachError as error:
            # None only for a socket that was closed, whose views return nothing anyway.
            return cast(Response, await _refuse(error))
        return await view(who, *args, **kwargs)

    return wrapped


async def _refuse(cause: KavachError) -> Response | None:
    """Answer a request with the error; refuse a handshake with it."""
    error = problems.for_clients(cause)
    if has_websocket_context() and "websocket.http.response" not in scope_of(websocket).get("extensions", {}):
        await websocket.close(problems.close_code(error), error.public_code)
        return None
    return to_response(problems.to_reply(error))


def _current() -> Connection:
    return websocket if has_websocket_context() else request
