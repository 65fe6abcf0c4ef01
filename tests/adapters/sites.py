"""One site in every framework: the same open and secret pages, sockets and files, under each framework's own router.

A guard around a site has to hold, whether it is told what is protected or what is public. `SECRET` is in an answer if
the request got to something secret, whatever the way, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, WebSocket
from litestar import Litestar, asgi, get, route
from litestar import WebSocket as LitestarSocket
from litestar import websocket as litestar_socket
from litestar.static_files import create_static_files_router
from quart import Blueprint, Quart
from quart import websocket as quart_socket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from examples.plain_asgi.adapter import kavach_asgi
from kavach_adapters import kavach_fastapi, kavach_litestar, kavach_quart, kavach_starlette
from kavach_adapters.custom import ASGIApp, Receive, Scope, Send
from kavach_core.api.edge import GetKavach

SECRET: Final = "the secret of this site"
OPEN: Final = "open to all"
_PROTECT = [
    *("/dashboard/:path*", "/users/:id/keys", "/vault/:path*", "/files/:path*"),
    *("/inner/vault/:path*", "/inner/deep/vault", "/other/vault"),
]
_PUBLIC = ["/", "/about", "/innerwear", "/blog/:slug", "/users/me", "/static/:path*", "/inner/lobby", "/other/lobby"]
#: The two ways to tell a guard the same.
FORMS: Final[dict[str, dict[str, Any]]] = {"protect": {"protect": _PROTECT}, "public": {"public": _PUBLIC}}
#: Where there is something of either kind in every site.
SECRET_PATHS: Final = (
    *("/dashboard", "/dashboard/ws", "/users/7/keys", "/inner/vault", "/vault/secret.txt", "/files/secret.txt"),
    *("/inner/deep/vault", "/other/vault"),
)
OPEN_PATHS: Final = (
    *("/", "/about", "/innerwear", "/users/me", "/blog/post", "/inner/lobby", "/other/lobby", "/static/page.txt"),
)

#: A secret that is told whoever asks in whatever way.
_METHODS: Any = ["GET", "POST", "OPTIONS"]
_OPEN_PAGES = ("/", "/about", "/innerwear", "/users/me")
_OPEN_BLOG, _SECRET_KEYS = "/blog/{slug}", "/users/{id}/keys"


class Site(NamedTuple):
    """An app, and the adapter's object for it."""

    app: Any
    kv: Any

    def guarded(self, form: str, **more: Any) -> ASGIApp:
        """The app with a guard around it, in one of `FORMS`."""
        guard: ASGIApp = self.kv.Guard(self.app, **FORMS[form], **more)
        return guard


class Naive:
    """The negative control, and what many apps have: a middleware that compares `scope["path"]`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what does not look secret."""
        if scope["type"] in ("http", "websocket") and self._looks_secret(scope["path"]):
            refusal: Any = PlainTextResponse("no", 401)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _looks_secret(self, path: str) -> bool:
        is_below = any(f"{path}/".startswith(f"{page}/") for page in ("/dashboard", "/inner/vault", "/vault", "/files"))
        return is_below or (path.startswith("/users/") and path.endswith("/keys"))


def write_files(directory: Path) -> Path:
    """Write the files that every site serves."""
    for name, text in (("files/secret.txt", SECRET), ("vault/secret.txt", SECRET), ("static/page.txt", OPEN)):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory


def starlette_site(get_kavach: GetKavach, files: Path, prefix: str = "") -> Site:
    """The site in Starlette, which has no prefix of its own but a mount."""

    async def page(request: Request) -> Response:
        return PlainTextResponse(OPEN)

    async def secret(request: Request) -> Response:
        return PlainTextResponse(SECRET)

    routes = [
        *(Route(path, page) for path in (*_OPEN_PAGES, _OPEN_BLOG)),
        *(Route(path, secret, methods=_METHODS) for path in ("/dashboard", _SECRET_KEYS)),
        WebSocketRoute("/dashboard/ws", _tell_secret),
        Mount("/inner", Starlette(routes=[Mount("/deep", _small_starlette()), *_small_starlette().routes])),
        Mount("/other", _small_litestar()),
        Mount("/vault", StaticFiles(directory=files / "vault")),
        Mount("/", StaticFiles(directory=files)),
    ]
    return Site(Starlette(routes=routes), kavach_starlette(get_kavach))


def fastapi_site(get_kavach: GetKavach, files: Path, prefix: str = "") -> Site:
    """The site in FastAPI."""

    def page() -> Response:
        return PlainTextResponse(OPEN)

    def secret() -> Response:
        return PlainTextResponse(SECRET)

    app, inner, deep = FastAPI(), FastAPI(), FastAPI()
    app.root_path = prefix
    for path in (*_OPEN_PAGES, _OPEN_BLOG):
        app.add_api_route(path, page)
    for path in ("/dashboard", _SECRET_KEYS):
        app.add_api_route(path, secret, methods=_METHODS)
    app.add_api_websocket_route("/dashboard/ws", _tell_secret)
    for each in (inner, deep):
        each.add_api_route("/vault", secret)
        each.add_api_route("/lobby", page)
    inner.mount("/deep", deep)
    app.mount("/inner", inner)
    app.mount("/other", _small_litestar())
    app.mount("/vault", StaticFiles(directory=files / "vault"))
    if hasattr(app, "frontend"):  # newer than the oldest FastAPI that is supported
        app.frontend("/", directory=files)
    else:
        app.mount("/", StaticFiles(directory=files))
    return Site(app, kavach_fastapi(get_kavach))


def litestar_site(get_kavach: GetKavach, files: Path, prefix: str = "") -> Site:
    """The site in Litestar."""

    @get([*_OPEN_PAGES, "/blog/{slug:str}"], media_type="text/plain", sync_to_thread=False)
    def page() -> str:
        return OPEN

    @route(["/dashboard", "/users/{id:str}/keys"], http_method=_METHODS, media_type="text/plain", status_code=200)
    async def secret() -> str:
        return SECRET

    @litestar_socket("/dashboard/ws")
    async def socket(socket: LitestarSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(SECRET)
        await socket.close()

    deep, other = _small_litestar(), _small_starlette()
    inner = _small_litestar(asgi("/deep", is_mount=True, copy_scope=True)(deep))
    vault: Any = StaticFiles(directory=files / "vault")
    kv = kavach_litestar(get_kavach)
    app = Litestar(
        [
            page,
            secret,
            socket,
            asgi("/inner", is_mount=True, copy_scope=True)(inner),
            asgi("/other", is_mount=True, copy_scope=True)(other),
            asgi("/vault", is_mount=True, copy_scope=True)(vault),
            create_static_files_router(path="/", directories=[files]),
        ],
        path=prefix,
        plugins=[kv],
        openapi_config=None,
        logging_config=None,
    )
    return Site(app, kv)


def quart_site(get_kavach: GetKavach, files: Path, prefix: str = "") -> Site:
    """The site in Quart, which has blueprints instead of mounts."""

    async def page(slug: str = "") -> str:
        return OPEN

    async def secret(id: str = "") -> str:
        return SECRET

    async def socket() -> None:
        await quart_socket.send(SECRET)

    app = Quart(__name__, static_folder=str(files), static_url_path="")
    for path in (*_OPEN_PAGES, "/blog/<slug>"):
        app.add_url_rule(path, path.replace(".", ""), page)
    for path in ("/dashboard", "/users/<id>/keys"):
        app.add_url_rule(path, path, secret, methods=_METHODS, provide_automatic_options=False)
    app.add_websocket("/dashboard/ws", view_func=socket)
    for place in ("/inner", "/inner/deep", "/other"):
        inner = Blueprint(place.strip("/").replace("/", "_"), __name__, url_prefix=place)
        inner.add_url_rule("/vault", view_func=secret)
        inner.add_url_rule("/lobby", view_func=page)
        app.register_blueprint(inner)
    return Site(app, kavach_quart(get_kavach))


def plain_site(get_kavach: GetKavach, files: Path, prefix: str = "") -> Site:
    """The site without a framework: a dictionary, which takes a path as it is."""
    pages = dict.fromkeys(OPEN_PATHS, OPEN)
    pages |= dict.fromkeys(SECRET_PATHS, SECRET)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        text = pages.get(scope["path"].removeprefix(scope["root_path"]))
        answer: Any = PlainTextResponse(text or "nothing", 404 if text is None else 200)
        await answer(scope, receive, send)

    return Site(app, kavach_asgi(get_kavach))


#: Builds a site from a factory of Kavach, the directory that `write_files` filled, and a prefix of the app's own.
Build = Callable[..., Site]

SITES: Final[dict[str, Build]] = {
    "starlette": starlette_site,
    "fastapi": fastapi_site,
    "litestar": litestar_site,
    "quart": quart_site,
    "plain_asgi": plain_site,
}


async def _tell_secret(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(SECRET)
    await socket.close()


def _small_starlette() -> Any:
    """An app to mount. One that Litestar mounts is asked for paths with a slash at the end, which is no other page."""

    async def page(request: Request) -> Response:
        return PlainTextResponse(OPEN)

    async def secret(request: Request) -> Response:
        return PlainTextResponse(SECRET)

    named = {"/vault": secret, "/lobby": page}
    return Starlette(routes=[Route(path + end, endpoint) for path, endpoint in named.items() for end in ("", "/")])


def _small_litestar(*mounts: Any) -> Any:
    """The same in another framework, with what is mounted in it."""

    @get("/vault", media_type="text/plain", sync_to_thread=False)
    def secret() -> str:
        return SECRET

    @get("/lobby", media_type="text/plain", sync_to_thread=False)
    def page() -> str:
        return OPEN

    return Litestar([secret, page, *mounts], openapi_config=None, logging_config=None)
