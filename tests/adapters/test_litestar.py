"""What Litestar users expect: dependencies and guards, an honest OpenAPI document, their own handlers left alone."""

# No postponed annotations here: Litestar must see what exists only inside a test.

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from litestar import Litestar, Request, Response, asgi, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.testing import TestClient
from starlette.middleware.gzip import GZipMiddleware

from kavach_adapters import kavach_litestar
from kavach_core import AgentIdentity, AgentType, LazyKavach, lazy_kavach
from kavach_core.api import openapi
from kavach_core.api.table import TABLE
from kavach_core.errors import InvalidInput
from kavach_core.resolvers import dev_user
from tests.adapters.asgi import lifespan
from tests.http.world import bearer, client_of, error_of


@pytest.fixture
async def get_kavach(sqlite_database: str) -> AsyncIterator[LazyKavach]:
    get_kavach = lazy_kavach(database=sqlite_database)
    yield get_kavach
    await get_kavach.close()


@get("/mine")
async def mine() -> dict[str, bool]:
    return {"mine": True}


def itself(app: Any) -> Any:
    """No layer at all."""
    return app


def hidden(app: Any) -> Any:
    """A layer that keeps the app to itself."""
    return lambda scope, receive, send: app(scope, receive, send)


def quiet(*handlers: Any, **options: Any) -> Litestar:
    return Litestar(handlers, logging_config=None, **options)


async def test_a_dependency_is_overridden_where_the_app_is_made(get_kavach: LazyKavach) -> None:
    """Litestar resolves dependencies by name, the nearest layer first: a test gives the app another provider."""

    @post("/search", status_code=200)
    async def search(agent: NamedDependency[AgentIdentity]) -> dict[str, str]:
        return {"owner": agent.owner_id}

    async def stand_in() -> AgentIdentity:
        return AgentIdentity(agent_id="agt_x", owner_id="test-owner", name="x", type=AgentType.AUTONOMOUS)

    kv = kavach_litestar(get_kavach)
    for provided, expected in ((kv.require("read:repos"), 401), (stand_in, 200)):
        app = quiet(search, plugins=[kv], dependencies={"agent": Provide(provided)})
        async with client_of(app) as client:
            assert (await client.post("/search")).status_code == expected


async def test_a_guard_lets_nobody_else_reach_a_handler(get_kavach: LazyKavach) -> None:
    kavach = await get_kavach()
    kv = kavach_litestar(get_kavach)
    ran: list[bool] = []

    @get("/search", guards=[kv.require("read:repos").guard])
    async def search() -> None:
        ran.append(True)

    reader = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
    other = await kavach.agents.create(owner_id="alice", name="b", permissions=["write:repos"])
    async with client_of(quiet(search, plugins=[kv])) as client:
        assert error_of(await client.get("/search")) == (401, "UNAUTHENTICATED")
        assert error_of(await client.get("/search", headers=bearer(other.token)))[0] == 403
        assert ran == []
        assert (await client.get("/search", headers=bearer(reader.token))).status_code == 200
    assert ran == [True]


def test_a_permission_that_is_none_is_refused_when_the_route_is_written(get_kavach: LazyKavach) -> None:
    for permission in ("read", "read:", ":repos", "", "read:a::b"):
        with pytest.raises(InvalidInput):
            kavach_litestar(get_kavach).require(permission)


async def test_the_apps_own_errors_stay_its_own_and_ours_stay_ours(get_kavach: LazyKavach) -> None:
    kv = kavach_litestar(get_kavach)

    def own(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        return Response({"own": error.status_code}, status_code=error.status_code)

    @get("/search", dependencies={"agent": Provide(kv.agent)})
    async def search(agent: NamedDependency[AgentIdentity]) -> None: ...

    app = quiet(mine, search, plugins=[kv], exception_handlers={404: own, 405: own, HTTPException: own})
    async with client_of(app) as client:
        assert (await client.get("/nowhere")).json() == {"own": 404}
        assert (await client.post("/mine")).json() == {"own": 405}
        assert (await client.get("/api/kavachs")).json() == {"own": 404}
        assert error_of(await client.get("/search")) == (401, "UNAUTHENTICATED")
        assert error_of(await client.get("/api/kavach/nothing")) == (404, "NOT_FOUND")
        assert error_of(await client.put("/api/kavach/agents")) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("around", [None, itself, GZipMiddleware, hidden], ids=["no guard", "guard", "gzip", "hidden"])
async def test_a_path_of_the_app_goes_before_the_mount_and_the_guard_knows_it(
    get_kavach: LazyKavach, around: Any
) -> None:
    """Whatever is between the guard and the app."""
    kv = kavach_litestar(get_kavach)
    app: Any = quiet(mine, plugins=[kv], path="/v1")
    app = app if around is None else kv.Guard(around(app), protect=["/mine"])
    async with client_of(app) as client:
        assert error_of(await client.get("/v1/api/kavach/agents")) == (401, "UNAUTHENTICATED")
        assert error_of(await client.get("/v1/api/kavach/nothing")) == (404, "NOT_FOUND")
        assert (await client.get("/v1/mine")).status_code == (200 if around is None else 401)


async def test_a_guard_that_was_there_before_the_app_learns_its_path_and_mounts(get_kavach: LazyKavach) -> None:
    kv = kavach_litestar(get_kavach)
    later: list[Any] = []
    guard = kv.Guard(lambda scope, receive, send: later[0](scope, receive, send), protect=["/mine"])
    later.append(quiet(mine, plugins=[kv], path="v1"))
    async with client_of(guard) as client:
        assert error_of(await client.get("/v1/mine")) == (401, "UNAUTHENTICATED")


async def test_a_guard_around_an_app_without_the_plugin_knows_it_too(get_kavach: LazyKavach) -> None:
    app = quiet(asgi("/files", is_mount=True, copy_scope=True)(quiet(mine)), path="/v1")
    guard = kavach_litestar(get_kavach).Guard(GZipMiddleware(cast(Any, app)), protect=["/files/mine"])
    async with client_of(guard) as client:
        for path in ("/v1/files/mine", "/v1/filesmine"):
            assert error_of(await client.get(path)) == (401, "UNAUTHENTICATED"), path
    async with client_of(app) as client:
        assert (await client.get("/v1/filesmine")).json() == {"mine": True}, "the control"


async def test_a_guard_looks_anew_at_paths_when_an_app_is_mounted_later(get_kavach: LazyKavach) -> None:
    kv = kavach_litestar(get_kavach)
    app = quiet(plugins=[kv])
    async with client_of(kv.Guard(app, protect=["/files/mine"])) as client:
        assert (await client.get("/filesmine")).status_code == 404
        app.register(asgi("/files", is_mount=True, copy_scope=True)(quiet(mine)))
        assert error_of(await client.get("/filesmine")) == (401, "UNAUTHENTICATED")
    async with client_of(app) as client:
        assert (await client.get("/filesmine")).json() == {"mine": True}, "the control"


async def test_an_app_may_have_two_mounts(get_kavach: LazyKavach) -> None:
    mounts = ("/api/kavach", "/staff/kavach")
    app = quiet(plugins=[kavach_litestar(get_kavach, mount=mount) for mount in mounts])
    async with client_of(app) as client:
        for mount in mounts:
            assert error_of(await client.get(f"{mount}/agents")) == (401, "UNAUTHENTICATED")
            assert error_of(await client.get(f"{mount}/nothing")) == (404, "NOT_FOUND")
        paths = (await client.get("/schema/openapi.json")).json()["paths"]
    named = [paths[f"{mount}/agents"]["get"]["operationId"] for mount in mounts]
    assert named == ["listAgents", "staff_kavach_listAgents"]


async def test_the_guard_as_litestars_own_middleware_sees_what_has_a_route(get_kavach: LazyKavach) -> None:
    kv = kavach_litestar(get_kavach)
    app = quiet(mine, plugins=[kv], middleware=[DefineMiddleware(kv.Guard, public=["/schema/:path*"])])  # type: ignore[arg-type]
    async with client_of(app) as client:
        for path in ("/mine", "/mine/", "/mine//"):
            assert error_of(await client.get(path)) == (401, "UNAUTHENTICATED"), path
        assert (await client.get("/nowhere")).status_code == 404


def test_the_routes_are_there_for_litestars_own_test_client(sqlite_database: str) -> None:
    """It leaves the query on the raw path."""
    kv = kavach_litestar(lazy_kavach(database=sqlite_database), resolve_user=dev_user("alice"))
    with TestClient(quiet(kv.well_known, plugins=[kv])) as client:
        for target in (
            "/api/kavach/agents?limit=1",
            "/api/kavach/audit?result=denied",
            "/api/kavach/sign-in?next=/x",
            "/.well-known/kavach-configuration?x=1",
        ):
            assert client.get(target).status_code == 200, target
        assert client.get("/api/kavach/agents", params={"limit": "1"}).status_code == 200
        assert client.get("/api/kavach/agents/?limit=1").status_code == 404


async def test_a_body_that_the_app_has_read_before_is_not_lost(get_kavach: LazyKavach) -> None:
    async def reads(request: Request[Any, Any, Any]) -> None:
        await request.body()

    session = await (await get_kavach()).sessions.create("alice")
    kv = kavach_litestar(get_kavach, grantable=["*:*"])
    async with client_of(quiet(plugins=[kv], before_request=reads)) as client:
        new = {"name": "a", "permissions": ["read:repos"], "type": "autonomous"}
        made = await client.post("/api/kavach/agents", headers=bearer(session.token), json=new)
        assert made.status_code == 201, made.text


def test_the_document_shows_every_operation_and_another_apps_stays_clean() -> None:
    kv = kavach_litestar(lazy_kavach(database="postgresql://nobody@127.0.0.1:1/none"))
    document = quiet(mine, plugins=[kv]).openapi_schema.to_schema()
    assert set(document["components"]["securitySchemes"]) == {"kavachBearer"}
    for operation in TABLE:
        said = document["paths"][f"/api/kavach{operation.path}"]
        assert said[operation.method.lower()] == openapi.fragment(operation)
        assert set(said) <= {"get", "post", "patch", "delete", "put"}
    assert "security" not in document["paths"]["/mine"]["get"]
    other = quiet(mine).openapi_schema.to_schema()
    assert "securitySchemes" not in other["components"] and list(other["paths"]) == ["/mine"]


def test_the_document_keeps_what_the_app_put_into_it_or_is_not_made() -> None:
    kv = kavach_litestar(lazy_kavach(database="sqlite:///never.db"))
    config = OpenAPIConfig(title="Mine", version="7")
    assert quiet(mine, plugins=[kv], openapi_config=config).openapi_schema.info.title == "Mine"
    assert config.components.security_schemes is None  # type: ignore[union-attr]
    assert quiet(mine, plugins=[kv], openapi_config=None).openapi_config is None


async def test_the_apps_own_lifespan_runs_too(sqlite_database: str) -> None:
    get_kavach = lazy_kavach(database=sqlite_database)
    steps: list[str] = []

    @asynccontextmanager
    async def own(app: Litestar) -> AsyncIterator[None]:
        steps.append("start")
        yield
        steps.append("stop")

    async with lifespan(quiet(plugins=[kavach_litestar(get_kavach)], lifespan=[own])):
        await get_kavach()
        assert get_kavach._slots
    assert steps == ["start", "stop"] and not get_kavach._slots
