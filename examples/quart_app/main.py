"""Agents that search repositories for their owner, in Quart. In the root of the repository:

    python -m pip install ".[quart]"
    python -m hypercorn examples.quart_app.main:app

alice is signed in wherever no token is sent: `dev_user` is for development.
"""

import json
from typing import Any

from quart import Quart, request, websocket

from kavach_adapters import kavach_quart
from kavach_core import AgentIdentity, HumanIdentity, lazy_kavach
from kavach_core.errors import InvalidInput, KavachError
from kavach_core.resolvers import dev_user

REPOSITORIES = ("kavach", "quart", "flask", "hypercorn")

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call
kv = kavach_quart(get_kavach, resolve_user=dev_user("alice"), grantable=["read:repos", "read:issues"])

app = Quart(__name__)
kv.init_app(app)
app.register_blueprint(kv.well_known)
app.register_error_handler(KavachError, kv.answer_error)
app.asgi_app = kv.Guard(app.asgi_app, protect=["/dashboard/:path*"], login="/login")  # type: ignore[method-assign]


@app.post("/agents/default")
@kv.human
async def create_default(user: HumanIdentity) -> tuple[dict[str, str | None], int]:
    """Give the human's assistant an identity of its own. The token is in this answer and nowhere else."""
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id=user.id, name="assistant", permissions=["read:repos"], ttl="2h")
    return {"agentId": agent.id, "token": agent.token}, 201


@app.post("/search")
@kv.require("read:repos")
async def search(agent: AgentIdentity) -> dict[str, Any]:
    """Verified, authorized and recorded before this line runs."""
    text = searched_for(await request.get_data(as_text=False))
    return {"owner": agent.owner_id, "auditId": agent.audit_id, "found": find(text)}


@app.websocket("/search")
@kv.require("read:repos")
async def search_live(agent: AgentIdentity) -> None:
    """The decorator covers the opening; what the agent may do is asked again for every message."""
    while True:
        text = str(await websocket.receive())
        decision = await kv.authorize(websocket, "read:repos", {"text": text})
        if not decision:
            await websocket.close(4403, decision.code)
            return
        await websocket.send_json({"auditId": decision.audit_id, "found": find(text)})


@app.get("/dashboard/agents")
@kv.human
async def dashboard(user: HumanIdentity) -> list[dict[str, str]]:
    """Only the guard lets anyone come here; `kv.human` says who did."""
    kavach = await get_kavach()
    agents = await kavach.agents.list(owner_id=user.id)
    return [{"id": agent.id, "name": agent.name, "status": agent.status} for agent in agents]


@app.get("/login")
async def login() -> dict[str, str]:
    return {"hint": "The sign-in of your app comes here."}


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
