"""The guard: a pure ASGI middleware for HTTP and WebSocket that lets nobody unknown reach a protected path.

It is the first gate and `require` in the handler the second; neither trusts the other. `PathRules` tells which paths
are protected, the edge who is asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from kavach_adapters._asgi import ASGIApp, Message, Receive, Scope, Send, refuse_socket, send_reply, view_of
from kavach_adapters._claims import with_claims, without_claims
from kavach_adapters._connection import RECHECK, Watched
from kavach_core.api import problems
from kavach_core.api.edge import Edge, GetKavach
from kavach_core.api.operation import Reply
from kavach_core.api.view import View
from kavach_core.errors import CallerNotAllowed, ConfigurationError, Unauthenticated
from kavach_core.pages.interstitial import interstitial
from kavach_core.primitives.path_patterns import PathPatterns
from kavach_core.primitives.path_readings import AlsoReads, reads_no_more
from kavach_core.primitives.paths import PathRules, under_root
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity, ServiceIdentity

_KINDS: Final[dict[str, type[object]]] = {"human": HumanIdentity, "agent": AgentIdentity, "service": ServiceIdentity}
_NOT_ON_PREFLIGHTS: Final = frozenset({b"authorization", b"cookie", b"transfer-encoding"})
_VARY: Final = (b"vary", b"Accept, Authorization, Cookie")


class GuardMiddleware:
    """Wraps an app. Made by `kv.Guard`."""

    def __init__(
        self,
        app: ASGIApp,
        edge: Edge,
        *,
        protect: Sequence[str] | None,
        public: Sequence[str] | None,
        login: str | None,
        allow: Sequence[str],
        prefixes: Sequence[str] = (),
        own_prefixes: Sequence[str] = (),
        also_reads: AlsoReads = reads_no_more,
        splits_at_root: bool = True,
        forward: bool = False,
        preflights: bool = False,
        recheck: float = RECHECK,
    ) -> None:
        unknown = set(allow) - _KINDS.keys()
        if unknown or not allow:
            raise ConfigurationError("allow names human, agent or service.")
        if login is not None and not _leads_from_anywhere(login):
            raise ConfigurationError("login is a path that begins with /, or an http URL, in ASCII and without a #.")
        self.app = Watched(app, edge, recheck)
        self._edge = edge
        self._login = login
        self._forward = forward
        self._preflights = preflights
        self._kinds = tuple(_KINDS[name] for name in allow)
        self._rules = PathRules(
            protect=None if protect is None else PathPatterns.parse(protect),
            public=None if public is None else PathPatterns.parse(public),
            exempt=PathPatterns.parse([f"{edge.mount}/:path*"]),
            login=PathPatterns.parse([login.partition("?")[0]] if login is not None and login.startswith("/") else []),
            prefixes=tuple(prefixes),
            own_prefixes=own_prefixes,
            also_reads=also_reads,
            splits_at_root=splits_at_root,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what needs no identity or has one; answer the rest here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _closing(self._edge.get_kavach, send))
            return
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope = without_claims(scope)
        protected = self._rules.protects(scope["path"], scope.get("raw_path"), scope.get("root_path", ""))
        if not protected:
            await self.app(scope, receive, send)
            return
        if self._preflights and _is_preflight(scope):
            await self.app(scope, _without_body(receive), send)
            return
        view = view_of(scope)
        admitted = await self._admit(view)
        if not isinstance(admitted, Reply):
            await self.app(with_claims(scope, admitted) if self._forward else scope, receive, send)
        elif view.is_websocket:
            await refuse_socket(_varying(admitted), scope, receive, send)
        else:
            await send_reply(_varying(admitted), receive, send)

    def forget(self) -> None:
        """Decide anew which paths are protected: the router has learnt another way to read some."""
        self._rules.forget()

    async def _admit(self, view: View) -> Identity | Reply:
        """Who may pass, or the answer to who may not."""
        try:
            return self._checked(view, await self._edge.identify(view))
        except Unauthenticated as error:
            return self._for_browsers(view) or problems.to_reply(error)
        except Exception as error:
            return problems.to_reply(error)

    def _for_browsers(self, view: View) -> Reply | None:
        """What a browser gets that opens a page without a session: that page once more if it came from another site,
        where its session cookie stayed behind, else the way to sign in.
        """
        if not _is_navigation(view):
            return None
        again = interstitial(view, self._edge.config.session_cookie)
        return again or (None if self._login is None else _to_login(self._login, view))

    def _checked(self, view: View, identity: Identity | None) -> Identity:
        if identity is None:
            raise Unauthenticated("This needs a credential.")
        if not isinstance(identity, self._kinds):
            raise CallerNotAllowed("This is not for this kind of caller.")
        # A page of any site can send a form here, or open a socket, cookies and all.
        self._edge.check_origin(view, identity)
        return identity


def _closing(get_kavach: GetKavach, send: Send) -> Send:
    """Close what was opened before the server is told that the app has shut down."""

    async def wrapped(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await get_kavach.close()
        await send(message)

    return wrapped


def _is_preflight(scope: Scope) -> bool:
    """Whether a browser only asks if it may ask (Fetch, CORS-preflight). Anybody can send what looks like it.

    It has neither a body nor any credential.
    """
    if scope.get("method") != "OPTIONS":
        return False
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if any(name in _NOT_ON_PREFLIGHTS or (name == b"content-length" and value != b"0") for name, value in headers):
        return False
    return {b"origin", b"access-control-request-method"} <= {name for name, value in headers if value}


def _without_body(receive: Receive) -> Receive:
    """A `receive` that hands over no body, whatever comes, and tells when the client is gone."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def nothing() -> Message:
        if messages:
            return messages.pop()
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return nothing


def _is_navigation(view: View) -> bool:
    """Whether this is a browser opening a page, and not a program or a script asking for data."""
    return (
        view.method in ("GET", "HEAD")
        and not view.is_websocket
        and _accepts_html(view.header("accept") or "")
        and view.header("sec-fetch-mode") in (None, "navigate")
        and view.header("authorization") is None
        and view.header("x-requested-with") is None
    )


def _accepts_html(accept: str) -> bool:
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type == "text/html":
            return not any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters)
    return False


def _leads_from_anywhere(login: str) -> bool:
    """Whether it names one page wherever it is told, and takes a `next`. What is relative may lead to itself."""
    if any(not "!" <= letter <= "~" or letter == "#" for letter in login):
        return False
    scheme, _, rest = login.partition("://")
    return login.startswith("/") or (scheme in ("https", "http") and rest[:1] not in ("", "/"))


def _to_login(login: str, view: View) -> Reply:
    page = under_root(login, view.root_path) if login.startswith("/") else login
    target = view.way_back
    join = "&" if "?" in page else "?"
    location = page if target is None else f"{page}{join}next={quote(target, safe='')}"
    return Reply(status=303, headers=((b"location", location.encode("ascii", "replace")),))


def _varying(reply: Reply) -> Reply:
    """The reply, marked as one that depends on who asks."""
    return replace(reply, headers=(*reply.headers, _VARY))
