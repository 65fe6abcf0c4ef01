"""The guard: nobody unknown gets to a protected path, browsers are sent to sign in, no header claims an identity."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from starlette.middleware.cors import CORSMiddleware

from kavach_adapters import kavach_starlette
from kavach_core import lazy_kavach
from kavach_core.errors import ConfigurationError
from tests.adapters.asgi import request, socket
from tests.http.world import ORIGIN, OpenWorld, World, bearer, client_of, error_of

#: What a browser sends when a person opens a page.
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-mode": "navigate"}
PROTECT: dict[str, Any] = {"protect": ["/dashboard/:path*", "/seen"], "login": "/login"}


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world(guard=PROTECT)


async def test_a_protected_path_is_for_signed_in_humans(world: World) -> None:
    for path in ("/dashboard/x", "/dashboard/a/b", "/seen"):
        assert error_of(await world.visit("GET", path)) == (401, "UNAUTHENTICATED")
        for human in (await world.human(), await world.browser()):
            assert (await world.visit("GET", path, human)).json()["kind"] == "human"
    for path in ("/login", "/session"):
        assert (await world.visit("GET", path)).status_code == 200


async def test_agents_and_keys_pass_only_where_they_are_allowed(open_world: OpenWorld) -> None:
    for allow, expected in (
        (["human"], {"human": 200, "agent": 403, "service": 403}),
        (["human", "agent"], {"human": 200, "agent": 200, "service": 403}),
        (["service"], {"human": 403, "agent": 403, "service": 200}),
    ):
        world = await open_world(guard={**PROTECT, "allow": allow})
        callers = {
            "human": await world.human(),
            "agent": bearer((await world.agent()).token),
            "service": await world.service(),
        }
        for kind, status in expected.items():
            answer = await world.visit("GET", "/dashboard/x", {**callers[kind], **PAGE})
            assert answer.status_code == status, (allow, kind)
            if status == 403:
                assert error_of(answer) == (403, "CALLER_NOT_ALLOWED")


async def test_with_public_all_the_rest_is_protected_but_the_mount_guards_itself(open_world: OpenWorld) -> None:
    world = await open_world(guard={"public": ["/session"], "login": "/login?from=guard"})
    for path in ("/session", "/login", "/api/kavach/openapi.json"):
        assert (await world.visit("GET", path)).status_code == 200, path
    for path in ("/seen", "/dashboard/x", "/nothing", "/", "/sessions", "/session/x", "/SESSION"):
        assert error_of(await world.visit("GET", path)) == (401, "UNAUTHENTICATED"), path
    agent = bearer((await world.agent()).token)
    assert (await world.call("GET", "/audit", agent)).status_code == 200
    assert error_of(await world.call("GET", "/agents")) == (401, "UNAUTHENTICATED")
    moved = await world.visit("GET", "/seen?a=1", PAGE)
    assert moved.headers["location"] == "/login?from=guard&next=%2Fseen%3Fa%3D1"


async def test_a_page_of_another_site_changes_nothing_behind_the_guard(open_world: OpenWorld) -> None:
    """Whether or not what is there asks for a human itself, as an app that knows no Kavach does not."""
    world = await open_world(guard={**PROTECT, "forward": True})
    own, bearer_of_human = await world.browser(), await world.human()
    cookie = {"cookie": own["cookie"]}
    evil = {**cookie, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for headers in (cookie, evil, {**cookie, "origin": "null"}, {**cookie, "sec-fetch-site": "same-site"}):
        for method in ("POST", "PUT", "DELETE"):
            refused = await world.visit(method, "/dashboard/x", headers)
            assert error_of(refused) == (403, "ORIGIN_REFUSED"), (method, headers)
        assert (await world.visit("GET", "/dashboard/x", headers)).status_code == 200, headers
    for headers in (own, bearer_of_human, {**bearer_of_human, "origin": "https://evil.example"}):
        assert (await world.visit("POST", "/dashboard/x", headers)).status_code == 200, headers
    assert (await world.visit("POST", "/dashboard/x", {**cookie, "sec-fetch-site": "same-origin"})).status_code == 200


# Browsers and programs.


async def test_only_a_person_opening_a_page_is_sent_to_sign_in(world: World) -> None:
    for method, headers, status in (
        ("GET", PAGE, 303),
        ("HEAD", PAGE, 303),
        ("GET", {"accept": "text/html"}, 303),
        ("GET", {"accept": "TEXT/HTML;q=0.1"}, 303),
        ("GET", {"accept": "text/html;q=0"}, 401),
        ("GET", {"accept": "text/html; q=0.0"}, 401),
        ("GET", {"accept": "*/*"}, 401),
        ("GET", {"accept": "application/json"}, 401),
        ("GET", {}, 401),
        ("POST", PAGE, 401),
        ("GET", {**PAGE, "sec-fetch-mode": "cors"}, 401),
        ("GET", {**PAGE, "x-requested-with": "XMLHttpRequest"}, 401),
        ("GET", {**PAGE, "authorization": "Bearer kv_ses_x"}, 401),
        ("GET", {**PAGE, "cookie": "kv_session=kv_ses_x"}, 303),
    ):
        answer = await world.visit(method, "/dashboard/x", headers)
        assert answer.status_code == status, (method, headers)
        assert answer.headers["vary"] == "Accept, Authorization, Cookie"
        assert answer.headers["cache-control"] == "no-store"
        if status == 303:
            assert answer.headers["location"] == "/login?next=%2Fdashboard%2Fx"
        elif method != "HEAD":
            assert error_of(answer)[0] == 401


async def test_without_a_login_page_a_browser_gets_401(open_world: OpenWorld) -> None:
    world = await open_world(guard={"protect": ["/seen"]})
    assert error_of(await world.visit("GET", "/seen", PAGE)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("form", [{"public": ["/seen"]}, {"protect": ["/:all*"]}], ids=["public", "protect"])
async def test_the_login_page_is_open_below_a_root_path_too(open_world: OpenWorld, form: dict[str, Any]) -> None:
    """It is where browsers are sent, and so it may be written as they ask for it: or it would send them to itself."""
    world = await open_world(guard={**form, "login": "/app/login"})
    for root_path, path, status in (
        ("/app", "/app/login", 200),
        ("/app", "/login", 200),
        ("/app/", "/login", 200),
        ("/app", "/app/dashboard/x", 303),
        ("/app", "/dashboard/x", 303),
        ("", "/login", 303),
    ):
        answer, _ = await request(_quiet(world.app), path, PAGE, root_path=root_path)
        # Not every router finds a page below a root path that the path does not begin with.
        assert answer == status or (status == 200 and answer == 404), (root_path, path)


async def test_next_leads_back_and_nowhere_else(world: World) -> None:
    """What the guard sends back was chosen by whoever made the link: it must stay on this origin however it is read."""
    for raw, back in (
        ("/dashboard/x?a=1&b=%2F", "/dashboard/x?a=1&b=%2F"),
        ("/dashboard/%C3%A9", "/dashboard/%C3%A9"),
        ("//evil.example/dashboard/x/../../dashboard", None),
        ("/%2Fevil.example/..%2Fdashboard/x", None),
        ("/\\evil.example/../dashboard", None),
        ("/dashboard/%5C%5Cevil", None),
        ("/dashboard/x%0d%0aset-cookie:a=b", None),
        ("/dashboard/" + "x" * 900 + "?" + "y" * 1200, None),
    ):
        path, _, query = raw.partition("?")
        sent: list[dict[str, Any]] = []
        status, _ = await request(
            _recording(world.app, sent),
            unquote(path),
            PAGE,
            raw_path=path.encode(),
            query_string=query.encode(),
        )
        assert status == 303, raw
        location = dict(sent[0]["headers"])[b"location"].decode("ascii")
        parts = urlsplit(location)
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/login")
        assert parse_qs(parts.query).get("next") == (None if back is None else [back]), raw
        assert "\r" not in location and "\n" not in location


# Identity headers.


async def test_headers_that_claim_an_identity_are_removed_on_every_path(world: World) -> None:
    claims = {
        "x-user-id": "admin",
        "X-User-Id": "admin",
        "x_user_id": "admin",
        "X_USER-ID": "admin",
        "x-kavach-owner": "admin",
        "X-Kavach-Agent-Id": "admin",
        "x_kavach_owner": "admin",
        "x-kavach-": "admin",
        "x-kept": "1",
        "x-kavachos": "1",
    }
    browser = await world.browser()
    for path, headers in (("/login", {}), ("/dashboard/x", browser), ("/seen", browser)):
        assert (await world.visit("GET", path, {**headers, **claims})).json()["claims"] == ["x-kavachos", "x-kept"], (
            path
        )
        status, seen = await request(world.app, path, {**headers, **claims})
        assert (status, seen["claims"]) == (200, ["x-kavachos", "x-kept"])
    async with socket(world.app, "/dashboard/ws", {**browser, **claims}) as opened:
        assert (await opened.json())["claims"] == ["x-kavachos", "x-kept"]


async def test_a_spoofed_header_never_lets_anyone_in(world: World) -> None:
    for name in ("x-user-id", "x-kavach-owner", "x-kavach-identity", "x-forwarded-user", "remote-user"):
        assert error_of(await world.visit("GET", "/dashboard/x", {name: "alice"})) == (401, "UNAUTHENTICATED")


# WebSockets, preflights, other scopes.


@pytest.mark.parametrize("can_answer", [True, False])
async def test_a_socket_on_a_protected_path_is_refused_before_the_app_sees_it(world: World, can_answer: bool) -> None:
    agent = bearer((await world.agent()).token)
    cookie = {"cookie": (await world.browser())["cookie"]}
    for headers, status in (
        ({}, 401),
        (bearer("kv_ses_x"), 401),
        (agent, 403),
        (cookie, 403),
        ({**cookie, "origin": "https://evil.example"}, 403),
    ):
        async with socket(world.app, "/dashboard/ws", headers, can_answer=can_answer) as opened:
            assert opened.refused == status
            if can_answer:
                assert opened.body is not None and set(opened.body["error"]) == {"code", "message", "details"}
            else:
                assert opened.code == 4000 + status
    for headers in ({**cookie, "origin": ORIGIN}, await world.human()):
        async with socket(world.app, "/dashboard/ws", headers, can_answer=can_answer) as opened:
            assert (await opened.json())["kind"] == "human"


PREFLIGHT = {"origin": "https://other.example", "access-control-request-method": "POST"}


async def test_a_preflight_is_no_way_in(world: World) -> None:
    """Anybody can write one, and a handler may answer OPTIONS as it answers GET."""
    for headers in (PREFLIGHT, {**PREFLIGHT, "accept": "text/html"}, {**PREFLIGHT, "cookie": "a=b"}, {}):
        assert error_of(await world.visit("OPTIONS", "/dashboard/x", headers)) == (401, "UNAUTHENTICATED")


async def test_where_cors_is_further_in_true_preflights_pass_and_nothing_else(open_world: OpenWorld) -> None:
    world = await open_world(guard={**PROTECT, "preflights": True})
    assert (await world.visit("OPTIONS", "/dashboard/x", PREFLIGHT)).status_code in (200, 204, 405)
    for change in (
        {"origin": ""},
        {"access-control-request-method": ""},
        {"cookie": "a=b"},
        {"authorization": "Bearer x"},
        {"content-length": "5"},
        {"transfer-encoding": "chunked"},
    ):
        answer, _ = await request(world.app, "/dashboard/x", {**PREFLIGHT, **change}, method="OPTIONS")
        assert answer == 401, change
    for missing in PREFLIGHT:
        headers = {name: value for name, value in PREFLIGHT.items() if name != missing}
        assert error_of(await world.visit("OPTIONS", "/dashboard/x", headers)) == (401, "UNAUTHENTICATED")
    for method in ("GET", "POST", "options"):
        assert (await request(world.app, "/dashboard/x", PREFLIGHT, method=method))[0] == 401, method


async def test_a_preflight_that_passes_brings_no_body(sqlite_database: str) -> None:
    """Over HTTP/2 a body needs no header that tells of it."""
    heard: list[dict[str, Any]] = []
    sent = [{"type": "http.request", "body": b"do it"}, {"type": "http.disconnect"}]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])

    async def receive() -> dict[str, Any]:
        return sent.pop(0)

    kv = kavach_starlette(lazy_kavach(database=sqlite_database))
    guard = kv.Guard(app, public=["/"], preflights=True)  # type: ignore[arg-type]
    headers = [(name.encode(), value.encode()) for name, value in PREFLIGHT.items()]
    await guard({"type": "http", "method": "OPTIONS", "path": "/x", "headers": headers}, receive, None)  # type: ignore[arg-type]
    assert heard == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]


async def test_with_cors_outside_a_refusal_can_be_read_by_the_page_that_asked(world: World) -> None:
    app = CORSMiddleware(world.app, allow_origins=["https://other.example"], allow_credentials=True)
    async with client_of(app) as client:
        answer = await client.get("/dashboard/x", headers={"origin": "https://other.example"})
    assert error_of(answer)[0] == 401
    assert answer.headers["access-control-allow-origin"] == "https://other.example"


async def test_scopes_that_are_neither_requests_nor_sockets_pass_untouched(sqlite_database: str) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    guard = kavach_starlette(lazy_kavach(database=sqlite_database)).Guard(app, public=["/"])  # type: ignore[arg-type]
    scope = {"type": "something.new", "path": "/dashboard"}
    await guard(scope, None, None)  # type: ignore[arg-type]
    assert seen == [scope] and seen[0] is scope


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protect": ["/a"], "public": ["/b"]},
        {"protect": ["/a"], "allow": []},
        {"protect": ["/a"], "allow": ["admin"]},
        {"protect": ["/a/*"]},
        {"protect": ["/a(b)"]},
        {"protect": ["a"]},
        {"protect": "/a"},
        {"public": ["/:a*/:b*"]},
        {"protect": ["/a"], "login": ""},
        {"protect": ["/a"], "login": "login"},  # of /a/b it would be /a/login, which leads to itself
        {"protect": ["/a"], "login": "?login"},
        {"protect": ["/a"], "login": "//id.example/login"},
        {"protect": ["/a"], "login": "https:///login"},
        {"protect": ["/a"], "login": "javascript:login"},
        {"protect": ["/a"], "login": "/anmeldung-für-alle"},
        {"protect": ["/a"], "login": "/log in"},
        {"protect": ["/a"], "login": "/login?a=b#c"},
    ],
    ids=str,
)
def test_a_guard_that_is_half_set_or_cannot_be_read_refuses_to_start(options: dict[str, Any]) -> None:
    kv = kavach_starlette(lazy_kavach(database="sqlite:///never.db"))
    with pytest.raises(ConfigurationError):
        kv.Guard(_nothing, **options)


@pytest.mark.parametrize("login", ["/login", "/login?x=1", "https://id.example", "http://localhost:3000/login"])
def test_the_login_may_be_a_path_or_a_page_elsewhere(login: str) -> None:
    kavach_starlette(lazy_kavach(database="sqlite:///never.db")).Guard(_nothing, protect=["/a"], login=login)


async def test_a_path_too_long_to_be_read_in_every_way_is_protected(world: World) -> None:
    assert error_of(await world.visit("GET", "/" + "x" * 8192)) == (401, "UNAUTHENTICATED")
    assert (await world.visit("GET", "/" + "x" * 8191)).status_code == 404


def _quiet(app: Any) -> Any:
    """The app, with the body of its answers left out: a page need not be JSON."""

    async def quiet(scope: Any, receive: Any, send: Any) -> None:
        async def bare(message: dict[str, Any]) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await app(scope, receive, bare)

    return quiet


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An app that is never called."""


def _recording(app: Any, sent: list[dict[str, Any]]) -> Any:
    """The app, keeping what it sends."""

    async def recorded(scope: Any, receive: Any, send: Any) -> None:
        async def keep(message: dict[str, Any]) -> None:
            sent.append(message)
            await send(message)

        await app(scope, receive, keep)

    return recorded
