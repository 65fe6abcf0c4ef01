"""What every adapter is made with, and the verbs that are the same code in all of them.

An adapter has, in this order: its routes in the framework's own type, `well_known`, `Guard`, `identity`, `human`,
`agent`, `require(permission)`, `session(connection)`, `browser(connection)`, `context(connection)`,
`set_session(response, session)`, `unset_session(response)`, `authorize(connection, permission)` and `answer_error`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypedDict, TypeVar

from kavach_adapters._asgi import ASGIApp
from kavach_adapters._connection import RECHECK, checked
from kavach_adapters._guard import GuardMiddleware
from kavach_core.api.cookies import set_session_on
from kavach_core.api.edge import Edge, Grantable, HumansFrom, ResolveUser
from kavach_core.api.view import View
from kavach_core.capabilities.authorize import CallContext, Decision
from kavach_core.capabilities.sessions import LiveSession, Session
from kavach_core.errors import KavachError
from kavach_core.primitives.browser import Browser, SetsCookies
from kavach_core.primitives.path_readings import AlsoReads, reads_no_more

Connection = TypeVar("Connection")
Who = TypeVar("Who")
#: Tells who is asking, or raises.
Establish = Callable[[View], Awaitable[Who]]


class Options(TypedDict, total=False):
    """What `kavach_starlette`, `kavach_fastapi`, `kavach_litestar` and `kavach_quart` take, beside `recheck`."""

    #: Names the human behind a request by the auth the app already has, or nobody.
    resolve_user: ResolveUser | None
    #: The most a human may give to their agents over HTTP; without it humans create none.
    grantable: Grantable | None
    #: Whom to ask first for the human, the `app` or Kavach's own `session`.
    humans_from: HumansFrom
    #: The path that the routes are under; `/api/kavach` if not given.
    mount: str


class GuardOptions(TypedDict, total=False):
    """What `kv.Guard(app, ...)` takes. Either `protect` or `public` says which paths it is about."""

    #: The paths that need an identity.
    protect: Sequence[str] | None
    #: The only paths that need none.
    public: Sequence[str] | None
    #: Where browsers without a session are sent; others get 401.
    login: str | None
    #: Who is let in: human, agent, service; only humans if not given.
    allow: Sequence[str]
    #: Root paths that the server does not tell.
    prefixes: Sequence[str]
    #: Whether request headers tell the app behind who is asking.
    forward: bool
    #: Whether CORS preflights pass, for a layer further in that answers them.
    preflights: bool


class Refused(Exception):
    """A refusal in an app's own route, on its way to the framework's handler for it."""

    def __init__(self, error: KavachError) -> None:
        super().__init__(error.message)
        self.error = error


def mount_name(edge: Edge) -> str:
    """A name for a mount, where a framework wants one that no other has: `staff_kavach` for `/staff/kavach`."""
    return "".join(each if each.isalnum() else "_" for each in edge.mount.strip("/"))


class Adapter(ABC, Generic[Connection]):
    """One mount of Kavach in an app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float = RECHECK) -> None:
        self._edge = edge
        self._recheck = checked(recheck)
        #: Root paths of the app's own that are known by now, which the scope does not tell a guard around it.
        self._own_prefixes: list[str] = []
        self._guards: list[GuardMiddleware] = []

    async def session(self, connection: Connection) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(self._view(connection))

    def browser(self, connection: Connection) -> Browser:
        """The browser a request came from, for ceremonies in an app's own routes.

        Whoever begins one sends its cookie with the answer: `kv.browser(request).set_on(response)`.
        """
        return self._edge.browser(self._view(connection))

    def context(self, connection: Connection) -> CallContext:
        """Where a request came from: its `ip`, as `trusted_proxies` say, and `user_agent`.

        A sign-in in an app's own route takes them as `address=` and `user_agent=`. Without an address nothing is
        counted against it.
        """
        return self._edge.context(self._view(connection))

    def set_session(self, response: SetsCookies, session: Session) -> None:
        """Sign a browser in: send the cookie of a session that was just started with an answer of the app's own."""
        set_session_on(response, self._edge.config, session)

    def unset_session(self, response: SetsCookies) -> None:
        """Make a browser forget its session. What ends it is `kavach.sessions.revoke`."""
        set_session_on(response, self._edge.config, None)

    async def authorize(
        self,
        connection: Connection,
        permission: str,
        arguments: Mapping[str, object] | None = None,
        *,
        cost: int | None = None,
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(self._view(connection), permission, arguments, cost=cost)

    def _guarded(
        self,
        app: ASGIApp,
        options: GuardOptions,
        *,
        also_reads: AlsoReads = reads_no_more,
        splits_at_root: bool = True,
    ) -> ASGIApp:
        guard = GuardMiddleware(
            app,
            self._edge,
            protect=options.get("protect"),
            public=options.get("public"),
            login=options.get("login"),
            allow=options.get("allow", ("human",)),
            prefixes=options.get("prefixes", ()),
            own_prefixes=self._own_prefixes,
            forward=options.get("forward", False),
            preflights=options.get("preflights", False),
            also_reads=also_reads,
            splits_at_root=splits_at_root,
            recheck=self._recheck,
        )
        self._guards.append(guard)
        return guard

    def _router_changed(self) -> None:
        """Have the guards look at every path anew: the app's router reads some in another way from now on."""
        for guard in self._guards:
            guard.forget()

    def _is_below(self, prefix: str) -> None:
        """Take note that the app's own root path is this one."""
        if prefix.strip("/") and prefix not in self._own_prefixes:
            self._own_prefixes.append(prefix)

    @abstractmethod
    def _view(self, connection: Connection) -> View:
        """The view of a request or socket of the framework."""
