"""The order that docs/guard.md gives for what stands around the guard, and what goes wrong in the other one."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from litestar import Litestar, get
from litestar.config.cors import CORSConfig
from quart import Quart, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from kavach_adapters import kavach_litestar, kavach_quart, kavach_starlette
from kavach_core import lazy_kavach
from kavach_core.resolvers import View
from tests.adapters.asgi import request, stream
from tests.http.world import OpenWorld, World, bearer, client_of, error_of

RECHECK = 0.1
SECRET = "s" * 32
PAGE = {"origin": "https://pages.example"}
PREFLIGHT = {**PAGE, "access-control-request-method": "GET"}

Wrap = Callable[[Any], Any]


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    """An app of each framework that no guard is around yet."""
    return await open_world(recheck=RECHECK)


def guard(world: World, *, preflights: bool = False, **options: Any) -> Wrap:
    kv = kavach_starlette(world.get_kavach, recheck=RECHECK, **options)
    return lambda app: kv.Guard(app, protect=["/dashboard/:path*"], login="/login", preflights=preflights)


def cors(app: Any) -> Any:
    return CORSMiddleware(app, allow_origins=[PAGE["origin"]], allow_credentials=True)


def around(app: Any, *layers: Wrap) -> Any:
    """The app within these layers, the outermost first."""
    for layer in reversed(layers):
        app = layer(app)
    return app


async def test_outside_of_the_guard_cors_lets_a_page_read_its_refusal(world: World) -> None:
    for layers, allowed in (((cors, guard(world)), PAGE["origin"]), ((guard(world), cors), None)):
        async with client_of(around(world.app, *layers)) as client:
            refused = await client.get("/dashboard/x", headers=PAGE)
            assert error_of(refused)[0] == 401
            assert refused.headers.get("access-control-allow-origin") == allowed


async def test_a_preflight_is_answered_by_cors_outside_of_the_guard_or_where_the_guard_lets_it_pass(
    world: World,
) -> None:
    for layers, status in (
        ((cors, guard(world)), 200),
        ((guard(world), cors), 401),
        ((guard(world, preflights=True), cors), 200),
    ):
        async with client_of(around(world.app, *layers)) as client:
            answer = await client.options("/dashboard/x", headers=PREFLIGHT)
            assert answer.status_code == status
            assert answer.headers.get("access-control-allow-origin") == (PAGE["origin"] if status == 200 else None)


async def test_outside_of_the_guard_compression_ends_with_the_stream(world: World) -> None:
    for layers, whole in (((GZipMiddleware, guard(world)), True), ((guard(world), GZipMiddleware), False)):
        agent = await world.agent()
        app = around(world.app, *layers)
        async with stream(app, "/stream", {**bearer(agent.token), "accept-encoding": "gzip"}) as opened:
            await world.kavach.agents.revoke(agent.id)
            await opened.ended.wait()
        unpacked = zlib.decompressobj(wbits=31)
        assert opened.status == 200 and not unpacked.decompress(b"".join(opened.chunks)).strip(b"tick\n")
        assert unpacked.eof is whole


async def test_outside_of_the_guard_proxy_headers_put_the_client_on_record(world: World) -> None:
    for layers, address in (
        ((_proxied, guard(world)), "203.0.113.7"),
        ((guard(world), _proxied), "127.0.0.1"),
    ):
        agent = await world.agent()
        await world.kavach.agents.revoke(agent.id)
        async with client_of(around(world.app, *layers)) as client:
            headers = {**bearer(agent.token), "x-forwarded-for": "203.0.113.7"}
            assert error_of(await client.get("/dashboard/x", headers=headers)) == (401, "AGENT_REVOKED")
        (entry, *_) = (await world.kavach.audit.query(agent_id=agent.id)).items
        assert entry.address == address


async def test_what_is_outside_sees_refusals_and_what_is_inside_sees_none(world: World) -> None:
    for outside in (True, False):
        seen: list[int] = []
        log = _logging(seen)
        layers: Sequence[Wrap] = (log, guard(world)) if outside else (guard(world), log)
        async with client_of(around(world.app, *layers)) as client:
            await client.get("/dashboard/x")
            await client.get("/login")
        assert seen == ([401, 200] if outside else [200])


async def test_what_the_app_raises_passes_the_guard_unchanged(world: World) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("the app's own")

    human = await world.human()
    for path in ("/open", "/dashboard/x"):
        with pytest.raises(LookupError, match="the app's own"):
            await request(around(broken, guard(world)), path, human)


async def test_a_resolver_that_waits_for_a_middleware_further_in_knows_nobody(world: World) -> None:
    """One that reads the cookie itself works in either order."""
    cookie = {"cookie": f"session={_signed({'user': 'alice'})}"}
    for resolve_user, outside, status in (
        (_by_state, True, 200),
        (_by_state, False, 401),
        (_by_cookie, True, 200),
        (_by_cookie, False, 200),
    ):
        known = guard(world, resolve_user=resolve_user)
        layers = (_sessions, known) if outside else (known, _sessions)
        async with client_of(around(world.app, *layers)) as client:
            answer = await client.get("/dashboard/x", headers=cookie)
            assert answer.status_code == status, (resolve_user, outside)


async def test_what_litestar_and_quart_call_cors_is_inside(sqlite_database: str) -> None:
    """So their pages put another one around the guard."""
    get_kavach = lazy_kavach(database=sqlite_database)

    @get("/dashboard/x")
    async def page() -> str:
        return "page"

    kvl, kvq = kavach_litestar(get_kavach), kavach_quart(get_kavach)
    litestar = Litestar([page], plugins=[kvl], cors_config=CORSConfig([PAGE["origin"]]), logging_config=None)
    quart = Quart(__name__)
    kvq.init_app(quart)
    quart.after_request(_allow)
    for app in (kvl.Guard(litestar, protect=["/dashboard/:path*"]), kvq.Guard(quart, protect=["/dashboard/:path*"])):
        for layers, path, allowed in (
            ((), "/nothing", True),
            ((), "/dashboard/x", False),
            ((cors,), "/dashboard/x", True),
        ):
            async with client_of(around(app, *layers)) as client:
                answer = await client.get(path, headers=PAGE)
                assert ("access-control-allow-origin" in answer.headers) is allowed, (app, path)
    await get_kavach.close()


async def _by_state(view: View) -> str | None:
    user = view.state.get("user")
    return user if isinstance(user, str) else None


async def _by_cookie(view: View) -> str | None:
    (cookie,) = view.cookies("session")
    return str(json.loads(b64decode(TimestampSigner(SECRET).unsign(cookie)))["user"])


def _signed(session: dict[str, str]) -> str:
    """The cookie that `SessionMiddleware` sets."""
    return TimestampSigner(SECRET).sign(b64encode(json.dumps(session).encode())).decode()


def _sessions(app: Any) -> Any:
    """Starlette's sessions, and a layer that leaves the user of one where a resolver could find it."""

    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        state = {**scope.get("state", {}), "user": scope["session"].get("user")}
        await app({**scope, "state": state}, receive, send)

    return SessionMiddleware(leaving, secret_key=SECRET)


def _proxied(app: Any) -> Any:
    return ProxyHeadersMiddleware(app, trusted_hosts=["127.0.0.1"])


def _logging(seen: list[int]) -> Wrap:
    """A layer that notes every answer that comes through it."""

    def wrap(app: Any) -> Any:
        async def logged(scope: Any, receive: Any, send: Any) -> None:
            async def note(message: Any) -> None:
                if message["type"] == "http.response.start":
                    seen.append(message["status"])
                await send(message)

            await app(scope, receive, note)

        return logged

    return wrap


async def _allow(response: Response) -> Response:
    response.headers["access-control-allow-origin"] = PAGE["origin"]
    return response
