"""Kavach without any framework: a layer that answers its routes, a guard, and decorators for ASGI endpoints.

An adapter in its smallest form, and the one that docs/integrations/custom.md explains.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from kavach_adapters.custom import (
    RECHECK,
    TABLE,
    WELL_KNOWN,
    ASGIApp,
    Browser,
    Edge,
    GetKavach,
    GuardMiddleware,
    Message,
    Operation,
    Receive,
    Requirement,
    Scope,
    Send,
    SocketRefusals,
    View,
    Watched,
    matches,
    note_refusal,
    run,
    run_unknown,
    send_reply,
    to_reply,
    view_of,
)
from kavach_core import AgentIdentity, CallContext, Decision, HumanIdentity, Identity, LiveSession
from kavach_core.errors import KavachError

Who = TypeVar("Who")
#: An endpoint that takes who is asking after ASGI's own three, and the one that is called.
Inner = Callable[[Scope, Receive, Send, Who], Awaitable[None]]


class KavachASGI:
    """One mount of Kavach around an ASGI app. Nothing is opened when it is made."""

    def __init__(self, edge: Edge, recheck: float) -> None:
        self._edge = edge
        self._recheck = recheck

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app, with Kavach's routes in front of its own; closes Kavach when it shuts down."""

        async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
            below = self._below_mount(scope)
            if scope["type"] == "lifespan":
                await app(scope, receive, self._closing(send))
            elif scope["type"] == "http" and below is not None:
                await self._answer(TABLE, below, scope, receive, send)
            elif scope["type"] == "http" and any(operation.path == scope["path"] for operation in WELL_KNOWN):
                await self.well_known(scope, receive, send)
            else:
                await app(scope, receive, send)

        return Watched(SocketRefusals(mounted), self._edge, self._recheck)

    async def well_known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a document that belongs at the root, as `around` does, for an app that has Kavach further down."""
        await self._answer(WELL_KNOWN, scope["path"], scope, receive, send)

    def Guard(self, app: ASGIApp, *, protect: Sequence[str] | None = None, **more: Any) -> ASGIApp:  # noqa: N802
        """Protect paths: those in `protect`, or all but those in `public`. It goes around `around(app)`."""
        # An app that looks for the root path elsewhere than in front of a path says `splits_at_root=True`.
        settings: dict[str, Any] = {"public": None, "login": None, "allow": ("human",), "splits_at_root": False, **more}
        return GuardMiddleware(app, self._edge, protect=protect, recheck=self._recheck, **settings)

    def identity(self, endpoint: Inner[Identity]) -> ASGIApp:
        """Hand the endpoint whoever is asking: a human, an agent or a service."""
        return self._with(self._edge.require_identity, endpoint)

    def human(self, endpoint: Inner[HumanIdentity]) -> ASGIApp:
        """Hand the endpoint the human who is asking."""
        return self._with(self._edge.require_human, endpoint)

    def agent(self, endpoint: Inner[AgentIdentity]) -> ASGIApp:
        """Hand the endpoint the agent that is asking: verified, not authorized for anything."""
        return self._with(self._edge.require_agent, endpoint)

    def require(self, permission: str, *, cost: int | None = None) -> Callable[[Inner[AgentIdentity]], ASGIApp]:
        """Hand the endpoint the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        requirement = Requirement(self._edge, permission, cost)
        return lambda endpoint: self._with(requirement, endpoint)

    async def session(self, scope: Scope) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(view_of(scope))

    def browser(self, scope: Scope) -> Browser:
        """The browser a request came from; `browser_cookie(config, browser)` is the header that names a new one."""
        return self._edge.browser(view_of(scope))

    def context(self, scope: Scope) -> CallContext:
        """Where a request came from: its address and user agent."""
        return self._edge.context(view_of(scope))

    async def authorize(
        self, scope: Scope, permission: str, arguments: Mapping[str, object] | None = None, *, cost: int | None = None
    ) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(_view(scope), permission, arguments, cost=cost)

    async def answer_error(self, scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
        """Answer what the app's own code gets from Kavach, where nothing has been sent yet.

        A request gets the error body. A socket is refused with it, or closed with its code.
        """
        if scope["type"] == "websocket":
            # `SocketRefusals` puts the error in the place of this.
            note_refusal(scope, error)
            await send({"type": "websocket.close", "code": 1011, "reason": ""})
        else:
            await send_reply(to_reply(error), receive, send, head=scope["method"] == "HEAD")

    def _with(self, establish: Callable[[View], Awaitable[Who]], endpoint: Inner[Who]) -> ASGIApp:
        @wraps(endpoint)
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                who = await establish(_view(scope))
            except KavachError as error:
                await self.answer_error(scope, receive, send, error)
            else:
                await endpoint(scope, receive, send, who)

        return wrapped

    def _below_mount(self, scope: Scope) -> str | None:
        path: str = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        mount = self._edge.mount
        return path[len(mount) :] or "/" if path == mount or path.startswith(f"{mount}/") else None

    async def _answer(self, table: Sequence[Operation], path: str, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["method"] == "HEAD"
        method = "GET" if head else scope["method"]
        for operation in table:
            if operation.method == method and matches(operation.path, path):
                view = view_of(scope, receive, _params(operation.path, path))
                await send_reply(await run(self._edge, operation, view), receive, send, head=head)
                return
        await send_reply(run_unknown(table, path), receive, send, head=head)

    def _closing(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._edge.get_kavach.close()
            await send(message)

        return wrapped


def kavach_asgi(
    get_kavach: GetKavach, *, mount: str = "/api/kavach", recheck: float = RECHECK, **options: Any
) -> KavachASGI:
    """Make the routes, guard and decorators of one Kavach. `options` are those of the other adapters."""
    return KavachASGI(Edge(get_kavach, mount=mount, **options), recheck)


def _view(scope: Scope) -> View:
    # Where routers leave the parts of the path, which fill a segment `{name}` of a permission.
    return view_of(scope, params=scope.get("path_params"))


def _params(template: str, path: str) -> dict[str, str]:
    pairs = zip(template.split("/"), path.split("/"), strict=True)
    return {part[1:-1]: piece for part, piece in pairs if part.startswith("{")}
