"""Kavach in Quart: a blueprint, a guard, and decorators that hand a typed identity to a view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, cast

from quart import Blueprint, Quart, Response

from kavach_adapters._adapter import Adapter, Establish, GuardOptions, Options, Who, mount_name
from kavach_adapters._asgi import ASGIApp
from kavach_adapters._connection import RECHECK, Watched
from kavach_adapters._quart import Connection, add_operations, answer, connection_view, current, mount_blueprint
from kavach_adapters._refusals import SocketRefusals
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Requirement
from kavach_core.api.view import View
from kavach_core.errors import KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

P = ParamSpec("P")
R = TypeVar("R")
#: An ASGI app, in whatever types its framework writes that.
App = TypeVar("App", bound=Callable[..., Awaitable[None]])
#: A view that takes who is asking before its own arguments, and the one that Quart calls.
Inner = Callable[Concatenate[Who, P], Awaitable[R]]
Outer = Callable[P, Coroutine[Any, Any, R | Response]]


class KavachQuart(Adapter[Connection]):
    """One mount of Kavach in a Quart app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        super().__init__(edge, recheck)
        #: Everything under `/api/kavach`, or wherever `mount` says; `init_app` registers it.
        self.blueprint = mount_blueprint(edge)
        #: For `app.register_blueprint(kv.well_known)`: documents that belong at the root.
        self.well_known = Blueprint("kavach_well_known", __name__)
        add_operations(self.well_known, edge, WELL_KNOWN)

    def init_app(self, app: Quart) -> None:
        """Register the routes, verify what stays open again, and close Kavach when the app shuts down."""
        # A second mount cannot have the name of the first.
        name = mount_name(self._edge) if "kavach" in app.blueprints else "kavach"
        app.register_blueprint(self.blueprint, name=name)
        app.after_serving(self._edge.get_kavach.close)
        watched = Watched(SocketRefusals(cast(ASGIApp, app.asgi_app)), self._edge, self._recheck)
        app.asgi_app = cast(Any, watched)  # type: ignore[method-assign]

    def Guard(self, app: App, **options: Unpack[GuardOptions]) -> App:  # noqa: N802 - as in the other frameworks
        """Protect paths: `app.asgi_app = kv.Guard(app.asgi_app, protect=[...])`, or `public=[...]` for all but those.

        Browsers without a session go to `login`. Raises `ConfigurationError` for a pattern it cannot read.
        """
        return cast(App, self._guarded(cast(ASGIApp, app), options))

    def identity(self, view: Inner[Identity, P, R]) -> Outer[P, R]:
        """Hand the view whoever is asking: a human, an agent or a service."""
        return _with(self._edge.require_identity, view)

    def human(self, view: Inner[HumanIdentity, P, R]) -> Outer[P, R]:
        """Hand the view the human who is asking."""
        return _with(self._edge.require_human, view)

    def agent(self, view: Inner[AgentIdentity, P, R]) -> Outer[P, R]:
        """Hand the view the agent that is asking: verified, not authorized for anything."""
        return _with(self._edge.require_agent, view)

    def require(
        self, permission: str, *, cost: int | None = None
    ) -> Callable[[Inner[AgentIdentity, P, R]], Outer[P, R]]:
        """Hand the view the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        requirement = Requirement(self._edge, permission, cost)

        def decorate(view: Inner[AgentIdentity, P, R]) -> Outer[P, R]:
            return _with(requirement, view)

        return decorate

    async def current_identity(self) -> Identity | None:
        """Return who is asking, or None if nobody says who they are. Raises as `Edge.identify`."""
        return await self._edge.identify(connection_view(current()))

    async def answer_error(self, error: Exception) -> Response:
        """Answer what the app's own code gets from Kavach: `app.register_error_handler(KavachError, kv.answer_error)`.

        A request gets the error body. A socket is refused with it, or closed with its code.
        """
        return answer(error)

    def _view(self, connection: Connection) -> View:
        return connection_view(connection)


def kavach_quart(get_kavach: GetKavach, *, recheck: float = RECHECK, **options: Unpack[Options]) -> KavachQuart:
    """Make the blueprint, guard and decorators of one Kavach for a Quart app.

    Args:
        get_kavach: What `lazy_kavach(...)` returned.
        recheck: Seconds after which an open socket or stream is verified again.
        options: `resolve_user`, `grantable`, `humans_from` and `mount`, as `Options` describes them.
    """
    return KavachQuart(Edge(get_kavach, **options), recheck)


def _with(establish: Establish[Who], view: Inner[Who, P, R]) -> Outer[P, R]:
    @wraps(view)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        try:
            who = await establish(connection_view(current()))
        except KavachError as error:
            return answer(error)
        return await view(who, *args, **kwargs)

    return wrapped
