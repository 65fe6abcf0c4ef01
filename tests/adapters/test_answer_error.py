"""`kv.answer_error`: what an app's own code gets from Kavach is answered as by Kavach's own routes, if the app asks."""

# No postponed annotations here: FastAPI and Litestar must see what exists only inside a function.

import json
import logging
from collections.abc import Callable
from typing import Any

import fastapi
import litestar
import pytest
import quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from examples.plain_asgi.adapter import kavach_asgi
from kavach_adapters import kavach_fastapi, kavach_litestar, kavach_quart, kavach_starlette
from kavach_core import lazy_kavach
from kavach_core.api.problems import to_close, to_reply
from kavach_core.errors import (
    ConfigurationError,
    KavachError,
    LimitReached,
    NotFound,
    PermissionDenied,
    RateLimited,
    StoreUnavailable,
    Unauthenticated,
)
from tests.adapters.asgi import socket
from tests.http.world import client_of, error_of

ERRORS: dict[str, KavachError] = {
    "missing": NotFound("There is no such agent."),
    "full": LimitReached("No more agents.", details={"limit": 3}),
    "denied": PermissionDenied("No grant covers this.", reason="NOT_GRANTED", audit_id="aud_1"),
    "nobody": Unauthenticated("The agent is revoked.", reason="AGENT_REVOKED"),
    "busy": RateLimited("Too often.", retry_after=7),
    "down": StoreUnavailable("The database is gone."),
    "unset": ConfigurationError("The password is hunter2."),
}
get_kavach = lazy_kavach(database="sqlite:///never.db")
Handlers = dict[type[Exception], Any]


def fail(what: str) -> None:
    if what == "own":
        raise ValueError("a matter of the app")
    raise ERRORS[what]


def starlette_app(kv: Any, handlers: Handlers) -> Any:
    async def fails(request: Request) -> Response:
        fail(request.path_params["what"])
        return Response()

    async def ws_fails(socket: WebSocket) -> None:
        if socket.path_params["when"] == "later":
            await socket.accept()
        fail(socket.path_params["what"])

    routes = [Route("/{what}", fails), WebSocketRoute("/{when}/{what}", ws_fails)]
    return Starlette(routes=[*kv.routes, *routes], exception_handlers=handlers)


def fastapi_app(kv: Any, handlers: Handlers) -> Any:
    app = fastapi.FastAPI()
    app.include_router(kv.router, prefix="/api/kavach")
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)

    @app.get("/{what}")
    async def fails(what: str) -> None:
        fail(what)

    @app.websocket("/{when}/{what}")
    async def ws_fails(socket: WebSocket, when: str, what: str) -> None:
        if when == "later":
            await socket.accept()
        fail(what)

    return app


def litestar_app(kv: Any, handlers: Handlers) -> Any:
    @litestar.get("/{what:str}")
    async def fails(what: litestar.params.FromPath[str]) -> None:
        fail(what)

    @litestar.websocket("/{when:str}/{what:str}")
    async def ws_fails(
        socket: litestar.WebSocket[Any, Any, Any],
        when: litestar.params.FromPath[str],
        what: litestar.params.FromPath[str],
    ) -> None:
        if when == "later":
            await socket.accept()
        fail(what)

    return litestar.Litestar([fails, ws_fails], plugins=[kv], exception_handlers=handlers, logging_config=None)


def quart_app(kv: Any, handlers: Handlers) -> Any:
    app = quart.Quart(__name__)
    kv.init_app(app)
    for error, handler in handlers.items():
        app.register_error_handler(error, handler)

    @app.get("/<what>")
    async def fails(what: str) -> str:
        fail(what)
        return ""

    @app.websocket("/<when>/<what>")
    async def ws_fails(when: str, what: str) -> None:
        if when == "later":
            await quart.websocket.accept()
        fail(what)

    return app


def plain_app(kv: Any, handlers: Handlers) -> Any:
    """Without a framework an app looks for a handler itself, as the four do it for theirs."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        *when, what = scope["path"].strip("/").split("/")
        if when == ["later"]:
            await send({"type": "websocket.accept"})
        try:
            fail(what)
        except Exception as error:
            found = next((handlers[each] for each in type(error).__mro__ if each in handlers), None)
            if found is None:
                raise
            await found(scope, receive, send, error)

    return kv.around(fails)


async def starlette_own(request: Request, error: Exception) -> Response:
    return Response(f"own: {type(error).__name__}", 418)


def litestar_own(request: litestar.Request[Any, Any, Any], error: Exception) -> litestar.Response[str]:
    return litestar.Response(f"own: {type(error).__name__}", status_code=418)


async def quart_own(error: Exception) -> quart.Response:
    return quart.Response(f"own: {type(error).__name__}", 418)


async def plain_own(scope: Any, receive: Any, send: Any, error: Exception) -> None:
    await Response(f"own: {type(error).__name__}", 418)(scope, receive, send)


#: For each framework its adapter, its app with error handlers, and a handler of the app's own.
FRAMEWORKS: dict[str, tuple[Callable[..., Any], Callable[[Any, Handlers], Any], Any]] = {
    "starlette": (kavach_starlette, starlette_app, starlette_own),
    "fastapi": (kavach_fastapi, fastapi_app, starlette_own),
    "litestar": (kavach_litestar, litestar_app, litestar_own),
    "quart": (kavach_quart, quart_app, quart_own),
    "plain_asgi": (kavach_asgi, plain_app, plain_own),
}
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@each_framework
async def test_an_error_of_kavach_gets_its_answer(framework: str, caplog: pytest.LogCaptureFixture) -> None:
    adapter, build, _ = FRAMEWORKS[framework]
    kv = adapter(get_kavach)
    async with client_of(build(kv, {KavachError: kv.answer_error})) as client:
        for name, error in ERRORS.items():
            answer, expected = await client.get(f"/{name}"), to_reply(error)
            assert error_of(answer)[0] == expected.status
            assert answer.content == expected.body, name
            assert sorted(answer.headers.raw) == sorted(expected.all_headers()), name
    assert "hunter2" in caplog.text


@each_framework
async def test_what_is_not_of_kavach_and_what_the_app_handles_itself_stay_the_apps(framework: str) -> None:
    adapter, build, own = FRAMEWORKS[framework]
    kv = adapter(get_kavach)
    async with client_of(build(kv, {KavachError: kv.answer_error, NotFound: own, ValueError: own})) as client:
        assert [(await client.get(path)).text for path in ("/own", "/missing")] == ["own: ValueError", "own: NotFound"]
        assert error_of(await client.get("/full")) == (409, "LIMIT_REACHED")


@each_framework
async def test_an_app_that_does_not_ask_answers_for_itself(framework: str) -> None:
    adapter, build, own = FRAMEWORKS[framework]
    async with client_of(build(adapter(get_kavach), {})) as client:
        missing = await client.get("/missing")
        assert missing.status_code == 500 and "no such agent" not in missing.text
        assert error_of(await client.get("/api/kavach/agents")) == (401, "UNAUTHENTICATED")
    async with client_of(build(adapter(get_kavach), {Exception: own})) as client:
        assert (await client.get("/missing")).text == "own: NotFound"


@each_framework
@pytest.mark.parametrize("can_answer", [True, False])
async def test_a_socket_is_refused_with_the_error_or_closed_with_its_code(
    framework: str, can_answer: bool, caplog: pytest.LogCaptureFixture
) -> None:
    adapter, build, _ = FRAMEWORKS[framework]
    kv = adapter(get_kavach)
    app = build(kv, {KavachError: kv.answer_error})
    with caplog.at_level(logging.CRITICAL):
        for name, error in ERRORS.items():
            status = to_reply(error).status
            async with socket(app, f"/first/{name}", {}, can_answer=can_answer) as opened:
                assert opened.refused == status, name
                assert opened.body == (json.loads(to_reply(error).body) if can_answer else None)
            async with socket(app, f"/later/{name}", {}, can_answer=can_answer) as opened:
                assert opened.refused is None
                closed = await opened.message()
                assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", *to_close(error))
