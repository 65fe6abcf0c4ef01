"""Decisions over HTTP: answered, guarded, explained, and each one recorded once, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from kavach_core import AuditEntry
from kavach_core.primitives import tokens
from kavach_core.primitives.tokens import TokenKind
from tests.capabilities.support import limited
from tests.http.world import NO_AGENT, OpenWorld, World, bearer, client_of, error_of

READ = {"action": "read", "resource": "repos"}
WRITE = {"action": "write", "resource": "repos"}


async def test_a_question_that_is_answered_is_200_and_leaves_exactly_one_row(stored_world: World) -> None:
    agent = await stored_world.agent("read:repos", "read:issues")
    human, service, itself = await stored_world.human(), await stored_world.service(), bearer(agent.token)
    ways: list[tuple[dict[str, str], str, dict[str, Any]]] = [
        (itself, "/authorize", {}),
        (itself, "/authorize", {"agentId": agent.id}),
        (itself, f"/agents/{agent.id}/authorize", {}),
        (human, f"/agents/{agent.id}/authorize", {}),
        (human, "/authorize", {"agentId": agent.id}),
        (service, f"/agents/{agent.id}/authorize", {}),
    ]
    for caller, path, more in ways:
        for asked, allowed, code in ((READ, True, "ALLOWED"), (WRITE, False, "NOT_GRANTED")):
            before = await _record(stored_world)
            answer = await stored_world.call("POST", path, caller, json={**asked, **more})
            assert answer.status_code == 200
            said = answer.json()
            assert (said["allowed"], said["code"]) == (allowed, code) and said["reason"] and said["explanation"] is None
            (entry,) = [found for found in await _record(stored_world) if found not in before]
            assert said["auditId"] == entry.id and entry.code == code
            assert (entry.agent_id, entry.owner_id) == (agent.id, "alice")
            assert [str(permission.resource) for permission in entry.permissions] == ["issues", "repos"]
            assert [link.agent_id for link in entry.path] == [agent.id] and entry.duration >= 0


async def test_the_row_of_a_delegated_call_shows_the_chain_from_the_root(stored_world: World) -> None:
    root = await stored_world.agent()
    chain = [(root.id, None)]
    token = bearer(root.token)
    for _ in range(2):
        child = await stored_world.call(
            "POST", f"/agents/{chain[-1][0]}/delegate", token, json={"permissions": ["read:repos"]}
        )
        token = bearer(child.json()["token"])
        chain.append((child.json()["id"], child.json()["delegationId"]))
    said = (await stored_world.call("POST", "/authorize", token, json=READ)).json()
    (entry,) = [found for found in await _record(stored_world) if found.id == said["auditId"]]
    assert [(link.agent_id, link.delegation_id) for link in entry.path] == chain
    listed = (await stored_world.call("GET", "/audit", await stored_world.human(), params={"limit": 1})).json()[0]
    assert [(link["agentId"], link["delegationId"]) for link in listed["path"]] == chain
    assert listed["userId"] == "alice" and listed["result"] == "allowed"
    # Cutting the chain anywhere ends all below it on the next call.
    assert (await stored_world.call("DELETE", f"/delegations/{chain[1][1]}", bearer(root.token))).status_code == 204
    assert error_of(await stored_world.call("POST", "/authorize", token, json=READ)) == (401, "CHAIN_CUT")
    trace = (await stored_world.call("GET", f"/agents/{root.id}/trace", await stored_world.human())).json()
    assert [(e["agentId"], e["code"]) for e in trace] == [(chain[2][0], "ALLOWED"), (chain[2][0], "CHAIN_CUT")]


async def test_a_guarded_route_lets_in_refuses_and_records(stored_world: World) -> None:
    allowed, denied = await stored_world.agent("read:repos"), await stored_world.agent("read:issues")
    answer = await stored_world.visit("POST", "/search", bearer(allowed.token))
    assert answer.status_code == 200 and answer.json()["id"] == allowed.id
    refused = await stored_world.visit("POST", "/search", bearer(denied.token))
    assert error_of(refused) == (403, "NOT_GRANTED")
    details = refused.json()["error"]["details"]
    assert details == {"action": "read", "resource": "repos", "auditId": details["auditId"]}
    recorded = [
        (entry.id, entry.agent_id, entry.action, entry.resource, entry.result) for entry in await _record(stored_world)
    ]
    assert recorded == [
        (answer.json()["auditId"], allowed.id, "read", "repos", "allowed"),
        (details["auditId"], denied.id, "read", "repos", "denied"),
    ]


async def test_a_guarded_route_is_429_in_whole_seconds_when_a_rate_is_used_up(stored_world: World) -> None:
    agent = await stored_world.agent(limited("repos", "read", maxCallsPerHour=2))
    stored_world.clock.advance("30s")
    statuses = [(await stored_world.visit("POST", "/search", bearer(agent.token))).status_code for _ in range(2)]
    refused = await stored_world.visit("POST", "/search", bearer(agent.token))
    assert statuses == [200, 200] and error_of(refused) == (429, "RATE_LIMITED")
    assert refused.headers["retry-after"].isdecimal() and 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.json()["error"]["details"]["auditId"] == (await _record(stored_world))[-1].id
    assert (await _record(stored_world))[-1].result == "rate_limited"
    # Asked as a question it is an answer.
    said = (await stored_world.call("POST", "/authorize", bearer(agent.token), json=READ)).json()
    assert (said["allowed"], said["code"]) == (False, "RATE_LIMITED") and said["retryAfter"] > 0
    stored_world.clock.advance("1h")
    assert (await stored_world.visit("POST", "/search", bearer(agent.token))).status_code == 200


async def test_a_dead_token_at_a_guarded_route_is_401_with_its_record(world: World) -> None:
    agent = await world.agent()
    await world.kavach.agents.revoke(agent.id)
    for path in ("/search", "/agent", "/whoami"):
        refused = await world.visit("POST", path, bearer(agent.token))
        assert error_of(refused) == (401, "AGENT_REVOKED")
        assert refused.json()["error"]["details"]["auditId"] == (await _record(world))[-1].id
    for path in ("/search", "/agent"):
        assert error_of(await world.visit("POST", path)) == (401, "UNAUTHENTICATED")
        for other in (await world.human(), await world.service()):
            assert error_of(await world.visit("POST", path, other)) == (403, "CALLER_NOT_ALLOWED")
    for other in (bearer(agent.token), await world.service()):
        assert (await world.visit("POST", "/me", other)).status_code in (401, 403)


async def test_the_arguments_bind_and_are_recorded_without_their_secrets(world: World) -> None:
    agent = await world.agent(limited("files", "read", allowedArgPatterns=["path=/docs/*"]))
    token = bearer(agent.token)
    for arguments, code in (
        ({"path": "/docs/a"}, "ALLOWED"),
        ({"path": "/etc/passwd"}, "ARGUMENT_NOT_ALLOWED"),
        ({"path": ["/docs/a"]}, "ARGUMENT_NOT_ALLOWED"),
        ({}, "ARGUMENT_NOT_ALLOWED"),
        (None, "ARGUMENT_NOT_ALLOWED"),
    ):
        asked = {"action": "read", "resource": "files", "arguments": arguments}
        assert (await world.call("POST", "/authorize", token, json=asked)).json()["code"] == code, arguments
    secret = {"path": "/docs/a", "password": "hunter2", "deep": {"Token": "hunter3"}}
    await world.call("POST", "/authorize", token, json={"action": "read", "resource": "files", "arguments": secret})
    exported = (await world.call("GET", "/audit/export", await world.human())).text
    assert "hunter" not in exported and "[redacted]" in exported


async def test_where_a_call_came_from_is_told_by_keys_alone(world: World) -> None:
    agent = await world.agent(limited("repos", "read", ipAllowlist=["203.0.113.0/24"]))
    told = {**READ, "agentId": agent.id, "context": {"ip": "203.0.113.7", "userAgent": "crawler"}}
    codes = {
        kind: (await world.call("POST", "/authorize", caller, json=told)).json()["code"]
        for kind, caller in (
            ("agent", bearer(agent.token)),
            ("human", await world.human()),
            ("service", await world.service()),
        )
    }
    assert codes == {"agent": "ADDRESS_NOT_ALLOWED", "human": "ADDRESS_NOT_ALLOWED", "service": "ALLOWED"}
    last = (await _record(world))[-1]
    assert (last.address, last.user_agent) == ("203.0.113.7", "crawler")
    # A key that says nothing knows nothing: its own address is not the agent's.
    silent = await world.call("POST", "/authorize", await world.service(), json={**READ, "agentId": agent.id})
    assert silent.json()["code"] == "ADDRESS_NOT_ALLOWED" and (await _record(world))[-1].address is None


async def test_forwarded_addresses_count_from_trusted_proxies_alone(open_world: OpenWorld) -> None:
    others = [("x-real-ip", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("cf-connecting-ip", "192.0.2.1")]
    for trusted, peer, forwarded, address in (
        ([], "198.51.100.9", ["203.0.113.7"], "198.51.100.9"),
        (["10.0.0.0/8"], "198.51.100.9", ["203.0.113.7"], "198.51.100.9"),
        (["10.0.0.0/8"], "10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4", "203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["203.0.113.7, nonsense"], None),
        (["::1/128"], "::1", ["2001:db8::7"], "2001:db8::7"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ([], "testclient", [], None),
    ):
        world = await open_world(trusted_proxies=trusted)
        agent = await world.agent()
        headers = [("authorization", f"Bearer {agent.token}"), *(("x-forwarded-for", line) for line in forwarded)]
        async with client_of(world.app, peer=peer) as client:
            assert (await client.post("/search", headers=[*headers, *others])).status_code == 200
        assert (await _record(world))[-1].address == address, (trusted, peer, forwarded)


async def test_a_dry_run_explains_consumes_nothing_and_leaves_one_row_marked_so(world: World) -> None:
    agent = await world.agent(limited("repos", "read", maxCallsPerHour=1))
    readable = await world.service("authorize", "audit:read")
    for caller in (await world.human(), readable):
        for asked, code in ((READ, "ALLOWED"), (WRITE, "NOT_GRANTED")):
            said = await _ask(world, caller, agent.id, {**asked, "dryRun": True})
            assert said.status_code == 200 and said.json()["code"] == code
            explanation = said.json()["explanation"]
            assert [grant["source"] for grant in explanation["lookedAt"]] == ["own"] and explanation["wouldPass"]
            entry = (await _record(world))[-1]
            assert entry.dry_run and entry.id == said.json()["auditId"]
    assert len(await _record(world)) == 4
    assert (await _ask(world, await world.human(), agent.id, READ)).json()["allowed"] is True, "nothing was used up"


async def test_a_dry_run_is_not_for_agents_nor_for_keys_without_the_scope(world: World) -> None:
    agent = await world.agent()
    dry = {**READ, "dryRun": True}
    for path in ("/authorize", f"/agents/{agent.id}/authorize"):
        refused = await world.call("POST", path, bearer(agent.token), json=dry)
        assert error_of(refused) == (403, "CALLER_NOT_ALLOWED")
    assert error_of(await _ask(world, await world.service("authorize"), agent.id, dry)) == (403, "SCOPE_MISSING")
    reader = await world.service("audit:read")
    assert error_of(await _ask(world, reader, agent.id, READ)) == (403, "SCOPE_MISSING")
    assert error_of(await _ask(world, reader, NO_AGENT, READ)) == (403, "SCOPE_MISSING")
    assert await _record(world) == []
    assert (await _ask(world, reader, agent.id, dry)).json()["explanation"]["wouldPass"] == "Nothing is missing."


async def test_a_request_id_or_traceparent_is_recorded(world: World) -> None:
    token = bearer((await world.agent()).token)
    for headers in ({"x-request-id": "r-1"}, {"traceparent": "00-abc-def-01"}):
        await world.visit("POST", "/search", {**token, "user-agent": "tool/1", **headers})
        entry = (await _record(world))[-1]
        assert (entry.request_id, entry.user_agent) == (next(iter(headers.values())), "tool/1")


async def test_a_credential_of_nobody_is_counted_and_never_a_row(world: World) -> None:
    unknown = bearer(tokens.mint(TokenKind.AGENT).token)
    for path in ("/search", "/agent"):
        assert error_of(await world.visit("POST", path, unknown)) == (401, "UNKNOWN_CREDENTIAL")
    assert await _record(world) == []
    assert await world.kavach.limits.unknown_credentials("127.0.0.1") == 2


async def _ask(world: World, caller: dict[str, str], agent_id: str, body: dict[str, Any]) -> httpx.Response:
    return await world.call("POST", f"/agents/{agent_id}/authorize", caller, json=body)


async def _record(world: World) -> Sequence[AuditEntry]:
    """The whole record, oldest first."""
    return list(reversed((await world.kavach.audit.query(limit=1000)).items))
