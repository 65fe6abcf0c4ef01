"""Agents that search repositories for their owner, in Starlette. In the root of the repository:

    python -m pip install ".[demo]" websockets
    python -m uvicorn examples.starlette_app.main:app

alice is signed in wherever no token is sent: `dev_user` is for development.
"""

import json

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kavach_adapters import kavach_starlette
from kavach_core import AgentIdentity, HumanIdentity, lazy_kavach
from kavach_core.errors import InvalidInput, KavachError
from kavach_core.resolvers import dev_user

REPOSITORIES = ("kavach", "starlette", "fastapi", "uvicorn")

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call
kv = kavach_starlette(get_kavach, resolve_user=dev_user("alice"), grantable=["read:repos", "read:issues"])


@kv.human
async def create_default(request: Request, user: HumanIdentity) -> JSONResponse:
    """Give the human's assistant an identity of its own. The token is in this answer and nowhere else."""
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id=user.id, name="assistant", permissions=["read:repos"], ttl="2h")
    return JSONResponse({"agentId": agent.id, "token": agent.token}, status_code=201)


@kv.require("read:repos")
async def search(request: Request, agent: AgentIdentity) -> JSONResponse:
    """Verified, authorized and recorded before this line runs."""
    text = searched_for(await request.body())
    return JSONResponse({"owner": agent.owner_id, "auditId": agent.audit_id, "found": find(text)})


@kv.require("read:repos")
async def search_live(socket: WebSocket, agent: AgentIdentity) -> None:
    """The decorator covers the opening; what the agent may do is asked again for every message."""
    await socket.accept()
    async for text in socket.iter_text():
        decision = await kv.authorize(socket, "read:repos", {"text": text})
        if not decision:
            await socket.close(4403, decision.code)
            return
        await socket.send_json({"auditId": decision.audit_id, "found": find(text)})


@kv.human
async def dashboard(request: Request, user: HumanIdentity) -> JSONResponse:
    """Only the guard lets anyone come here; `kv.human` says who did."""
    kavach = await get_kavach()
    agents = await kavach.agents.list(owner_id=user.id)
    return JSONResponse([{"id": agent.id, "name": agent.name, "status": agent.status} for agent in agents])


async def login(request: Request) -> JSONResponse:
    return JSONResponse({"hint": "The sign-in of your app comes here."})


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


app = Starlette(
    routes=[
        *kv.routes,
        *kv.well_known,
        Route("/agents/default", create_default, methods=["POST"]),
        Route("/search", search, methods=["POST"]),
        WebSocketRoute("/search", search_live),
        Route("/dashboard/agents", dashboard),
        Route("/login", login),
    ],
    middleware=[Middleware(kv.Guard, protect=["/dashboard/:path*"], login="/login")],
    exception_handlers={KavachError: kv.answer_error},
    lifespan=kv.lifespan,
)
