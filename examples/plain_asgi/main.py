"""Agents that search repositories for their owner, on bare ASGI. In the root of the repository:

    python -m pip install . uvicorn websockets
    python -m uvicorn examples.plain_asgi.main:app

alice is signed in wherever no token is sent: `dev_user` is for development.
"""

import json
from typing import Any

from examples.plain_asgi.adapter import kavach_asgi
from kavach_adapters.custom import ASGIApp, Receive, Scope, Send, body_reader
from kavach_core import AgentIdentity, HumanIdentity, lazy_kavach
from kavach_core.errors import InvalidInput, KavachError
from kavach_core.resolvers import dev_user

REPOSITORIES = ("kavach", "starlette", "fastapi", "uvicorn")
MOST = 64 * 1024  # bytes that a body may have

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call
kv = kavach_asgi(get_kavach, resolve_user=dev_user("alice"), grantable=["read:repos", "read:issues"])


@kv.human
async def create_default(scope: Scope, receive: Receive, send: Send, user: HumanIdentity) -> None:
    """Give the human's assistant an identity of its own. The token is in this answer and nowhere else."""
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id=user.id, name="assistant", permissions=["read:repos"], ttl="2h")
    await answer(send, {"agentId": agent.id, "token": agent.token}, 201)


@kv.require("read:repos")
async def search(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
    """Verified, authorized and recorded before this line runs."""
    text = searched_for(await body_reader(scope, receive)(MOST))
    await answer(send, {"owner": agent.owner_id, "auditId": agent.audit_id, "found": find(text)})


@kv.require("read:repos")
async def search_live(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
    """The decorator covers the opening; what the agent may do is asked again for every message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        decision = await kv.authorize(scope, "read:repos", {"text": message["text"]})
        if not decision:
            await send({"type": "websocket.close", "code": 4403, "reason": decision.code})
            return
        found = json.dumps({"auditId": decision.audit_id, "found": find(message["text"])})
        await send({"type": "websocket.send", "text": found})


@kv.human
async def dashboard(scope: Scope, receive: Receive, send: Send, user: HumanIdentity) -> None:
    """Only the guard lets anyone come here; `kv.human` says who did."""
    kavach = await get_kavach()
    agents = await kavach.agents.list(owner_id=user.id)
    await answer(send, [{"id": agent.id, "name": agent.name, "status": agent.status} for agent in agents])


async def login(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, {"hint": "The sign-in of your app comes here."})


def searched_for(body: bytes) -> str:
    """The text of a query, `{"text": "..."}`. Anything else is 400, as `answer_error` answers it."""
    try:
        query = json.loads(body)
    except (ValueError, RecursionError):
        query = None
    text = query.get("text") if isinstance(query, dict) else None
    if not isinstance(text, str):
        raise InvalidInput("The body is an object with a text to search for.", field="text")
    return text


def find(text: str) -> list[str]:
    return [name for name in REPOSITORIES if text in name]


ROUTES: dict[tuple[str, str], ASGIApp] = {
    ("POST", "/agents/default"): create_default,
    ("POST", "/search"): search,
    ("websocket", "/search"): search_live,
    ("GET", "/dashboard/agents"): dashboard,
    ("GET", "/login"): login,
}


async def routes(scope: Scope, receive: Receive, send: Send) -> None:
    """What a framework does."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    endpoint = ROUTES.get((scope.get("method", scope["type"]), scope["path"]))
    if endpoint is not None:
        try:
            await endpoint(scope, receive, send)
        except KavachError as error:
            await kv.answer_error(scope, receive, send, error)
    elif scope["type"] == "http":
        is_known = scope["path"] in {path for _, path in ROUTES}
        await answer(send, {"hint": "There is nothing here."}, 405 if is_known else 404)
    else:
        await send({"type": "websocket.close"})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def answer(send: Send, content: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


app = kv.Guard(kv.around(routes), protect=["/dashboard/:path*"], login="/login")
