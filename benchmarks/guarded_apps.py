"""The apps of the guard's bench, the same routes in each framework, and one request to them without a server."""

# No postponed annotations here: FastAPI and Litestar read the signatures of handlers that exist only inside a function.

import asyncio
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI
from litestar import Litestar, get
from litestar import Request as LitestarRequest
from litestar.di import NamedDependency, Provide
from quart import Quart
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from kavach_adapters import kavach_fastapi, kavach_litestar, kavach_quart, kavach_starlette
from kavach_core import AgentIdentity, CallContext
from kavach_core.api.edge import GetKavach

PERMISSION: Final = "read:app:repos:1"
USER_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) bench/1.0"
ADDRESS: Final = "192.0.2.1"

GUARD: Final[dict[str, Any]] = {"protect": ["/private/:path*"], "login": "/login", "allow": ("human", "agent")}
#: What a browser sends without being asked, in the order of one.
_HEADERS: Final = (
    (b"host", b"app.example"),
    (b"connection", b"keep-alive"),
    (b"user-agent", USER_AGENT.encode()),
    (b"accept", b"application/json, text/plain, */*"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"referer", b"https://app.example/dashboard"),
    (b"sec-fetch-mode", b"cors"),
    (b"sec-fetch-site", b"same-origin"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """`bare()` is an app that knows no Kavach, `mounted(get_kavach)` one with its routes, and a guard if asked for.

    In `mounted` apps `/search` requires a permission, and `/by-hand` asks for the decision without an adapter.
    """

    name: str
    bare: Callable[[], Any]
    mounted: Callable[..., Any]


async def visit(app: Any, path: str, **headers: str) -> None:
    """GET a path as a server would hand it to the app. Raises RuntimeError for anything but 200."""
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*_HEADERS, *given],
        "client": (ADDRESS, 40_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {},
    }
    exchange = _Exchange()
    await app(scope, exchange.receive, exchange.send)
    if exchange.status != 200:
        raise RuntimeError(f"{path} answered {exchange.status}")


async def decide_by_hand(get_kavach: GetKavach, authorization: str) -> str:
    """What an app without an adapter would write into its route. Raises RuntimeError for a denial."""
    action, _, resource = PERMISSION.partition(":")
    context = CallContext(ip=ADDRESS, user_agent=USER_AGENT, over_http=True)
    token = authorization.removeprefix("Bearer ")
    decision = await (await get_kavach()).authorize(token, action=action, resource=resource, context=context)
    if not decision.allowed:
        raise RuntimeError(f"the bench expects to be allowed, and was told {decision.code}")
    return "hello"


class _Exchange:
    """The other side of one request."""

    __slots__ = ("_asked", "_ended", "status")

    def __init__(self) -> None:
        self.status = 0
        self._asked = False
        self._ended = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self._ended.set()


def _bare_starlette() -> Starlette:
    return Starlette(routes=[Route("/open", _hello), Route("/private", _hello)])


def _starlette(get_kavach: GetKavach, *, guarded: bool) -> Any:
    kv = kavach_starlette(get_kavach)

    @kv.require(PERMISSION)
    async def search(request: Request, agent: AgentIdentity) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def by_hand(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await decide_by_hand(get_kavach, request.headers["authorization"]))

    own = [Route("/open", _hello), Route("/private", _hello), Route("/search", search), Route("/by-hand", by_hand)]
    app = Starlette(routes=[*own, *kv.routes], lifespan=kv.lifespan)
    return kv.Guard(app, **GUARD) if guarded else app


async def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def _bare_fastapi() -> FastAPI:
    app = FastAPI()
    app.get("/open", response_class=PlainTextResponse)(_text)
    app.get("/private", response_class=PlainTextResponse)(_text)
    return app


def _fastapi(get_kavach: GetKavach, *, guarded: bool) -> Any:
    kv = kavach_fastapi(get_kavach)
    app = _bare_fastapi()

    @app.get("/search", response_class=PlainTextResponse)
    async def search(agent: Annotated[AgentIdentity, Depends(kv.require(PERMISSION))]) -> str:
        return "hello"

    @app.get("/by-hand", response_class=PlainTextResponse)
    async def by_hand(request: Request) -> str:
        return await decide_by_hand(get_kavach, request.headers["authorization"])

    app.include_router(kv.router, prefix="/api/kavach")
    return kv.Guard(app, **GUARD) if guarded else app


async def _text() -> str:
    return "hello"


def _bare_litestar() -> Litestar:
    return Litestar([get(["/open", "/private"], media_type="text/plain")(_text)], logging_config=None)


def _litestar(get_kavach: GetKavach, *, guarded: bool) -> Any:
    kv = kavach_litestar(get_kavach)

    @get("/search", media_type="text/plain", dependencies={"agent": Provide(kv.require(PERMISSION))})
    async def search(agent: NamedDependency[AgentIdentity]) -> str:
        return "hello"

    @get("/by-hand", media_type="text/plain")
    async def by_hand(request: LitestarRequest[Any, Any, Any]) -> str:
        return await decide_by_hand(get_kavach, request.headers["authorization"])

    own = get(["/open", "/private"], media_type="text/plain")(_text)
    app = Litestar([own, search, by_hand], plugins=[kv], logging_config=None)
    return kv.Guard(app, **GUARD) if guarded else app


def _bare_quart() -> Quart:
    app = Quart(__name__)
    app.get("/open")(_text)
    app.add_url_rule("/private", "private", _text)
    return app


def _quart(get_kavach: GetKavach, *, guarded: bool) -> Any:
    kv = kavach_quart(get_kavach)
    app = _bare_quart()

    @app.get("/search")
    @kv.require(PERMISSION)
    async def search(agent: AgentIdentity) -> str:
        return "hello"

    @app.get("/by-hand")
    async def by_hand() -> str:
        return await decide_by_hand(get_kavach, quart_request.headers["authorization"])

    kv.init_app(app)
    return kv.Guard(app, **GUARD) if guarded else app


FRAMEWORKS: Final = (
    Framework(name="starlette", bare=_bare_starlette, mounted=_starlette),
    Framework(name="fastapi", bare=_bare_fastapi, mounted=_fastapi),
    Framework(name="litestar", bare=_bare_litestar, mounted=_litestar),
    Framework(name="quart", bare=_bare_quart, mounted=_quart),
)
