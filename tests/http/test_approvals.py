"""Approvals over HTTP: refused routes name them, humans answer for their own agents, agents look and wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kavach_core import Agent
from kavach_core.errors import ResolverFailed
from tests.capabilities.support import dump, limited
from tests.http.conftest import ONE_FRAMEWORK
from tests.http.world import OpenWorld, World, bearer, error_of

INVALID, NOT_FOUND = (400, "INVALID_INPUT"), (404, "NOT_FOUND")
CONSENT = limited("repos", "read", requireApproval=True)
READ = {"action": "read", "resource": "repos"}


async def asked(world: World, agent: Agent, **arguments: Any) -> str:
    """Have a call ask its human; returns the approval."""
    said = await world.call("POST", "/authorize", bearer(agent.token), json={**READ, "arguments": arguments or None})
    assert said.status_code == 200 and said.json()["code"] == "APPROVAL_REQUIRED"
    return str(said.json()["approvalId"])


async def test_a_guarded_route_is_403_with_the_approval_until_somebody_agrees(stored_world: World) -> None:
    world = stored_world
    agent, human = await world.agent(CONSENT), await world.human()
    refused = await world.visit("POST", "/search", bearer(agent.token))
    assert error_of(refused) == (403, "APPROVAL_REQUIRED") and "retry-after" not in refused.headers
    details = refused.json()["error"]["details"]
    approval_id = details["approvalId"]
    assert details == {**READ, "auditId": details["auditId"], "approvalId": approval_id}
    again = await world.visit("POST", "/search", bearer(agent.token))
    assert again.json()["error"]["details"]["approvalId"] == approval_id
    agreed = await world.call("POST", f"/approvals/{approval_id}/approve", human)
    assert (agreed.status_code, agreed.json()["status"], agreed.json()["decidedBy"]) == (200, "approved", "alice")
    passed = await world.visit("POST", "/search", bearer(agent.token))
    assert passed.status_code == 200
    used = (await world.call("GET", f"/approvals/{approval_id}", bearer(agent.token))).json()
    assert (used["status"], used["auditId"]) == ("used", passed.json()["auditId"])
    entries = (await world.call("GET", "/audit", human)).json()
    assert [entry["approvalId"] for entry in entries] == [approval_id] * 3
    third = await world.visit("POST", "/search", bearer(agent.token))
    denied_id = third.json()["error"]["details"]["approvalId"]
    assert denied_id != approval_id
    assert (await world.call("POST", f"/approvals/{denied_id}/deny", human)).json()["status"] == "denied"
    refused = await world.visit("POST", "/search", bearer(agent.token))
    assert error_of(refused) == (403, "APPROVAL_DENIED")
    assert refused.json()["error"]["details"]["approvalId"] == denied_id


async def test_who_waits_is_answered_when_somebody_decides(stored_world: World) -> None:
    world = stored_world
    agent = await world.agent(CONSENT)
    approval_id = await asked(world, agent, to="bob")
    waiting = asyncio.create_task(world.call("GET", f"/approvals/{approval_id}?wait=30", bearer(agent.token)))
    await asyncio.sleep(0)
    answered = await world.call("POST", f"/approvals/{approval_id}/approve", await world.human())
    told = await waiting
    assert told.status_code == 200 and told.json() == answered.json()
    assert (told.json()["arguments"], told.json()["status"]) == ({"to": "bob"}, "approved")
    for wait in ("31", "-1", "x", "1.5", ""):
        refused = await world.call("GET", f"/approvals/{approval_id}?wait={wait}", bearer(agent.token))
        assert error_of(refused) == INVALID and refused.json()["error"]["details"] == {"field": "wait"}


@ONE_FRAMEWORK
async def test_only_the_owner_and_keys_answer_and_only_once(world: World) -> None:
    """What is foreign looks like what is not there; no agent answers, its own questions least of all."""
    agent, peer = await world.agent(CONSENT), await world.agent(CONSENT)
    approval_id = await asked(world, agent)
    mallory, mallorys = await world.human("mallory"), await world.agent(CONSENT, owner="mallory")
    reader = await world.service("approvals:read")
    before = await dump(world.kavach)
    for verb in ("approve", "deny"):
        path = f"/approvals/{approval_id}/{verb}"
        for token in (agent.token, peer.token, mallorys.token):
            assert error_of(await world.call("POST", path, bearer(token))) == (403, "CALLER_NOT_ALLOWED")
        assert error_of(await world.call("POST", path, mallory)) == NOT_FOUND
        assert error_of(await world.call("POST", path, reader)) == (403, "SCOPE_MISSING")
    for caller in (bearer(peer.token), bearer(mallorys.token), mallory):
        assert error_of(await world.call("GET", f"/approvals/{approval_id}", caller)) == NOT_FOUND
        refused = await world.call("GET", f"/approvals?agentId={agent.id}", caller)
        assert error_of(refused) == NOT_FOUND
        assert (await world.call("GET", "/approvals", caller)).json() == []
        assert (await world.call("GET", "/approvals?userId=alice", caller)).json() == []
    assert await dump(world.kavach) == before
    key = await world.service("approvals:write")
    answered = await world.call("POST", f"/approvals/{approval_id}/deny", key)
    assert answered.status_code == 200 and answered.json()["decidedBy"].startswith("key_")
    for verb in ("approve", "deny"):
        late = await world.call("POST", f"/approvals/{approval_id}/{verb}", await world.human())
        assert error_of(late) == (409, "FINAL_STATE")
        assert late.json()["error"]["details"] == {"status": "denied"}


@ONE_FRAMEWORK
async def test_what_is_shown_is_exact_in_a_browser_too_and_says_what_is_hidden(world: World) -> None:
    """JavaScript rounds such a number; and a caller may write what the server puts in the place of a secret."""
    agent = await world.agent(CONSENT)
    hidden = {"a/b~c": [{"apiToken": "x"}], "to": "[redacted]"}
    approval_id = await asked(world, agent, account=2**63 + 1, **hidden)
    shown = (await world.call("GET", f"/approvals/{approval_id}", await world.human())).json()
    assert shown["agentName"] == "agent"
    assert shown["argumentsJson"] == (
        '{"a/b~c":[{"apiToken":"[redacted]"}],"account":9223372036854775809,"to":"[redacted]"}'
    )
    assert shown["redacted"] == ["/a~1b~0c/0/apiToken"]
    bare = (await world.call("GET", f"/approvals/{await asked(world, agent)}", bearer(agent.token))).json()
    assert (bare["arguments"], bare["argumentsJson"], bare["redacted"]) == (None, None, [])


@ONE_FRAMEWORK
async def test_a_browser_answers_from_a_page_of_the_app_alone(world: World) -> None:
    approval_id = await asked(world, await world.agent(CONSENT))
    path, browser = f"/approvals/{approval_id}/approve", await world.browser()
    for origin in ("https://evil.example", "null"):
        assert error_of(await world.call("POST", path, {**browser, "origin": origin})) == (403, "ORIGIN_REFUSED")
    assert (await world.kavach.approvals.get(approval_id)).status == "pending"
    assert (await world.call("POST", path, browser)).status_code == 200


@ONE_FRAMEWORK
async def test_lists_show_each_their_own(world: World) -> None:
    agent, peer, stranger = (
        await world.agent(CONSENT),
        await world.agent(CONSENT),
        await world.agent(CONSENT, owner="bob"),
    )
    mine, peers, strangers = [await asked(world, each) for each in (agent, peer, stranger)]
    await world.kavach.approvals.approve(peers, by="alice")

    async def listed(caller: dict[str, str], query: str = "") -> list[str]:
        return [each["id"] for each in (await world.call("GET", f"/approvals{query}", caller)).json()]

    human, service = await world.human(), await world.service("approvals:read")
    assert await listed(bearer(agent.token)) == [mine]
    assert await listed(human) == await listed(service, "?userId=alice") == [peers, mine]
    assert await listed(service) == [strangers, peers, mine]
    assert await listed(human, "?status=pending") == [mine]
    assert await listed(human, f"?agentId={peer.id}") == [peers]
    for query in ("status=open", "status=", "limit=-1", "userId=%00", "agentId=%00", "unheardOf=1"):
        assert error_of(await world.call("GET", f"/approvals?{query}", service)) == INVALID, query
    for text in ("a", "apr_" + "0" * 32, agent.id):
        for method, path in (("GET", ""), ("POST", "/approve"), ("POST", "/deny")):
            refused = await world.call(method, f"/approvals/{text}{path}", human)
            assert error_of(refused) == NOT_FOUND, text


async def test_too_many_questions_and_too_large_ones_are_403(world: World) -> None:
    agent = await world.agent(CONSENT)
    for number in range(20):
        await asked(world, agent, n=number)
    refused = await world.visit("POST", "/search", bearer(agent.token))
    assert error_of(refused) == (403, "TOO_MANY_APPROVALS")
    assert set(refused.json()["error"]["details"]) == {"action", "resource", "auditId"}


@pytest.mark.parametrize("failure", [KeyError, asyncio.CancelledError])
async def test_an_app_that_cannot_say_what_its_human_may_is_503(
    open_world: OpenWorld, failure: type[BaseException]
) -> None:
    """With the code of that, and nothing is allowed or recorded."""

    async def owner_permissions(owner_id: str) -> list[str]:
        raise failure(owner_id)

    world = await open_world(owner_permissions=owner_permissions)
    agent = await world.agent()
    for answer in (
        await world.visit("POST", "/search", bearer(agent.token)),
        await world.call("POST", "/authorize", bearer(agent.token), json=READ),
        await world.call("POST", f"/agents/{agent.id}/authorize", await world.human(), json=READ),
    ):
        assert error_of(answer) == (503, ResolverFailed.code)
        assert int(answer.headers["retry-after"]) > 0
    assert (await world.kavach.audit.query()).total == 0
