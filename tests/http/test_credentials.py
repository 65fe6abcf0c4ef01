"""Who is asking: one `Authorization` header decides alone; without it the app's own auth or the session cookie does."""

from __future__ import annotations

import logging

import pytest

from kavach_core.api.view import View
from kavach_core.errors import ConfigurationError
from kavach_core.resolvers import dev_user
from tests.http.conftest import ONE_FRAMEWORK
from tests.http.frameworks import Framework
from tests.http.world import ORIGIN, OpenWorld, World, bearer, error_of

HTTPS = {"base_url": "https://app.example", "secret": "s" * 32}


class Resolver:
    """The app's own auth: it knows people by a header of its own, or by a bearer it issued, and counts its calls."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.answer: object = None

    async def __call__(self, view: View) -> str | None:
        self.views.append(view)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer  # type: ignore[return-value]
        bearer_ = view.header("authorization") or ""
        return view.header("x-app-user") or (bearer_.removeprefix("Bearer app-") if "app-" in bearer_ else None)


# The Authorization header.


@ONE_FRAMEWORK
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_without_case(world: World, scheme: str) -> None:
    agent = await world.agent()
    answer = await world.call("GET", f"/agents/{agent.id}", {"authorization": f"{scheme} {agent.token}"})
    assert answer.status_code == 200


async def test_two_authorization_headers_are_401_even_if_both_hold(world: World) -> None:
    agent = await world.agent()
    held = bearer(agent.token)["authorization"]
    for second in (held, "Bearer x", ""):
        for headers in ([held, second], [second, held]):
            answer = await world.client.get(
                f"/api/kavach/agents/{agent.id}", headers=[("authorization", value) for value in headers]
            )
            assert error_of(answer) == (401, "MALFORMED_CREDENTIAL")


async def test_a_bad_authorization_never_falls_back_to_a_cookie_or_to_the_app(open_world: OpenWorld) -> None:
    world = await open_world(resolve_user=Resolver())
    good = {**await world.browser(), "x-app-user": "alice"}
    assert (await world.call("GET", "/agents", good)).status_code == 200
    for bad in (
        "",
        "Bearer",
        "Basic YWxpY2U6eA==",
        "Bearer kv_agt_x",
        "Bearer kv_ses_x",
        "Bearer kv_other_x",
        "Bearer a b",
    ):
        assert error_of(await world.call("GET", "/agents", {**good, "authorization": bad}))[0] == 401, bad
        assert error_of(await world.visit("GET", "/me", {**good, "authorization": bad}))[0] == 401, bad


async def test_a_dead_credential_is_401_with_its_code_and_the_record_of_it(world: World) -> None:
    agent = await world.agent()
    await world.kavach.agents.revoke(agent.id)
    for method, path in (
        ("GET", f"/agents/{agent.id}"),
        ("POST", "/authorize"),
        ("POST", f"/agents/{agent.id}/delegate"),
    ):
        answer = await world.call(method, path, bearer(agent.token))
        assert error_of(answer) == (401, "AGENT_REVOKED")
        audit_id = answer.json()["error"]["details"]["auditId"]
        newest = (await world.kavach.audit.query(limit=1)).items[0]
        assert (newest.id, newest.code, newest.result) == (audit_id, "AGENT_REVOKED", "denied")


async def test_a_dead_agent_asked_about_by_id_is_200_not_allowed(world: World) -> None:
    agent = await world.agent()
    await world.kavach.agents.revoke(agent.id)
    asked = {"action": "read", "resource": "repos"}
    for caller in (await world.human(), await world.service()):
        for path, more in ((f"/agents/{agent.id}/authorize", {}), ("/authorize", {"agentId": agent.id})):
            answer = await world.call("POST", path, caller, json={**asked, **more})
            assert answer.status_code == 200 and answer.json()["allowed"] is False
            assert answer.json()["code"] == "AGENT_REVOKED" and answer.json()["auditId"].startswith("aud_")


@ONE_FRAMEWORK
async def test_an_agent_with_many_refusals_waits_until_the_minute_ends(open_world: OpenWorld) -> None:
    world = await open_world(refused_per_minute=3)
    agent = await world.agent()
    asked = {"action": "write", "resource": "repos"}
    for _ in range(3):
        assert (await world.call("POST", "/authorize", bearer(agent.token), json=asked)).status_code == 200
    for method, path in (("POST", "/authorize"), ("GET", f"/agents/{agent.id}")):
        answer = await world.call(method, path, bearer(agent.token), json=asked if method == "POST" else None)
        assert error_of(answer) == (429, "RATE_LIMITED")
        assert answer.headers["retry-after"] == "60"
    assert error_of(await world.visit("POST", "/search", bearer(agent.token))) == (429, "RATE_LIMITED")
    world.clock.advance("60s")
    assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == 200


async def test_a_token_that_was_replaced_shuts_out_nobody_but_itself(open_world: OpenWorld) -> None:
    world = await open_world(refused_per_minute=3)
    agent = await world.agent()
    rotated = await world.kavach.agents.rotate(agent.id)
    old, new = bearer(agent.token), bearer(rotated.token)
    answers = [error_of(await world.visit("POST", "/search", old)) for _ in range(6)]
    assert answers == [(401, "TOKEN_ROTATED")] * 3 + [(429, "RATE_LIMITED")] * 3
    assert (await world.visit("POST", "/search", new)).status_code == 200
    # And the other way round: the agent itself is refused too often, its old token is only old.
    other = await world.agent()
    old = bearer(other.token)
    new = bearer((await world.kavach.agents.rotate(other.id)).token)
    asked = {"action": "write", "resource": "repos"}
    answers = [(await world.call("POST", "/authorize", new, json=asked)).status_code for _ in range(4)]
    assert answers == [200] * 3 + [429]
    assert error_of(await world.visit("POST", "/search", old)) == (401, "TOKEN_ROTATED")


@ONE_FRAMEWORK
async def test_a_test_key_is_refused_where_the_app_is_reached_over_https(open_world: OpenWorld) -> None:
    for settings, status in (({}, 200), (HTTPS, 401)):
        world = await open_world(**settings)
        key = await world.service("agents:read", test=True)
        assert (await world.call("GET", "/agents", key)).status_code == status


# The session cookie.


async def test_a_session_cookie_names_the_human_on_all_routes(world: World) -> None:
    browser = await world.browser()
    session = (await world.call("GET", "/session", browser)).json()
    assert (session["userId"], session["token"]) == ("alice", "")
    assert (await world.visit("POST", "/me", browser)).json()["id"] == "alice"
    assert (await world.visit("GET", "/session", browser)).json() == {"userId": "alice"}
    assert (await world.visit("GET", "/session")).json() == {"userId": None}


async def test_asking_for_the_session_is_never_an_error_of_the_app(world: World) -> None:
    browser = await world.browser()
    agent = await world.agent()
    for bad in ("Basic YWxpY2U6eA==", "Bearer", "", "Bearer kv_ses_x", f"Bearer {agent.token}", "Bearer eyJ.x.y"):
        answer = await world.visit("GET", "/session", {**browser, "authorization": bad})
        assert (answer.status_code, answer.json()) == (200, {"userId": None}), bad


async def test_a_bearer_session_is_echoed_and_a_sign_out_ends_it_on_the_server(world: World) -> None:
    human, browser = await world.human(), await world.browser()
    session = (await world.call("GET", "/session", human)).json()
    assert bearer(session["token"]) == human
    for caller in (human, browser):
        answer = await world.call("POST", "/sign-out", caller)
        assert answer.status_code == 204
        assert answer.headers["set-cookie"] == "kv_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        assert error_of(await world.call("GET", "/session", caller))[0] == 401


async def test_all_other_sessions_can_be_ended_at_once(world: World) -> None:
    here, there = await world.human(), await world.human()
    assert (await world.call("POST", "/sessions/revoke-others", here)).status_code == 204
    assert (await world.call("GET", "/session", here)).status_code == 200
    assert error_of(await world.call("GET", "/session", there)) == (401, "SESSION_REVOKED")


async def test_of_several_cookies_exactly_one_must_be_live(world: World) -> None:
    """Another site of the same domain can add cookies; which of two live ones is the user's cannot be told."""
    kavach = world.kavach
    first, second, ended = [await kavach.sessions.create(owner) for owner in ("alice", "bob", "carol")]
    await kavach.sessions.revoke(ended.id)
    one, two, dead, junk = (f"kv_session={token}" for token in (first.token, second.token, ended.token, "kv_ses_junk"))
    for lines, owner in (
        ([one], "alice"),
        ([f"a=b; {one}; c=d"], "alice"),
        (["a=b", one], "alice"),
        ([f'kv_session="{first.token}"'], "alice"),
        ([f"{one}; {one}"], "alice"),
        ([f"{dead}; {junk}; {one}"], "alice"),
        ([junk, one, dead], "alice"),
        ([f"{one}; {two}"], None),
        ([one, two], None),
        ([dead], None),
        (["kv_session="], None),
        (["kv_session"], None),
        ([f"KV_SESSION={first.token}"], None),
        ([f"__Host-{one}"], None),
        ([*(f"kv_session=kv_ses_{n}" for n in range(4)), one], None),
    ):
        headers = [("origin", ORIGIN), *(("cookie", line) for line in lines)]
        for path in ("/me", "/session"):
            answer = await world.client.get(path, headers=headers)
            if path == "/session":
                assert answer.json() == {"userId": owner}, lines
            elif owner is None:
                assert error_of(answer) == (401, "UNAUTHENTICATED"), lines
            else:
                assert answer.json()["id"] == owner, lines


async def test_on_https_only_the_cookie_that_siblings_cannot_set_counts(open_world: OpenWorld) -> None:
    world = await open_world(**HTTPS)
    token = (await world.kavach.sessions.create("alice")).token
    for name, status in (("__Host-kv_session", 200), ("kv_session", 401)):
        assert (await world.call("GET", "/session", {"cookie": f"{name}={token}"})).status_code == status
    gone = await world.call("POST", "/sign-out", {"cookie": f"__Host-kv_session={token}", "origin": HTTPS["base_url"]})
    said = "__Host-kv_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
    assert (gone.status_code, gone.headers["set-cookie"]) == (204, said)


# The app's own auth.


async def test_the_app_is_asked_once_per_request_and_sees_all_of_it(open_world: OpenWorld) -> None:
    resolver = Resolver()
    world = await open_world(resolve_user=resolver, guard={"protect": ["/me", "/whoami"]})
    for path in ("/me?q=1", "/whoami?q=1", "/api/kavach/agents?limit=1"):
        resolver.views.clear()
        assert (await world.visit("GET", path, {"x-app-user": "alice", "cookie": "a=1"})).status_code == 200
        (view,) = resolver.views
        assert (view.method, view.path, view.peer, view.cookies("a")) == (
            "GET",
            path.partition("?")[0],
            "127.0.0.1",
            ["1"],
        )


async def test_the_app_is_asked_once_for_nobody_too(open_world: OpenWorld) -> None:
    resolver = Resolver()
    world = await open_world(resolve_user=resolver)
    assert error_of(await world.call("GET", "/agents")) == (401, "UNAUTHENTICATED")
    assert len(resolver.views) == 1


async def test_the_app_failing_is_503_and_never_anybody(
    open_world: OpenWorld, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = Resolver()
    world = await open_world(resolve_user=resolver, guard={"protect": ["/dashboard/:path*"]})
    browser = await world.browser()
    for answer in (RuntimeError("ldap password hunter2"), 7, "", "a\x00b", "x" * 300, object()):
        resolver.answer = answer
        with caplog.at_level(logging.CRITICAL, "kavach"):
            for path in ("/api/kavach/agents", "/me", "/whoami", "/dashboard/x"):
                refused = await world.visit("GET", path, browser)
                assert error_of(refused) == (503, "RESOLVER_FAILED"), (path, answer)
                assert "hunter2" not in refused.text
    resolver.answer = "alice"
    assert (await world.visit("GET", "/me")).status_code == 200


@ONE_FRAMEWORK
async def test_why_the_app_failed_is_logged(open_world: OpenWorld, caplog: pytest.LogCaptureFixture) -> None:
    resolver = Resolver()
    world = await open_world(resolve_user=resolver)
    resolver.answer = RuntimeError("no route to the identity provider")
    await world.visit("GET", "/me")
    assert "no route to the identity provider" in caplog.text


async def test_a_bearer_that_is_not_ours_goes_to_the_app_alone(open_world: OpenWorld) -> None:
    resolver = Resolver()
    world = await open_world(resolve_user=resolver)
    browser = await world.browser("bob")
    known, unknown = {**browser, **bearer("app-alice")}, {**browser, **bearer("eyJ.x.y")}
    assert (await world.visit("GET", "/me", known)).json()["id"] == "alice"
    assert error_of(await world.visit("GET", "/me", unknown)) == (401, "UNKNOWN_CREDENTIAL")
    # The app sees no cookie it could fall back to, nor what a middleware may have made of one.
    assert [(view.all("cookie"), view.state) for view in resolver.views] == [([], {}), ([], {})]
    # It came by Authorization, which no page can make a browser send: no Origin is needed.
    assert (await world.visit("POST", "/me", bearer("app-alice"))).status_code == 200


@ONE_FRAMEWORK
@pytest.mark.parametrize(("first", "winner"), [("app", "alice"), ("session", "bob")])
async def test_who_is_asked_first_wins_and_the_second_only_fills_in(
    open_world: OpenWorld, first: str, winner: str
) -> None:
    world = await open_world(resolve_user=Resolver(), humans_from=first)
    browser, app_user = await world.browser("bob"), {"x-app-user": "alice"}
    assert (await world.visit("GET", "/me", {**browser, **app_user})).json()["id"] == winner
    assert (await world.visit("GET", "/me", browser)).json()["id"] == "bob"
    assert (await world.visit("GET", "/me", app_user)).json()["id"] == "alice"


async def test_a_human_without_a_kavach_session_has_none_to_read_or_end(open_world: OpenWorld) -> None:
    world = await open_world(resolve_user=Resolver())
    for method, path in (("GET", "/session"), ("POST", "/sign-out")):
        answer = await world.call(method, path, {"x-app-user": "alice", "origin": ORIGIN})
        assert error_of(answer) == (401, "UNAUTHENTICATED")


async def test_a_suspended_owner_may_nothing_however_they_come(open_world: OpenWorld) -> None:
    world = await open_world(resolve_user=Resolver(), grantable=["*:*"])
    human, browser, agent = await world.human(), await world.browser(), await world.agent()
    app_user = {"x-app-user": "alice", "origin": ORIGIN}
    key = await world.service()
    assert (await world.call("POST", "/owners/suspend", key, json={"ownerId": "alice"})).status_code == 204
    for caller in (human, browser, app_user):
        for path in ("/api/kavach/agents", "/me", "/whoami"):
            assert error_of(await world.visit("GET", path, caller)) == (403, "OWNER_SUSPENDED")
    assert error_of(await world.visit("GET", "/search", bearer(agent.token))) == (401, "OWNER_SUSPENDED")
    made = {"ownerId": "alice", "name": "x", "permissions": []}
    assert error_of(await world.call("POST", "/agents", key, json=made)) == (403, "OWNER_SUSPENDED")
    assert error_of(await world.call("POST", "/sessions", key, json={"userId": "alice"})) == (403, "OWNER_SUSPENDED")
    assert (await world.call("POST", "/owners/resume", key, json={"ownerId": "alice"})).status_code == 204
    for caller in (human, browser, app_user):
        assert (await world.visit("GET", "/me", caller)).status_code == 200
    assert (await world.visit("GET", "/search", bearer(agent.token))).status_code == 200


@ONE_FRAMEWORK
@pytest.mark.parametrize("base_url", [None, "http://localhost:8000", "http://127.0.0.1", "https://app.example"])
async def test_the_development_user_works_on_localhost_alone(
    framework: Framework, open_world: OpenWorld, base_url: str | None
) -> None:
    settings = {"resolve_user": dev_user("alice"), "base_url": base_url, "secret": "s" * 32}
    if base_url == "https://app.example":
        with pytest.raises(ConfigurationError, match="localhost"):
            await open_world(**settings)
        return
    world = await open_world(**settings)
    assert (await world.visit("GET", "/me")).json()["id"] == "alice"
    assert error_of(await world.visit("GET", "/me", bearer("x"))) == (401, "UNKNOWN_CREDENTIAL")
