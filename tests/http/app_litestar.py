"""The test app in Litestar."""

# No postponed annotations here: Litestar must see what exists only inside `build`.

from typing import Any

from litestar import Litestar, Request, Response, WebSocket, get, route, websocket
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from litestar.response import Stream

from kavach_adapters import kavach_litestar
from kavach_core import AgentIdentity, HumanIdentity, Identity
from kavach_core.api.edge import GetKavach
from tests.http.answers import about, described, events, seen, ticks

AnyRequest = Request[Any, Any, Any]
Socket = WebSocket[Any, Any, Any]


def build(get_kavach: GetKavach, *, guard: dict[str, Any] | None = None, **options: Any) -> Any:
    """The app, with a guard around it if its options are given."""
    kv = kavach_litestar(get_kavach, **options)
    as_identity = {"identity": Provide(kv.identity)}
    as_human = {"human": Provide(kv.human)}
    as_agent = {"agent": Provide(kv.agent)}
    may_read = {"agent": Provide(kv.require("read:repos"))}
    may_read_at_a_cost = {"agent": Provide(kv.require("read:repos", cost=5))}
    both: Any = ["GET", "POST"]

    @route("/whoami", status_code=200, http_method=both, dependencies=as_identity)
    async def whoami(identity: NamedDependency[SkipValidation[Identity]]) -> dict[str, Any]:
        return described(identity)

    @route("/me", status_code=200, http_method=both, dependencies=as_human)
    async def me(human: NamedDependency[HumanIdentity]) -> dict[str, Any]:
        return described(human)

    @route("/agent", status_code=200, http_method=both, dependencies=as_agent)
    async def agent_only(agent: NamedDependency[AgentIdentity]) -> dict[str, Any]:
        return described(agent)

    @route("/search", status_code=200, http_method=both, dependencies=may_read)
    async def search(agent: NamedDependency[AgentIdentity]) -> dict[str, Any]:
        return described(agent)

    @route("/costly", status_code=200, http_method=both, dependencies=may_read_at_a_cost)
    async def costly(agent: NamedDependency[AgentIdentity]) -> dict[str, Any]:
        return described(agent)

    @route(["/seen", "/login", "/dashboard/{rest:path}"], status_code=200, http_method=both)
    async def look(request: AnyRequest) -> dict[str, Any]:
        return seen(request)

    @get("/session")
    async def session(request: AnyRequest) -> dict[str, Any]:
        found = await kv.session(request)
        return {"userId": found and found.user_id}

    @get("/browser")
    async def browser(request: AnyRequest) -> Response[dict[str, Any]]:
        found = kv.browser(request)
        response = Response(about(found))
        found.set_on(response)
        return response

    @get("/enter")
    async def enter(request: AnyRequest) -> Response[dict[str, Any]]:
        response = Response[dict[str, Any]]({"address": kv.context(request).ip})
        kv.set_session(response, await (await get_kavach()).sessions.create("alice"))
        return response

    @get("/leave")
    async def leave() -> Response[dict[str, Any]]:
        response = Response[dict[str, Any]]({})
        kv.unset_session(response)
        return response

    @websocket("/ws/whoami", dependencies=as_identity)
    async def ws_whoami(socket: Socket, identity: NamedDependency[SkipValidation[Identity]]) -> None:
        await _greet(socket, described(identity))

    @websocket("/ws/me", dependencies=as_human)
    async def ws_me(socket: Socket, human: NamedDependency[HumanIdentity]) -> None:
        await _greet(socket, described(human))

    @websocket("/ws/agent", dependencies=as_agent)
    async def ws_agent(socket: Socket, agent: NamedDependency[AgentIdentity]) -> None:
        await _greet(socket, described(agent))

    @websocket("/ws/search", dependencies=may_read)
    async def ws_search(socket: Socket, agent: NamedDependency[AgentIdentity]) -> None:
        await _greet(socket, described(agent))

    @websocket("/ws/each")
    async def ws_each(socket: Socket) -> None:
        await socket.accept()
        async for permission in socket.iter_data():
            await socket.send_json({"code": (await kv.authorize(socket, str(permission))).code})

    @get("/stream", dependencies=may_read)
    async def stream(agent: NamedDependency[AgentIdentity]) -> Stream:
        return Stream(ticks())

    @get("/events")
    async def each_event(request: AnyRequest) -> Stream:
        return Stream(events(lambda: kv.authorize(request, "read:repos")), media_type="text/event-stream")

    @websocket("/ws/hold", dependencies=as_identity)
    async def ws_hold(socket: Socket, identity: NamedDependency[SkipValidation[Identity]]) -> None:
        await socket.accept()
        async for text in socket.iter_data():
            await socket.send_text(str(text))

    @websocket("/dashboard/ws")
    async def ws_look(socket: Socket) -> None:
        await _greet(socket, seen(socket))

    http = [whoami, me, agent_only, search, costly, look, session, browser, enter, leave, stream, each_event]
    sockets = [ws_whoami, ws_me, ws_agent, ws_search, ws_each, ws_hold, ws_look]
    app = Litestar([kv.well_known, *http, *sockets], plugins=[kv], logging_config=None)
    return app if guard is None else kv.Guard(app, **guard)


async def _greet(socket: Socket, message: dict[str, Any]) -> None:
    await socket.accept()
    await socket.send_json(message)
    await socket.close()
