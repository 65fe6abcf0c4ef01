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
    Scope,
    Send,
    View,
    Watched,
    matches,
    refuse_socket,
    run,
    run_unknown,
    send_reply,
    split_permission,
    to_reply,
    view_of,
)
from kavach_core import AgentIdentity, Decision, HumanIdentity, Identity, LiveSession
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
                await self._answer(WELL_KNOWN, scope["path"], scope, receive, send)
            else:
                await app(scope, receive, send)

        return Watched(mounted, self._edge, self._recheck)

    def Guard(self, app: ASGIApp, *, protect: Sequence[str] | None = None, **more: Any) -> ASGIApp:  # noqa: N802
        """Protect paths: those in `protect`, or all but those in `public`. It goes around `around(app)`."""
        settings: dict[str, Any] = {"public": None, "login": None, "allow": ("human",), **more}
        return GuardMiddleware(app, self._edge, protect=protect, recheck=self._recheck, **settings)

    def identity(self, endpoint: Inner[Identity]) -> ASGIApp:
        """Hand the endpoint whoever is asking: a human, an agent or a service."""
        return _with(self._edge.require_identity, endpoint)

    def human(self, endpoint: Inner[HumanIdentity]) -> ASGIApp:
        """Hand the endpoint the human who is asking."""
        return _with(self._edge.require_human, endpoint)

    def agent(self, endpoint: Inner[AgentIdentity]) -> ASGIApp:
        """Hand the endpoint the agent that is asking: verified, not authorized for anything."""
        return _with(self._edge.require_agent, endpoint)

    def require(self, permission: str, *, cost: int | None = None) -> Callable[[Inner[AgentIdentity]], ASGIApp]:
        """Hand the endpoint the agent that is asking, verified, authorized for `"action:resource"` and recorded."""
        split_permission(permission)
        return lambda endpoint: _with(lambda view: self._edge.require(view, permission, cost=cost), endpoint)

    async def session(self, scope: Scope) -> LiveSession | None:
        """Return the live Kavach session behind a request, or None."""
        return await self._edge.session(view_of(scope))

    def browser(self, scope: Scope) -> Browser:
        """The browser a request came from; `browser_cookie(config, browser)` is the header that names a new one."""
        return self._edge.browser(view_of(scope))

    async def authorize(self, scope: Scope, permission: str, arguments: Mapping[str, object] | None = None) -> Decision:
        """Decide and record one more call of the agent behind a connection, such as a message on its socket."""
        return await self._edge.authorize(view_of(scope), permission, arguments)

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


def _with(establish: Callable[[View], Awaitable[Who]], endpoint: Inner[Who]) -> ASGIApp:
    @wraps(endpoint)
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            who = await establish(view_of(scope))
        except KavachError as error:
            if scope["type"] == "websocket":
                await refuse_socket(to_reply(error), scope, receive, send)
            else:
                await send_reply(to_reply(error), receive, send)
        else:
            await endpoint(scope, receive, send, who)

    return wrapped


def _params(template: str, path: str) -> dict[str, str]:
    pairs = zip(template.split("/"), path.split("/"), strict=True)
    return {part[1:-1]: piece for part, piece in pairs if part.startswith("{")}
