"""The test app in Starlette."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kavach_adapters import kavach_starlette
from kavach_core import AgentIdentity, HumanIdentity, Identity
from kavach_core.api.edge import GetKavach
from tests.http.answers import about, described, events, greet, seen, ticks


def build(get_kavach: GetKavach, *, guard: dict[str, Any] | None = None, **options: Any) -> Starlette:
    """The app, with a guard in front if its options are given."""
    kv = kavach_starlette(get_kavach, **options)

    @kv.identity
    async def whoami(request: Request, identity: Identity) -> Response:
        return JSONResponse(described(identity))

    @kv.human
    async def me(request: Request, human: HumanIdentity) -> Response:
        return JSONResponse(described(human))

    @kv.agent
    async def agent(request: Request, agent: AgentIdentity) -> Response:
        return JSONResponse(described(agent))

    @kv.require("read:repos")
    async def search(request: Request, agent: AgentIdentity) -> Response:
        return JSONResponse(described(agent))

    @kv.require("read:repos", cost=5)
    async def costly(request: Request, agent: AgentIdentity) -> Response:
        return JSONResponse(described(agent))

    async def look(request: Request) -> Response:
        return JSONResponse(seen(request))

    async def session(request: Request) -> Response:
        found = await kv.session(request)
        return JSONResponse({"userId": found and found.user_id})

    async def browser(request: Request) -> Response:
        found = kv.browser(request)
        response = JSONResponse(about(found))
        found.set_on(response)
        return response

    async def enter(request: Request) -> Response:
        response = JSONResponse({"address": kv.context(request).ip})
        kv.set_session(response, await (await get_kavach()).sessions.create("alice"))
        return response

    async def leave(request: Request) -> Response:
        response = JSONResponse({})
        kv.unset_session(response)
        return response

    @kv.identity
    async def ws_whoami(socket: WebSocket, identity: Identity) -> None:
        await greet(socket, described(identity))

    @kv.human
    async def ws_me(socket: WebSocket, human: HumanIdentity) -> None:
        await greet(socket, described(human))

    @kv.agent
    async def ws_agent(socket: WebSocket, agent: AgentIdentity) -> None:
        await greet(socket, described(agent))

    @kv.require("read:repos")
    async def ws_search(socket: WebSocket, agent: AgentIdentity) -> None:
        await greet(socket, described(agent))

    async def ws_each(socket: WebSocket) -> None:
        await socket.accept()
        async for permission in socket.iter_text():
            await socket.send_json({"code": (await kv.authorize(socket, permission)).code})

    @kv.require("read:repos")
    async def stream(request: Request, agent: AgentIdentity) -> Response:
        return StreamingResponse(ticks())

    async def each_event(request: Request) -> Response:
        decided = events(lambda: kv.authorize(request, "read:repos"))
        return StreamingResponse(decided, media_type="text/event-stream")

    @kv.identity
    async def ws_hold(socket: WebSocket, identity: Identity) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    async def ws_look(socket: WebSocket) -> None:
        await greet(socket, seen(socket))

    both = ["GET", "POST"]
    return Starlette(
        routes=[
            *kv.routes,
            *kv.well_known,
            Route("/whoami", whoami, methods=both),
            Route("/me", me, methods=both),
            Route("/agent", agent, methods=both),
            Route("/search", search, methods=both),
            Route("/costly", costly, methods=["POST"]),
            Route("/session", session),
            Route("/browser", browser),
            Route("/enter", enter),
            Route("/leave", leave),
            Route("/stream", stream),
            Route("/events", each_event),
            Route("/seen", look),
            Route("/login", look),
            Route("/dashboard/{rest:path}", look, methods=both),
            WebSocketRoute("/ws/whoami", ws_whoami),
            WebSocketRoute("/ws/me", ws_me),
            WebSocketRoute("/ws/agent", ws_agent),
            WebSocketRoute("/ws/search", ws_search),
            WebSocketRoute("/ws/each", ws_each),
            WebSocketRoute("/ws/hold", ws_hold),
            WebSocketRoute("/dashboard/ws", ws_look),
        ],
        middleware=[] if guard is None else [Middleware(kv.Guard, **guard)],
        lifespan=kv.lifespan,
    )
