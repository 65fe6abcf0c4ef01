"""Agents that search repositories for their owner, in FastAPI. In the root of the repository:

    python -m pip install ".[demo]" websockets
    python -m uvicorn examples.fastapi_app.main:app

alice is signed in wherever no token is sent: `dev_user` is for development.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket
from pydantic import BaseModel

from kavach_adapters import kavach_fastapi
from kavach_core import AgentIdentity, HumanIdentity, lazy_kavach
from kavach_core.errors import KavachError
from kavach_core.resolvers import dev_user

REPOSITORIES = ("kavach", "starlette", "fastapi", "uvicorn")

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call
kv = kavach_fastapi(get_kavach, resolve_user=dev_user("alice"), grantable=["read:repos", "read:issues"])

app = FastAPI(title="Repositories")
app.include_router(kv.router, prefix="/api/kavach")
app.include_router(kv.well_known)
app.add_exception_handler(KavachError, kv.answer_error)
app.add_middleware(kv.Guard, protect=["/dashboard/:path*"], login="/login")


class Query(BaseModel):
    text: str


@app.post("/agents/default", status_code=201)
async def create_default(user: Annotated[HumanIdentity, Depends(kv.human)]) -> dict[str, str | None]:
    """Give the human's assistant an identity of its own. The token is in this answer and nowhere else."""
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id=user.id, name="assistant", permissions=["read:repos"], ttl="2h")
    return {"agentId": agent.id, "token": agent.token}


@app.post("/search")
async def search(
    query: Query, agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]
) -> dict[str, str | list[str] | None]:
    """Verified, authorized and recorded before this line runs."""
    return {"owner": agent.owner_id, "auditId": agent.audit_id, "found": find(query.text)}


@app.websocket("/search")
async def search_live(socket: WebSocket, agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> None:
    """The dependency covers the opening; what the agent may do is asked again for every message."""
    await socket.accept()
    async for text in socket.iter_text():
        decision = await kv.authorize(socket, "read:repos", {"text": text})
        if not decision:
            await socket.close(4403, decision.code)
            return
        await socket.send_json({"auditId": decision.audit_id, "found": find(text)})


@app.get("/dashboard/agents")
async def dashboard(user: Annotated[HumanIdentity, Depends(kv.human)]) -> list[dict[str, str]]:
    """Only the guard lets anyone come here; `kv.human` says who did."""
    kavach = await get_kavach()
    agents = await kavach.agents.list(owner_id=user.id)
    return [{"id": agent.id, "name": agent.name, "status": agent.status} for agent in agents]


@app.get("/login")
async def login() -> dict[str, str]:
    return {"hint": "The sign-in of your app comes here."}


def find(text: str) -> list[str]:
    return [name for name in REPOSITORIES if text in name]
