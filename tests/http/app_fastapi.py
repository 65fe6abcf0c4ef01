"""The test app in FastAPI."""

# No postponed annotations here: FastAPI must see the dependencies that exist only inside `build`.

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import StreamingResponse

from kavach_adapters import kavach_fastapi
from kavach_core import AgentIdentity, HumanIdentity, Identity
from kavach_core.api.edge import GetKavach
from tests.http.answers import about, described, events, greet, seen, ticks


def build(get_kavach: GetKavach, *, guard: dict[str, Any] | None = None, **options: Any) -> FastAPI:
    """The app, with a guard in front if its options are given."""
    kv = kavach_fastapi(get_kavach, **options)
    app = FastAPI()
    app.include_router(kv.router, prefix=options.get("mount", "/api/kavach"))
    app.include_router(kv.well_known)
    if guard is not None:
        app.add_middleware(kv.Guard, **guard)

    @app.get("/whoami")
    @app.post("/whoami")
    async def whoami(identity: Annotated[Identity, Depends(kv.identity)]) -> dict[str, Any]:
        return described(identity)

    @app.get("/me")
    @app.post("/me")
    async def me(human: Annotated[HumanIdentity, Depends(kv.human)]) -> dict[str, Any]:
        return described(human)

    @app.get("/agent")
    @app.post("/agent")
    async def agent(agent: Annotated[AgentIdentity, Depends(kv.agent)]) -> dict[str, Any]:
        return described(agent)

    @app.get("/search")
    @app.post("/search")
    async def search(agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> dict[str, Any]:
        return described(agent)

    @app.post("/costly")
    async def costly(agent: Annotated[AgentIdentity, Depends(kv.require("read:repos", cost=5))]) -> dict[str, Any]:
        return described(agent)

    @app.get("/seen")
    @app.get("/login")
    @app.get("/dashboard/{rest:path}")
    @app.post("/dashboard/{rest:path}")
    async def look(request: Request) -> dict[str, Any]:
        return seen(request)

    @app.get("/session")
    async def session(request: Request) -> dict[str, Any]:
        found = await kv.session(request)
        return {"userId": found and found.user_id}

    @app.get("/browser")
    async def browser(request: Request, response: Response) -> dict[str, Any]:
        found = kv.browser(request)
        found.set_on(response)
        return about(found)

    @app.get("/enter")
    async def enter(request: Request, response: Response) -> dict[str, Any]:
        kv.set_session(response, await (await get_kavach()).sessions.create("alice"))
        return {"address": kv.context(request).ip}

    @app.get("/leave")
    async def leave(response: Response) -> dict[str, Any]:
        kv.unset_session(response)
        return {}

    @app.websocket("/ws/whoami")
    async def ws_whoami(socket: WebSocket, identity: Annotated[Identity, Depends(kv.identity)]) -> None:
        await greet(socket, described(identity))

    @app.websocket("/ws/me")
    async def ws_me(socket: WebSocket, human: Annotated[HumanIdentity, Depends(kv.human)]) -> None:
        await greet(socket, described(human))

    @app.websocket("/ws/agent")
    async def ws_agent(socket: WebSocket, agent: Annotated[AgentIdentity, Depends(kv.agent)]) -> None:
        await greet(socket, described(agent))

    @app.websocket("/ws/search")
    async def ws_search(socket: WebSocket, agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> None:
        await greet(socket, described(agent))

    @app.websocket("/ws/each")
    async def ws_each(socket: WebSocket) -> None:
        await socket.accept()
        async for permission in socket.iter_text():
            await socket.send_json({"code": (await kv.authorize(socket, permission)).code})

    @app.get("/stream")
    async def stream(agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> StreamingResponse:
        return StreamingResponse(ticks())

    @app.get("/events")
    async def each_event(request: Request) -> StreamingResponse:
        decided = events(lambda: kv.authorize(request, "read:repos"))
        return StreamingResponse(decided, media_type="text/event-stream")

    @app.websocket("/ws/hold")
    async def ws_hold(socket: WebSocket, identity: Annotated[Identity, Depends(kv.identity)]) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    @app.websocket("/dashboard/ws")
    async def ws_look(socket: WebSocket) -> None:
        await greet(socket, seen(socket))

    return app
