"""One app over one database, and the people and programs that call it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar
from typing import Any, Final

import httpx

from kavach_core import Agent, Kavach, LazyKavach, lazy_kavach
from kavach_core.config import Settings
from kavach_core.testing import FrozenClock
from tests.http.frameworks import MOUNT, Framework

#: The origin of the app's own pages.
ORIGIN: Final = "http://localhost:8000"
#: An id of each kind that nothing has.
NO_AGENT, NO_DELEGATION, NO_KEY = (f"{prefix}_{'0' * 32}" for prefix in ("agt", "dlg", "key"))

_SETTINGS: Final = frozenset(Settings.__annotations__)

Headers = dict[str, str]
OpenWorld = Callable[..., Awaitable["World"]]


class World:
    """An app built by one framework, a client of it, and its Kavach in-process."""

    def __init__(self, app: Any, get_kavach: LazyKavach, kavach: Kavach, clock: FrozenClock) -> None:
        self.app = app
        self.get_kavach = get_kavach
        self.kavach = kavach
        self.clock = clock
        self.client = client_of(app)

    async def call(self, method: str, path: str, as_: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """Call an operation: a path below the mount, with the credentials of somebody."""
        return await self.client.request(
            method, MOUNT + path, headers={**(as_ or {}), **more.pop("headers", {})}, **more
        )

    async def visit(self, method: str, path: str, as_: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """Call one of the app's own routes."""
        return await self.client.request(method, path, headers=dict(as_ or {}), **more)

    async def human(self, owner: str = "alice") -> Headers:
        """A human with a session token as bearer."""
        return bearer((await self.kavach.sessions.create(owner)).token)

    async def browser(self, owner: str = "alice") -> Headers:
        """A human with a session cookie, on a page of the app."""
        session = await self.kavach.sessions.create(owner)
        return {"cookie": f"{self.get_kavach.config.session_cookie}={session.token}", "origin": ORIGIN}

    async def service(self, *scopes: str, **more: Any) -> Headers:
        """The holder of an API key with these scopes, or with all and everything to give."""
        if not scopes:
            more.setdefault("grantable", ["*:*"])
        key = await self.kavach.keys.create(name="service", scopes=scopes or ("*",), **more)
        return bearer(key.key)

    async def agent(self, *permissions: Any, owner: str = "alice", **more: Any) -> Agent:
        """An agent with these permissions; `read:repos` if none are named."""
        given = permissions or ("read:repos",)
        return await self.kavach.agents.create(owner_id=owner, name="agent", permissions=given, **more)


@asynccontextmanager
async def worlds(framework: Framework, database: str, clock: FrozenClock | None) -> AsyncGenerator[OpenWorld]:
    """Gives a function that opens worlds on a database; all of them are closed at the end.

    It takes settings of Kavach and options of the adapter alike.
    """
    opened: list[World] = []

    async def open_world(**asked: Any) -> World:
        settings: dict[str, Any] = {name: asked.pop(name) for name in list(asked) if name in _SETTINGS}
        get_kavach = lazy_kavach(database=database, clock=clock, **settings)
        app = framework.build(get_kavach, **asked)
        opened.append(World(app, get_kavach, await get_kavach(), clock or FrozenClock()))
        return opened[-1]

    try:
        yield open_world
    finally:
        for world in opened:
            await world.client.aclose()
            await world.get_kavach.close()


def bearer(token: str | None) -> Headers:
    """The header that presents a token."""
    assert token, "there is no token to present"
    return {"authorization": f"Bearer {token}"}


def client_of(app: Any, *, peer: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of an app in this process; `peer` is the address the app sees. What the app raises is a 500."""
    transport = httpx.ASGITransport(app=app, client=(peer, 40_000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=_NoJar())


class _NoJar(CookieJar):
    """Keeps nothing: who is signed in is said call by call."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take no cookie of an answer."""


def error_of(response: httpx.Response) -> tuple[int, str]:
    """The status and code of an error, after checking that it has the one shape all errors have."""
    assert response.headers["content-type"] == "application/json", response.text
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message", "details"}, body
    assert isinstance(body["error"]["message"], str) and isinstance(body["error"]["details"], dict), body
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == 'Bearer realm="kavach"'
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, body["error"]["code"]
