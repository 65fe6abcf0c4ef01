"""`kv.identity`, `.human`, `.agent`, `.require`: a handler gets who is asking or never runs, on HTTP and on sockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from kavach_core import Agent
from tests.adapters.asgi import request, socket, stream
from tests.capabilities.support import limited
from tests.http.live import live
from tests.http.world import Headers, OpenWorld, World, bearer, error_of

#: For each verb, what each caller gets: a kind of identity, or the status of the refusal.
VERBS: dict[str, dict[str, str | int]] = {
    "whoami": {"nobody": 401, "human": "human", "browser": "human", "agent": "agent", "service": "service", "bad": 401},
    "me": {"nobody": 401, "human": "human", "browser": "human", "agent": 403, "service": 403, "bad": 401},
    "agent": {"nobody": 401, "human": 403, "browser": 403, "agent": "agent", "service": 403, "bad": 401},
    "search": {"nobody": 401, "human": 403, "browser": 403, "agent": "agent", "service": 403, "bad": 401},
}


async def _callers(world: World, agent: Agent) -> dict[str, Headers]:
    return {
        "nobody": {},
        "human": await world.human(),
        "browser": await world.browser(),
        "agent": bearer(agent.token),
        "service": await world.service(),
        "bad": bearer("kv_agt_x"),
    }


async def test_on_http_each_verb_lets_in_whom_it_names(world: World) -> None:
    callers = await _callers(world, await world.agent())
    for verb, expected in VERBS.items():
        for name, headers in callers.items():
            answer = await world.visit("POST", f"/{verb}", headers)
            got = answer.json()["kind"] if answer.status_code == 200 else error_of(answer)[0]
            assert got == expected[name], (verb, name)


@pytest.mark.parametrize("can_answer", [True, False])
async def test_on_websockets_each_verb_lets_in_whom_it_names(world: World, can_answer: bool) -> None:
    callers = await _callers(world, await world.agent())
    for verb, expected in VERBS.items():
        for name, headers in callers.items():
            async with socket(world.app, f"/ws/{verb}", headers, can_answer=can_answer) as opened:
                got = (await opened.json())["kind"] if opened.refused is None else opened.refused
                assert got == expected[name], (verb, name)
                assert (opened.body is not None) == (can_answer and opened.refused is not None)
                assert opened.body is None or set(opened.body["error"]) == {"code", "message", "details"}


async def test_on_a_server_a_refused_handshake_is_an_http_answer_with_the_error(world: World) -> None:
    async with live(world.app) as url:
        for headers, expected in (({}, (401, "UNAUTHENTICATED")), (await world.human(), (403, "CALLER_NOT_ALLOWED"))):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{url.replace('http', 'ws')}/ws/agent", additional_headers=headers, proxy=None)
            answer = refused.value.response
            assert (answer.status_code, json.loads(answer.body or b"")["error"]["code"]) == expected


async def test_a_page_of_another_site_opens_no_socket_as_the_user(world: World) -> None:
    """A browser sends cookies with a handshake from any page, and CORS does not apply to it."""
    browser = await world.browser()
    for verb in ("whoami", "me"):
        for origin in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
            async with socket(world.app, f"/ws/{verb}", {"cookie": browser["cookie"], **origin}) as opened:
                assert opened.refused == 403
        async with socket(world.app, f"/ws/{verb}", {**browser, "sec-fetch-site": "cross-site"}) as opened:
            assert opened.refused is None


async def test_require_on_a_socket_records_one_decision_for_its_opening(world: World) -> None:
    agent = await world.agent(limited("repos", "read", maxCallsPerHour=1))
    async with socket(world.app, "/ws/search", bearer(agent.token)) as opened:
        said = await opened.json()
    async with socket(world.app, "/ws/search", bearer(agent.token)) as again:
        assert again.refused == 429
    entries = (await world.kavach.audit.query()).items
    assert [entry.result for entry in entries] == ["rate_limited", "allowed"]
    assert said["auditId"] == entries[1].id


async def test_each_message_of_a_socket_can_be_decided(world: World) -> None:
    agent = await world.agent("read:repos")
    async with socket(world.app, "/ws/each", bearer(agent.token)) as opened:
        for permission, code in (("read:repos", "ALLOWED"), ("write:repos", "NOT_GRANTED")):
            await opened.send(permission)
            assert await opened.json() == {"code": code}
        await world.kavach.agents.revoke(agent.id)
        await opened.send("read:repos")
        assert await opened.json() == {"code": "AGENT_REVOKED"}
    assert len(await world.kavach.audit.query()) == 3
    for bad in ({}, bearer("kv_agt_x"), {"authorization": "Basic x"}, await world.human()):
        async with socket(world.app, "/ws/each", bad) as opened:
            await opened.send("read:repos")
            assert await opened.json() == {"code": "MALFORMED_CREDENTIAL"}


async def test_each_server_sent_event_can_be_decided(world: World) -> None:
    agent = await world.agent("read:repos")
    asgi = {"version": "3.0", "spec_version": "2.3"}
    async with stream(world.app, "/events", bearer(agent.token), asgi=asgi) as opened:
        await world.kavach.agents.revoke(agent.id)
        await asyncio.wait_for(opened.ended.wait(), 5)
    told = b"".join(opened.chunks).decode().split()[1::2]
    assert told[0] == "ALLOWED" and told.index("AGENT_REVOKED") == len(told) - 1
    assert [entry.code for entry in await world.kavach.audit.query()][::-1] == told
    answer = await world.visit("GET", "/events")
    assert answer.text == "data: MALFORMED_CREDENTIAL\n\n"
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_the_identity_travels_in_the_scope_and_shows_in_the_frameworks_own_state(open_world: OpenWorld) -> None:
    world = await open_world(guard={"protect": ["/dashboard/:path*"], "allow": ["human", "agent"]})
    agent = await world.agent()
    for headers, kind in ((await world.browser(), "human"), (bearer(agent.token), "agent")):
        seen = (await world.visit("GET", "/dashboard/x", headers)).json()
        assert (seen["kind"], seen["same"]) == (kind, True)
        async with socket(world.app, "/dashboard/ws", headers) as opened:
            seen = await opened.json()
            assert (seen["kind"], seen["same"]) == (kind, True)
    assert (await world.visit("GET", "/seen", await world.browser())).json()["kind"] is None, "nobody asked"


async def test_a_state_that_the_server_shares_between_requests_carries_no_identity(open_world: OpenWorld) -> None:
    world = await open_world(guard={"protect": ["/dashboard/:path*"]})
    shared: dict[str, object] = {"from_lifespan": 1}
    browser = await world.browser()
    assert (await request(world.app, "/dashboard/x", browser, state=shared))[1]["kind"] == "human"
    assert (await request(world.app, "/me", browser, state=shared))[0] == 200
    assert shared == {"from_lifespan": 1}
    for path, status in (("/dashboard/x", 401), ("/me", 401), ("/whoami", 401)):
        assert (await request(world.app, path, state=shared))[0] == status
    # Not even one that was left there.
    shared["kavach_identity"] = "somebody"
    assert (await request(world.app, "/me", state=shared))[0] == 401
    assert (await request(world.app, "/dashboard/x", state=shared))[0] == 401
