"""A Starlette app as its author writes it, clean under mypy and pyright in strict mode. Only type checkers read it."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kavach_adapters import kavach_starlette
from kavach_core import AgentIdentity, Browser, CallContext, Decision, HumanIdentity, Identity, LiveSession, lazy_kavach
from kavach_core.errors import KavachError

kv = kavach_starlette(lazy_kavach(database="sqlite:///kavach.db"), grantable=["read:repos"])


@kv.require("read:repos")
async def search(request: Request, agent: AgentIdentity) -> JSONResponse:
    """Guarded."""
    return JSONResponse({"owner": agent.owner_id, "path": request.url.path})


@kv.human
async def me(request: Request, human: HumanIdentity) -> JSONResponse:
    """For humans."""
    assert_type(await kv.session(request), LiveSession | None)
    assert_type(kv.browser(request), Browser)
    assert_type(kv.context(request), CallContext)
    response = JSONResponse({"id": human.id, "session": human.session_id})
    kv.browser(request).set_on(response)
    kv.unset_session(response)
    return response


@kv.identity
async def who(request: Request, identity: Identity) -> JSONResponse:
    """For anyone known."""
    return JSONResponse({"id": identity.id})


@kv.agent
async def ws(socket: WebSocket, agent: AgentIdentity) -> None:
    """A socket."""
    await socket.accept()
    decision = await kv.authorize(socket, "read:repos", {"agent": agent.name})
    assert_type(decision, Decision)


@kv.human  # type: ignore[arg-type]
async def wrong(request: Request, agent: AgentIdentity) -> JSONResponse:
    """An endpoint that asks for somebody else than its decorator gives."""
    return JSONResponse({"id": agent.id})


app = Starlette(
    routes=[
        *kv.routes,
        *kv.well_known,
        Route("/search", search, methods=["POST"]),
        Route("/me", me),
        Route("/who", who),
        WebSocketRoute("/ws", ws),
    ],
    middleware=[Middleware(kv.Guard, public=["/", "/static/:path*"], login="/login")],
    exception_handlers={KavachError: kv.answer_error},
    lifespan=kv.lifespan,
)
