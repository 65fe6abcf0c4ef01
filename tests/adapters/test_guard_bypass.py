"""The guard against the ways one path can be written, over real sockets, routers and a file server.

Each way is tried on the guard and on a naive one that asks `path.startswith`. The naive one is the negative control: a
test of bypasses proves something only if they work on somebody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from kavach_adapters import kavach_starlette
from kavach_core import lazy_kavach
from tests.http.live import live
from tests.http.world import bearer

SECRET = "the secret of the dashboard"
#: Targets that a naive guard takes for something else, and that reach the secret behind it.
REACHING = (
    "//dashboard/secret.txt",
    "///dashboard//secret.txt",
    "/./dashboard/secret.txt",
    "/open/../dashboard/secret.txt",
    "/open/%2e%2e/dashboard/secret.txt",
    "/%2e/dashboard/secret.txt",
    "/%2Fdashboard/secret.txt",
    "/open%2f..%2fdashboard%2fsecret.txt",
)
#: Further ways to write it, which must be refused whether or not this server and router understand them.
WRITTEN = (
    *REACHING,
    "/dashboard",
    "/dashboard/",
    "/dashboard/secret.txt",
    "/%64ashboard/secret.txt",
    "/dashboard%2Fsecret.txt",
    "/%2564ashboard/secret.txt",
    "/DASHBOARD/secret.txt",
    "/Dashboard/x",
    "/dashboard;a=b/x",
    "/dashboard\\secret.txt",
    "/dashboard/%00",
    "/dashboard/x%0a",
    "/dashboard%09/x",
    "/dash%0dboard/x",
    "/open/..;/dashboard/x",
    "/\u017fdashboard/../dashboard/x".encode().decode("latin-1"),
    "http://localhost/dashboard/x",
    "http://localhost//dashboard/x",
    "HTTP://evil.example:80/dashboard/x?a=/open",
)


class Naive:
    """What many apps have: a middleware that looks at the beginning of the path."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].startswith("/dashboard"):
            await PlainTextResponse("no", 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)


@asynccontextmanager
async def served(directory: Path, **options: Any) -> AsyncGenerator[tuple[str, str, str]]:
    """A naive server, a guarded one, and the token of a human: the same routes and files in both."""
    files = directory / "files"
    (files / "dashboard").mkdir(parents=True)
    (files / "dashboard" / "secret.txt").write_text(SECRET)
    (files / "open").mkdir()
    (files / "open" / "page.txt").write_text("open to all")
    get_kavach = lazy_kavach(database=f"sqlite:///{directory / 'kavach.db'}")
    kv = kavach_starlette(get_kavach)
    session = await (await get_kavach()).sessions.create("alice")

    def app() -> Starlette:
        return Starlette(
            routes=[
                Route("/dashboard/x", _secret),
                WebSocketRoute("/dashboard/ws", _secret_socket),
                Mount("/", StaticFiles(directory=files)),
            ]
        )

    guarded = kv.Guard(app(), protect=["/dashboard/:path*"])  # type: ignore[arg-type]
    async with live(Naive(app()), **options) as naive, live(guarded, **options) as guard:
        yield naive, guard, session.token or ""
    await get_kavach.close()


async def _secret(request: Request) -> Response:
    return PlainTextResponse(SECRET)


async def _secret_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(SECRET)
    await socket.close()


async def test_no_way_to_write_a_path_gets_around_the_guard(tmp_path: Path) -> None:
    async with served(tmp_path) as (naive, guard, token):
        for target in REACHING:
            status, body = await _ask(naive, target)
            assert (status, body) == (200, SECRET), f"the control is no control: {target} gave {status}"
        for target in WRITTEN:
            status, body = await _ask(guard, target)
            assert SECRET not in body and status in (400, 401), f"{target} gave {status}"
        # It is a guard and not a wall: who is known gets there, and what is open stays so.
        assert await _ask(guard, "/dashboard/secret.txt", token) == (200, SECRET)
        assert await _ask(guard, "/dashboard/x", token) == (200, SECRET)
        assert await _ask(guard, "/open/page.txt") == (200, "open to all")


async def test_a_root_path_does_not_get_around_the_guard(tmp_path: Path) -> None:
    """Behind a proxy that strips a prefix, the server puts it back in front, and the router takes it off again."""
    async with served(tmp_path, root_path="/gw") as (naive, guard, token):
        assert (await _ask(naive, "/dashboard/x")) == (200, SECRET)
        for target in ("/dashboard/x", "//dashboard/x", "/gw/dashboard/x", "/dashboard/secret.txt"):
            status, body = await _ask(guard, target)
            assert status == 401 and SECRET not in body, target
        assert await _ask(guard, "/dashboard/x", token) == (200, SECRET)


@pytest.mark.parametrize("target", ["/dashboard/ws", "/%64ashboard/ws", "//dashboard/ws", "/dashboard/../dashboard/ws"])
async def test_no_way_to_write_a_path_opens_a_socket(tmp_path: Path, target: str) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with served(tmp_path) as (_, guard, token):
        status, body = await _ask(guard, target, headers=upgrade)
        assert status == 401 and SECRET not in body
        if target == "/dashboard/ws":
            assert (await _ask(guard, target, token, headers=upgrade))[0] == 101


async def _ask(url: str, target: str, token: str = "", headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Send a request target byte for byte: clients that are built for it tidy a path up before they send it."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port)
    sent = {"host": f"{host}:{port}", "connection": "close", **(bearer(token) if token else {}), **(headers or {})}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    body = b"" if status == 101 else await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return status, body.decode("latin-1")
