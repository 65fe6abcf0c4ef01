"""What FastAPI users expect: overrides, an honest OpenAPI document, their own dependencies and lifespan left alone."""

# No postponed annotations here: FastAPI must see dependencies that exist only inside a test.

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.openapi.models import OpenAPI
from fastapi.responses import JSONResponse
from starlette.middleware.gzip import GZipMiddleware

from kavach_adapters import kavach_fastapi
from kavach_adapters.fastapi import KavachFastAPI
from kavach_core import AgentIdentity, AgentType, HumanIdentity, LazyKavach, lazy_kavach
from kavach_core.api import openapi
from kavach_core.api.operation import Caller
from kavach_core.api.table import TABLE
from kavach_core.errors import InvalidInput
from tests.adapters.asgi import lifespan
from tests.http.world import bearer, client_of, error_of

#: Nothing listens there.
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
async def get_kavach(sqlite_database: str) -> AsyncIterator[LazyKavach]:
    get_kavach = lazy_kavach(database=sqlite_database)
    yield get_kavach
    await get_kavach.close()


def build(kv: KavachFastAPI) -> FastAPI:
    """An app as its author would write it."""
    app = FastAPI()
    app.include_router(kv.router, prefix="/api/kavach")
    app.include_router(kv.well_known)

    @app.post("/search")
    async def search(agent: Annotated[AgentIdentity, Depends(kv.require("read:repos"))]) -> dict[str, str]:
        return {"owner": agent.owner_id}

    @app.post("/mixed")
    async def mixed(
        who: Annotated[object, Depends(kv.identity)],
        human: Annotated[HumanIdentity, Depends(kv.human)],
        q: int = 0,
    ) -> dict[str, bool]:
        return {"same": who is human}

    @app.get("/open")
    async def open_() -> dict[str, bool]:
        return {"open": True}

    return app


async def test_a_dependency_is_overridden_by_its_permission(get_kavach: LazyKavach) -> None:
    kv = kavach_fastapi(get_kavach)
    app = build(kv)
    stand_in = AgentIdentity(agent_id="agt_x", owner_id="test-owner", name="x", type=AgentType.AUTONOMOUS)
    app.dependency_overrides[kv.require("read:repos")] = lambda: stand_in
    async with client_of(app) as client:
        answer = await client.post("/search")
        assert (answer.status_code, answer.json()) == (200, {"owner": "test-owner"})
        app.dependency_overrides.clear()
        app.dependency_overrides[kv.require("write:repos")] = lambda: stand_in
        assert error_of(await client.post("/search")) == (401, "UNAUTHENTICATED")
        app.dependency_overrides[kv.human] = lambda: HumanIdentity(id="test-human")
        app.dependency_overrides[kv.identity] = lambda: HumanIdentity(id="test-human")
        assert (await client.post("/mixed")).status_code == 200


async def test_dependencies_are_equal_by_permission_and_never_across_mounts(get_kavach: LazyKavach) -> None:
    kv, other = kavach_fastapi(get_kavach), kavach_fastapi(get_kavach)
    assert kv.require("read:repos") == kv.require("read:repos") != kv.require("read:issues")
    assert kv.require("read:repos") != other.require("read:repos")
    assert len({kv.human, kv.identity, kv.agent, kv.require("read:repos"), kv.require("read:repos")}) == 4


def test_a_permission_that_is_none_is_refused_when_the_route_is_written(get_kavach: LazyKavach) -> None:
    for permission in ("read", "read:", ":repos", "", "read:a::b"):
        with pytest.raises(InvalidInput):
            kavach_fastapi(get_kavach).require(permission)


async def test_two_dependencies_of_one_request_give_the_same_identity(get_kavach: LazyKavach) -> None:
    session = await (await get_kavach()).sessions.create("alice")
    async with client_of(build(kavach_fastapi(get_kavach))) as client:
        assert (await client.post("/mixed", headers=bearer(session.token))).json() == {"same": True}


async def test_the_apps_own_errors_stay_its_own(get_kavach: LazyKavach) -> None:
    app = build(kavach_fastapi(get_kavach))

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, detail="mine")

    @app.exception_handler(HTTPException)
    async def mine(request: Request, error: HTTPException) -> Any:
        return JSONResponse({"own": error.detail}, status_code=error.status_code)

    session = await (await get_kavach()).sessions.create("alice")
    async with client_of(app) as client:
        assert (await client.get("/teapot")).json() == {"own": "mine"}
        assert (await client.get("/nowhere")).json() == {"detail": "Not Found"}
        assert error_of(await client.post("/search")) == (401, "UNAUTHENTICATED")
        assert error_of(await client.get("/api/kavach/nothing")) == (404, "NOT_FOUND")
        invalid = await client.post("/mixed?q=x", headers=bearer(session.token))
        assert (invalid.status_code, list(invalid.json())) == (422, ["detail"])


async def test_dependencies_given_to_include_router_still_run(get_kavach: LazyKavach) -> None:
    seen: list[str] = []

    async def count(request: Request) -> None:
        seen.append(request.url.path)
        if request.headers.get("x-blocked"):
            raise HTTPException(402)

    kv = kavach_fastapi(get_kavach)
    app = FastAPI()
    outer = APIRouter(prefix="/v1")
    outer.include_router(kv.router, prefix="/auth", dependencies=[Depends(count)])
    app.include_router(outer)
    async with client_of(app) as client:
        assert error_of(await client.get("/v1/auth/agents")) == (401, "UNAUTHENTICATED")
        assert (await client.get("/v1/auth/agents", headers={"x-blocked": "1"})).status_code == 402
    assert seen == ["/v1/auth/agents"] * 2


# OpenAPI.


def test_the_document_needs_no_database_and_shows_every_operation(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for database in (NOWHERE, "sqlite:///never.db"):
        document = build(kavach_fastapi(lazy_kavach(database=database))).openapi()
        for operation in TABLE:
            said = document["paths"][f"/api/kavach{operation.path}"][operation.method.lower()]
            assert said["operationId"] == operation.name and said["summary"] == operation.summary
    assert list(tmp_path.iterdir()) == []


def _documents() -> dict[str, dict[str, Any]]:
    return {
        "of the app": build(kavach_fastapi(lazy_kavach(database=NOWHERE))).openapi(),
        "of the core": openapi.document(TABLE, server="/api/kavach", version="1"),
    }


@pytest.mark.parametrize("which", ["of the app", "of the core"])
def test_the_document_is_valid_and_clients_can_be_generated_from_it(which: str) -> None:
    document = json.loads(json.dumps(_documents()[which]))
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1.")
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            ids.append(operation["operationId"])
            in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
            names = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
            assert len(names) == len(set(names)), (method, path)
            assert all("description" in response for response in operation["responses"].values())
            for requirement in operation.get("security", []):
                assert set(requirement) <= set(document["components"]["securitySchemes"])
    assert len(ids) == len(set(ids)), "operation ids are unique"
    for reference in _references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_the_document_says_what_needs_a_credential() -> None:
    document = _documents()["of the app"]
    bearer_scheme = document["components"]["securitySchemes"]["kavachBearer"]
    assert (bearer_scheme["type"], bearer_scheme["scheme"]) == ("http", "bearer")
    for operation in TABLE:
        said = document["paths"][f"/api/kavach{operation.path}"][operation.method.lower()]
        expected = [] if Caller.ANYONE in operation.callers else [{"kavachBearer": []}]
        assert said.get("security", []) == expected, operation.name
        assert str(operation.status) in said["responses"] and "422" not in said["responses"]
    for path in ("/search", "/mixed"):
        assert {"kavachBearer": []} in document["paths"][path]["post"]["security"]
    assert "security" not in document["paths"]["/open"]["get"]


def test_the_document_of_the_app_and_of_the_core_say_the_same() -> None:
    documents = _documents()
    for operation in TABLE:
        method = operation.method.lower()
        native = documents["of the app"]["paths"][f"/api/kavach{operation.path}"][method]
        own = _without_nulls(documents["of the core"]["paths"][operation.path][method])
        assert native["responses"] == own["responses"], operation.name
        assert native.get("requestBody") == own.get("requestBody"), operation.name
        assert native.get("parameters", []) == own["parameters"], operation.name


def _without_nulls(node: Any) -> Any:
    """FastAPI leaves out what is null, such as the default of what need not be given."""
    if isinstance(node, dict):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    return [_without_nulls(item) for item in node] if isinstance(node, list) else node


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    return []


# Lifespan.


async def test_the_apps_own_lifespan_runs_and_kavach_is_closed_before_it_ends(sqlite_database: str) -> None:
    steps: list[str] = []
    get_kavach = lazy_kavach(database=sqlite_database)
    kv = kavach_fastapi(get_kavach)

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        steps.append("start")
        yield
        steps.append(f"stop, open={bool(get_kavach._slots)}")

    app = FastAPI(lifespan=own)
    app.include_router(kv.router, prefix="/api/kavach")
    async with lifespan(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            await client.get("/api/kavach/agents", headers=bearer("kv_ses_" + "0" * 49))
            await get_kavach()
        assert get_kavach._slots
    assert steps == ["start", "stop, open=False"]


# A guard around the app.


@pytest.mark.parametrize("is_started", [False, True])
async def test_a_guard_around_the_app_knows_its_root_path(get_kavach: LazyKavach, is_started: bool) -> None:
    """Through layers that keep what they wrap as `app`, and through all others once the app has started."""
    kv = kavach_fastapi(get_kavach)
    app = build(kv)
    app.root_path = "/v1"
    layers: list[Any] = [itself, GZipMiddleware, lambda app: kv.Guard(GZipMiddleware(app), protect=[])]
    for layer in (*layers, hidden) if is_started else layers:
        guarded = kv.Guard(layer(app), protect=["/open"])
        if is_started:
            async with lifespan(guarded):
                pass
        async with client_of(guarded) as client:
            for path in ("/v1/open", "/open"):
                assert error_of(await client.get(path)) == (401, "UNAUTHENTICATED"), layer


@pytest.mark.parametrize("is_inside", [False, True])
async def test_a_guard_knows_the_root_path_of_an_app_that_is_mounted_at_the_root(
    get_kavach: LazyKavach, is_inside: bool
) -> None:
    """It takes its own off the path, in the place of the one in the scope."""
    kv = kavach_fastapi(get_kavach)
    inner, middle, outer = FastAPI(), FastAPI(), FastAPI()
    inner.root_path = "/v1"
    inner.get("/mine")(lambda: {"mine": True})
    middle.mount("/", GZipMiddleware(inner))
    outer.mount("/", middle)
    async with client_of(outer) as client:
        assert (await client.get("/v1/mine")).json() == {"mine": True}, "the control"
    guarded: Any = outer
    if is_inside:
        outer.middleware_stack = None  # it was built for the control
        outer.add_middleware(kv.Guard, protect=["/mine"])
    else:
        guarded = kv.Guard(outer, protect=["/mine"])
    async with client_of(guarded) as client:
        for path in ("/v1/mine", "/mine"):
            assert error_of(await client.get(path)) == (401, "UNAUTHENTICATED"), path


async def test_what_looks_like_the_root_path_further_on_is_open(get_kavach: LazyKavach) -> None:
    kv = kavach_fastapi(get_kavach)
    app = FastAPI()

    @app.get("/blog/{slug}")
    def blog(slug: str) -> str:
        return slug

    app.root_path = "/api"
    around = kv.Guard(app, public=["/blog/:slug"])
    app.add_middleware(kv.Guard, public=["/blog/:slug"])
    for each in (app, around):
        async with client_of(each) as client:
            for path in ("/blog/api-design", "/blog/api", "/api/blog/api-design", "/blog/%23python"):
                assert (await client.get(path)).status_code == 200, path
            assert (await client.get("/x/api/blog/y")).status_code == 401


def itself(app: Any) -> Any:
    """No layer at all."""
    return app


def hidden(app: Any) -> Any:
    """A layer that keeps the app to itself."""
    return lambda scope, receive, send: app(scope, receive, send)
