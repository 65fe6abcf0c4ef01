"""Agents that search repositories for their owner, in Litestar. In the root of the repository:

    python -m pip install ".[litestar]" uvicorn websockets
    python -m uvicorn examples.litestar_app.main:app

alice is signed in wherever no token is sent: `dev_user` is for development.
"""

from dataclasses import dataclass
from typing import Any

from litestar import Litestar, WebSocket, get, post, websocket
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from kavach_adapters import kavach_litestar
from kavach_core import AgentIdentity, HumanIdentity, lazy_kavach
from kavach_core.errors import KavachError
from kavach_core.resolvers import dev_user

REPOSITORIES = ("kavach", "starlette", "litestar", "uvicorn")

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call
kv = kavach_litestar(get_kavach, resolve_user=dev_user("alice"), grantable=["read:repos", "read:issues"])


@dataclass
class Query:
    text: str


@post("/agents/default", dependencies={"user": Provide(kv.human)})
async def create_default(user: NamedDependency[HumanIdentity]) -> dict[str, str | None]:
    """Give the human's assistant an identity of its own. The token is in this answer and nowhere else."""
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id=user.id, name="assistant", permissions=["read:repos"], ttl="2h")
    return {"agentId": agent.id, "token": agent.token}


@post("/search", status_code=200, dependencies={"agent": Provide(kv.require("read:repos"))})
async def search(data: JSONBody[Query], agent: NamedDependency[AgentIdentity]) -> dict[str, str | list[str] | None]:
    """Verified, authorized and recorded before this line runs."""
    return {"owner": agent.owner_id, "auditId": agent.audit_id, "found": find(data.text)}


@websocket("/search", guards=[kv.require("read:repos").guard])
async def search_live(socket: WebSocket[Any, Any, Any]) -> None:
    """The guard covers the opening; what the agent may do is asked again for every message."""
    await socket.accept()
    async for text in socket.iter_data("text"):
        decision = await kv.authorize(socket, "read:repos", {"text": text})
        if not decision:
            await socket.close(4403, decision.code)
            return
        await socket.send_json({"auditId": decision.audit_id, "found": find(text)})


@get("/dashboard/agents", dependencies={"user": Provide(kv.human)})
async def dashboard(user: NamedDependency[HumanIdentity]) -> list[dict[str, str]]:
    """Only `kv.Guard` lets anyone come here; `kv.human` says who did."""
    kavach = await get_kavach()
    agents = await kavach.agents.list(owner_id=user.id)
    return [{"id": agent.id, "name": agent.name, "status": agent.status} for agent in agents]


@get("/login")
async def login() -> dict[str, str]:
    return {"hint": "The sign-in of your app comes here."}


def find(text: str) -> list[str]:
    return [name for name in REPOSITORIES if text in name]


app = kv.Guard(
    Litestar(
        [kv.well_known, create_default, search, search_live, dashboard, login],
        plugins=[kv],
        exception_handlers={KavachError: kv.answer_error},
    ),
    protect=["/dashboard/:path*"],
    login="/login",
)
