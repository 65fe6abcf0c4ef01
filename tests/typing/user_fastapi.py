"""A FastAPI app as its author writes it: clean under mypy and pyright in strict mode. Only type checkers read this."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Sequence
from typing import Annotated, assert_type

from fastapi import Depends, FastAPI, Request, WebSocket

from kavach_adapters import kavach_fastapi
from kavach_core import (
    AgentIdentity,
    Browser,
    CallContext,
    Decision,
    HumanIdentity,
    Identity,
    LiveSession,
    Permission,
    lazy_kavach,
)
from kavach_core.api.view import View
from kavach_core.errors import KavachError
from kavach_core.resolvers import dev_user


async def resolve_user(view: View) -> str | None:
    """The app's own auth."""
    return view.header("x-app-user")


async def grantable(owner_id: str) -> Sequence[str | Permission]:
    """What a human may give."""
    return ["read:repos", Permission(resource="app:read:*", actions=["read"])]


get_kavach = lazy_kavach(database="sqlite:///kavach.db")
kv = kavach_fastapi(get_kavach, resolve_user=resolve_user, grantable=grantable, humans_from="session")
other = kavach_fastapi(get_kavach, resolve_user=dev_user("alice"), grantable=["*:*"], mount="/auth")

app = FastAPI()
app.include_router(kv.router, prefix="/api/kavach")
app.include_router(kv.well_known)
app.add_exception_handler(KavachError, kv.answer_error)
app.add_middleware(kv.Guard, protect=["/dashboard/:path*"], login="/login", allow=("human", "agent"))


@app.post("/search")
async def search(agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> dict[str, str | None]:
    """Guarded."""
    return {"owner": agent.owner_id, "audit": agent.audit_id}


@app.get("/me")
async def me(request: Request, human: Annotated[HumanIdentity, Depends(kv.human)]) -> str:
    """For humans."""
    assert_type(await kv.session(request), LiveSession | None)
    assert_type(kv.browser(request), Browser)
    assert_type(kv.context(request), CallContext)
    return human.id


@app.get("/who")
async def who(identity: Annotated[Identity, Depends(kv.identity)]) -> str:
    """For anyone known."""
    return identity.id


@app.websocket("/ws")
async def ws(socket: WebSocket, agent: Annotated[AgentIdentity, Depends(kv.agent)]) -> None:
    """A socket."""
    await socket.accept()
    decision = await kv.authorize(socket, "read:repos", {"agent": agent.name})
    assert_type(decision, Decision)


app.dependency_overrides[kv.require("read:repos")] = lambda: None
app.dependency_overrides[kv.human] = lambda: HumanIdentity(id="test")
