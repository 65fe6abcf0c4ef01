"""The test app without a framework, around the adapter of `examples/plain_asgi`."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from examples.plain_asgi.adapter import kavach_asgi
from examples.plain_asgi.main import lifespan
from kavach_adapters.custom import (
    ASGIApp,
    Receive,
    Reply,
    Scope,
    Send,
    browser_cookie,
    no_session_cookie,
    send_reply,
    session_cookie,
)
from kavach_core import AgentIdentity, HumanIdentity, Identity
from kavach_core.api.edge import GetKavach
from tests.http.answers import about, described, events, seen, ticks


class _Connection(NamedTuple):
    scope: Scope


def build(get_kavach: GetKavach, *, guard: dict[str, Any] | None = None, **options: Any) -> ASGIApp:
    """The app, with a guard in front if its options are given."""
    kv = kavach_asgi(get_kavach, **options)

    @kv.identity
    async def whoami(scope: Scope, receive: Receive, send: Send, identity: Identity) -> None:
        await _tell(scope, receive, send, described(identity))

    @kv.human
    async def me(scope: Scope, receive: Receive, send: Send, human: HumanIdentity) -> None:
        await _tell(scope, receive, send, described(human))

    @kv.agent
    async def agent(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
        await _tell(scope, receive, send, described(agent))

    @kv.require("read:repos")
    async def search(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
        await _tell(scope, receive, send, described(agent))

    @kv.require("read:repos", cost=5)
    async def costly(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
        await _tell(scope, receive, send, described(agent))

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        await _tell(scope, receive, send, seen(_Connection(scope)))

    async def session(scope: Scope, receive: Receive, send: Send) -> None:
        found = await kv.session(scope)
        await _tell(scope, receive, send, {"userId": found and found.user_id})

    async def browser(scope: Scope, receive: Receive, send: Send) -> None:
        found = kv.browser(scope)
        headers = browser_cookie(get_kavach.config, found)
        body = json.dumps(about(found)).encode()
        await send_reply(Reply(status=200, body=body, headers=headers), receive, send)

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        session = await (await get_kavach()).sessions.create("alice")
        body = json.dumps({"address": kv.context(scope).ip}).encode()
        headers = (session_cookie(get_kavach.config, session),)
        await send_reply(Reply(status=200, body=body, headers=headers), receive, send)

    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        headers = (no_session_cookie(get_kavach.config),)
        await send_reply(Reply(status=200, body=b"{}", headers=headers), receive, send)

    async def ws_each(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            code = (await kv.authorize(scope, message["text"])).code
            await send({"type": "websocket.send", "text": json.dumps({"code": code})})

    @kv.require("read:repos")
    async def stream(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
        await send_reply(Reply(status=200, stream=ticks()), receive, send)

    async def each_event(scope: Scope, receive: Receive, send: Send) -> None:
        decided = events(lambda: kv.authorize(scope, "read:repos"))
        await send_reply(Reply(status=200, stream=decided, content_type=b"text/event-stream"), receive, send)

    @kv.identity
    async def ws_hold(scope: Scope, receive: Receive, send: Send, identity: Identity) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    http = {"/whoami": whoami, "/me": me, "/agent": agent, "/search": search, "/session": session, "/browser": browser}
    http |= {"/enter": enter, "/leave": leave, "/costly": costly}
    http |= {"/seen": look, "/login": look, "/stream": stream, "/events": each_event}
    sockets = {f"/ws{path}": endpoint for path, endpoint in http.items()} | {"/ws/each": ws_each, "/ws/hold": ws_hold}

    async def routes(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        known = http if scope["type"] == "http" else sockets
        await (look if path.startswith("/dashboard/") else known.get(path, _nothing))(scope, receive, send)

    app = kv.around(routes)
    return app if guard is None else kv.Guard(app, **guard)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})


async def _tell(scope: Scope, receive: Receive, send: Send, content: object) -> None:
    text = json.dumps(content, separators=(",", ":"))
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
    else:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})
