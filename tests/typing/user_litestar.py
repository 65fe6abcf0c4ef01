"""A Litestar app as its author writes it, clean under mypy and pyright in strict mode. Only type checkers read it."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from typing import Any, assert_type

from litestar import Litestar, Request, Response, WebSocket, get, websocket
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from kavach_adapters import kavach_litestar
from kavach_core import AgentIdentity, Browser, CallContext, Decision, HumanIdentity, Identity, LiveSession, lazy_kavach
from kavach_core.errors import KavachError

kv = kavach_litestar(lazy_kavach(database="sqlite:///kavach.db"), grantable=["read:repos"])


@get("/search", dependencies={"agent": Provide(kv.require("read:repos"))})
async def search(agent: NamedDependency[AgentIdentity]) -> dict[str, str]:
    """Guarded."""
    return {"owner": agent.owner_id}


@get("/me", dependencies={"human": Provide(kv.human)})
async def me(request: Request[Any, Any, Any], human: NamedDependency[HumanIdentity]) -> dict[str, str]:
    """For humans."""
    assert_type(await kv.session(request), LiveSession | None)
    assert_type(kv.browser(request), Browser)
    assert_type(kv.context(request), CallContext)
    kv.unset_session(Response(""))
    return {"id": human.id}


@get("/who", dependencies={"identity": Provide(kv.identity)})
async def who(identity: NamedDependency[SkipValidation[Identity]]) -> dict[str, str]:
    """For anyone known."""
    return {"id": identity.id}


@websocket("/ws", guards=[kv.agent.guard])
async def ws(socket: WebSocket[Any, Any, Any]) -> None:
    """A socket."""
    await socket.accept()
    assert_type(await kv.authorize(socket, "read:repos", {"n": 1}), Decision)


inner = Litestar([kv.well_known, search, me, who, ws], plugins=[kv], exception_handlers={KavachError: kv.answer_error})
app = kv.Guard(inner, public=["/"], login="/login")
kv.Guard(inner, publc=["/"])  # type: ignore[call-arg]
kavach_litestar(lazy_kavach(), grantible=["*:*"])  # type: ignore[call-arg]
