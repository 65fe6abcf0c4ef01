"""A Quart app as its author writes it, clean under mypy and pyright in strict mode. Only type checkers read it."""

# pyright: strict

from __future__ import annotations

from typing import assert_type

from quart import Quart, Response, request, websocket

from kavach_adapters import kavach_quart
from kavach_core import AgentIdentity, Browser, CallContext, Decision, HumanIdentity, Identity, LiveSession, lazy_kavach
from kavach_core.errors import KavachError

kv = kavach_quart(lazy_kavach(database="sqlite:///kavach.db"), grantable=["read:repos"])

app = Quart(__name__)
kv.init_app(app)
app.register_blueprint(kv.well_known)
app.register_error_handler(KavachError, kv.answer_error)
app.asgi_app = kv.Guard(app.asgi_app, public=["/"], login="/login")  # type: ignore[method-assign]


@app.post("/search/<name>")
@kv.require("read:repos:{name}")
async def search(agent: AgentIdentity, name: str) -> dict[str, str]:
    """Guarded, with an argument of its own."""
    return {"owner": agent.owner_id, "name": name}


@app.get("/me")
@kv.human
async def me(human: HumanIdentity) -> dict[str, str]:
    """For humans."""
    assert_type(await kv.session(request), LiveSession | None)
    assert_type(kv.browser(request), Browser)
    assert_type(kv.context(request), CallContext)
    kv.unset_session(Response(""))
    return {"id": human.id}


@app.get("/who")
async def who() -> dict[str, str]:
    """For anyone."""
    identity = await kv.current_identity()
    assert_type(identity, Identity | None)
    return {"id": "nobody" if identity is None else identity.id}


@app.websocket("/ws")
@kv.agent
async def ws(agent: AgentIdentity) -> None:
    """A socket."""
    assert_type(await kv.authorize(websocket, "read:repos", {"agent": agent.name}), Decision)


@kv.human  # type: ignore[arg-type]
async def wrong(agent: AgentIdentity) -> dict[str, str]:
    """A view that asks for somebody else than its decorator gives."""
    return {"id": agent.id}
