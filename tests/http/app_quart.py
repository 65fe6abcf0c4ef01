"""The test app in Quart."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from quart import Quart, Response, request, stream_with_context, websocket

from kavach_adapters import kavach_quart
from kavach_core import AgentIdentity, HumanIdentity, Identity
from kavach_core.api.edge import GetKavach
from tests.http.answers import about, described, events, seen, ticks


def build(get_kavach: GetKavach, *, guard: dict[str, Any] | None = None, **options: Any) -> Quart:
    """The app, with a guard in front if its options are given."""
    kv = kavach_quart(get_kavach, **options)
    app = Quart(__name__)
    kv.init_app(app)
    app.register_blueprint(kv.well_known)
    if guard is not None:
        app.asgi_app = kv.Guard(app.asgi_app, **guard)  # type: ignore[method-assign]

    @app.route("/whoami", methods=["GET", "POST"])
    @kv.identity
    async def whoami(identity: Identity) -> Response:
        return _json(described(identity))

    @app.route("/me", methods=["GET", "POST"])
    @kv.human
    async def me(human: HumanIdentity) -> Response:
        return _json(described(human))

    @app.route("/agent", methods=["GET", "POST"])
    @kv.agent
    async def agent(agent: AgentIdentity) -> Response:
        return _json(described(agent))

    @app.route("/search", methods=["GET", "POST"])
    @kv.require("read:repos")
    async def search(agent: AgentIdentity) -> Response:
        return _json(described(agent))

    @app.post("/costly")
    @kv.require("read:repos", cost=5)
    async def costly(agent: AgentIdentity) -> Response:
        return _json(described(agent))

    @app.route("/seen")
    @app.route("/login")
    @app.route("/dashboard/<path:rest>", methods=["GET", "POST"])
    async def look(rest: str = "") -> Response:
        return _json(seen(request))

    @app.get("/session")
    async def session() -> Response:
        found = await kv.session(request)
        return _json({"userId": found and found.user_id})

    @app.get("/browser")
    async def browser() -> Response:
        found = kv.browser(request)
        response = _json(about(found))
        found.set_on(response)
        return response

    @app.get("/enter")
    async def enter() -> Response:
        response = _json({"address": kv.context(request).ip})
        kv.set_session(response, await (await get_kavach()).sessions.create("alice"))
        return response

    @app.get("/leave")
    async def leave() -> Response:
        response = _json({})
        kv.unset_session(response)
        return response

    @app.websocket("/ws/whoami")
    @kv.identity
    async def ws_whoami(identity: Identity) -> None:
        await websocket.send_json(described(identity))

    @app.websocket("/ws/me")
    @kv.human
    async def ws_me(human: HumanIdentity) -> None:
        await websocket.send_json(described(human))

    @app.websocket("/ws/agent")
    @kv.agent
    async def ws_agent(agent: AgentIdentity) -> None:
        await websocket.send_json(described(agent))

    @app.websocket("/ws/search")
    @kv.require("read:repos")
    async def ws_search(agent: AgentIdentity) -> None:
        await websocket.send_json(described(agent))

    @app.websocket("/ws/each")
    async def ws_each() -> None:
        while True:
            permission = str(await websocket.receive())
            await websocket.send_json({"code": (await kv.authorize(websocket, permission)).code})

    @app.get("/stream")
    @kv.require("read:repos")
    async def stream(agent: AgentIdentity) -> Response:
        response = Response(ticks())
        response.timeout = None
        return response

    @app.get("/events")
    async def each_event() -> Response:
        @stream_with_context
        async def decided() -> AsyncGenerator[str]:
            async for event in events(lambda: kv.authorize(request, "read:repos")):
                yield event

        response = Response(decided(), content_type="text/event-stream")
        response.timeout = None
        return response

    @app.websocket("/ws/hold")
    @kv.identity
    async def ws_hold(identity: Identity) -> None:
        await websocket.accept()
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/dashboard/ws")
    async def ws_look() -> None:
        await websocket.send_json(seen(websocket))

    return app


def _json(content: dict[str, Any]) -> Response:
    """What the other frameworks send: Quart sorts the names and ends the line."""
    return Response(json.dumps(content, separators=(",", ":")), content_type="application/json")
