"""Bad input is answered with the error body and the right status, and not one row changes, on either database."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest

from kavach_core.api.models import EmptyIn
from kavach_core.api.operation import Caller
from kavach_core.api.table import TABLE
from kavach_core.testing import FrozenClock
from tests.capabilities.support import count, dump
from tests.http.conftest import ON_BOTH_DATABASES
from tests.http.examples import Cast, make_cast
from tests.http.world import NO_AGENT, NO_DELEGATION, Headers, World, bearer, error_of

#: Bodies and queries are read below the adapters, whose answers test_parity compares.
pytestmark = ON_BOTH_DATABASES

INVALID = (400, "INVALID_INPUT")
NOT_FOUND = (404, "NOT_FOUND")
_ONE_TEXT = 'A permission in one text is "action:resource".'
_NOT_READ = "This must show something, and in one direction."
_UNCLEAN = "Control characters and surrogates are not accepted here."
#: As JSON escapes, which is how they get past a decoder: NUL, controls, lone surrogates, separators.
UNCLEAN = ("\\u0000", "a\\u0000b", "a\\u0007", "a\\nb", "\\u007f", "\\u0085", "\\ud800", "a\\udfffb", "a\\u2028b")


class Bad(NamedTuple):
    """One bad call and its answer."""

    method: str
    path: str
    body: str | None
    answer: tuple[int, str]


@pytest.fixture
async def world(stored_world: World) -> World:
    return stored_world


async def test_bad_input_is_refused_and_changes_nothing(world: World) -> None:
    cast = await make_cast(world)
    service = await world.service()
    await world.kavach.authorize(cast.agent, action="read", resource="repos")
    before = await dump(world.kavach)
    for caller, calls in (
        (cast.as_human, [*_agents(cast), *_questions(cast), *_unclean(cast), *_queries(cast), *_ids()]),
        (service, [*_agents(cast), *_unclean_for_services(), *_keys()]),
    ):
        for bad in calls:
            answer = await _send(world, bad, caller)
            told = f"{bad.method} {bad.path[:80]} {(bad.body or '')[:80]}"
            assert not answer.is_success, f"{told} was accepted: {answer.text}"
            assert error_of(answer) == bad.answer, f"{told} was answered {answer.text}"
    assert await dump(world.kavach) == before


async def test_an_operation_that_needs_to_be_told_nothing_leaves_out_nothing_it_is_told(world: World) -> None:
    """Approved is approved: who says `{"status": "denied"}` or `{"onlyIf": ...}` to it has meant something else."""
    untold = [operation for operation in TABLE if operation.body is EmptyIn]
    assert {"approve", "deny", "suspendProject"} <= {operation.name for operation in untold}
    service, human = await world.service(), await world.human()
    before = await dump(world.kavach)
    for operation in untold:
        caller = service if Caller.SERVICE in operation.callers else human
        path = operation.path.replace("{id}", "x")
        for wrong in (b'{"onlyIf":1}', b"{broken", b"[]"):
            headers = {**caller, "content-type": "application/json"}
            answer = await world.call(operation.method, path, headers, content=wrong)
            assert error_of(answer) == INVALID, (operation.name, wrong)
    assert await dump(world.kavach) == before


async def test_delegating_too_much_is_refused_and_changes_nothing(world: World, clock: FrozenClock) -> None:
    limited = {"resource": "files", "actions": ["read"], "constraints": {"maxCallsPerHour": 5}}
    giver = await world.agent("read:repos", limited, expires_at=clock.now + timedelta(hours=1))
    chain = [giver]
    for _ in range(3):
        child = await world.kavach.agents.delegate(from_=chain[-1].id, permissions=["read:repos"])
        chain.append(child)
    short = await world.agent(expires_at=clock.now + timedelta(seconds=1))
    peer = await world.agent()
    human = await world.human()
    clock.advance("2s")
    before = await dump(world.kavach)
    free = {**limited, "constraints": {}}
    looser = {**limited, "constraints": {"maxCallsPerHour": 6}}
    for source, target, permissions, answer in (
        (giver, peer, ["write:repos"], (403, "WIDENS")),
        (giver, peer, ["read:*"], (403, "WIDENS")),
        (giver, peer, ["*:repos"], (403, "WIDENS")),
        (giver, peer, [looser], (403, "WIDENS")),
        (giver, giver, ["read:repos"], (403, "CYCLE")),
        (chain[2], giver, ["read:repos"], (403, "CYCLE")),
        (chain[3], peer, ["read:repos"], (403, "TOO_DEEP")),
        (giver, peer, [f"read:r{n}" for n in range(201)], INVALID),
        (giver, peer, [], INVALID),
        (short, peer, ["read:repos"], (409, "FINAL_STATE")),
        (giver, short, ["read:repos"], (409, "FINAL_STATE")),
    ):
        body = {"fromAgent": source.id, "toAgent": target.id, "permissions": permissions}
        assert error_of(await world.call("POST", "/delegations", human, json=body)) == answer, (permissions, answer)
    for source, body, answer in (
        (giver, {"permissions": ["write:repos"]}, (403, "WIDENS")),
        (chain[3], {"permissions": ["read:repos"]}, (403, "TOO_DEEP")),
        (giver, {"permissions": ["read:repos"], "maxDepth": 4}, (403, "TOO_DEEP")),
        (giver, {"permissions": ["read:repos"], "maxDepth": -1}, INVALID),
        (giver, {"permissions": ["read:repos"], "maxDepth": 10**30}, (403, "TOO_DEEP")),
        (giver, {"permissions": ["read:repos"], "ttl": "-1h"}, INVALID),
        (short, {"permissions": ["read:repos"]}, (409, "FINAL_STATE")),
    ):
        answered = await world.call("POST", f"/agents/{source.id}/delegate", human, json=body)
        assert error_of(answered) == answer, (body, answered.text)
    assert await dump(world.kavach) == before
    # A constraint that is left out is inherited, so this one is not widening.
    kept = await world.call("POST", f"/agents/{giver.id}/delegate", human, json={"permissions": [free]})
    assert kept.status_code == 201


async def test_free_text_is_kept_with_what_is_unclean_escaped(world: World) -> None:
    agent = await world.agent()
    asked = '{"action": "read", "resource": "repos", "arguments": {"q": "a\\u0000\\ud800b"}}'
    answer = await _send(world, Bad("POST", "/authorize", asked, (200, "")), bearer(agent.token))
    assert answer.json()["allowed"] is True
    purpose = '{"permissions": ["read:repos"], "purpose": "why\\u0000\\ud800 not"}'
    child = await _send(world, Bad("POST", f"/agents/{agent.id}/delegate", purpose, (201, "")), bearer(agent.token))
    assert child.status_code == 201
    for path in ("/audit", f"/delegations/{agent.id}", "/audit/export", "/audit/export?format=csv"):
        assert (await world.call("GET", path, await world.human())).status_code == 200
    entry = (await world.call("GET", "/audit", bearer(agent.token))).json()[0]
    assert entry["parameters"] == {"q": "a\x00\ud800b"}


async def test_metadata_may_hold_any_text_and_every_answer_carries_it(world: World) -> None:
    """A lone surrogate among it, which JSON can write and UTF-8 cannot."""
    human = await world.human()
    made = await _send(world, Bad("POST", "/agents", '{"name": "x", "metadata": {"\\ud800": "a"}}', (201, "")), human)
    assert (made.status_code, made.json()["metadata"]) == (201, {"\ud800": "a"}) and r'"\ud800"' in made.text
    changed = f"/agents/{made.json()['id']}"
    answer = await _send(world, Bad("PATCH", changed, '{"metadata": {"b": "\\udfff"}}', (200, "")), human)
    assert (answer.status_code, answer.json()["metadata"]) == (200, {"b": "\udfff"})
    for path in ("/agents", changed):
        answer = await world.call("GET", path, human)
        assert answer.status_code == 200 and r'{"b":"\udfff"}' in answer.text


async def test_the_first_and_last_times_there_are_only_times(world: World) -> None:
    human = await world.human()
    for end in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59.999999-14:00"):
        for name in ("since", "until"):
            assert (await world.call("GET", f"/audit?{name}={end}", human)).status_code == 200
    answer = await world.call(
        "POST", "/agents", human, json={"name": "x", "expiresAt": "9999-12-31T23:59:59.999999-14:00"}
    )
    assert answer.status_code == 201


async def test_where_a_call_came_from_is_kept_with_what_is_unclean_escaped(world: World) -> None:
    token = bearer((await world.agent()).token)
    odd = {**token, "user-agent": "x\x7fy", "x-request-id": "i" * 5000}
    assert (await world.visit("POST", "/search", odd)).status_code == 200
    assert await count(world.kavach, "kavach_audit") == 1


def _agents(cast: Cast) -> list[Bad]:
    """Agents that cannot be made, and changes that cannot be."""
    permissions = (
        [7],
        [""],
        ["read"],
        ["read:"],
        [":repos"],
        ["read:a::b"],
        ["read:re*"],
        ["read:**:a"],
        ["read:" + ":".join("a" * 33)],
        ["read:" + "a" * 513],
        [{"resource": "repos"}],
        [{"resource": "repos", "actions": "read"}],
        [{"resource": "repos", "actions": [7]}],
        [{"resource": "repos", "actions": ["read"], "extra": 1}],
        *(
            [{"resource": "repos", "actions": ["read"], "constraints": constraints}]
            for constraints in (
                {"unheardOf": 1},
                {"maxCallsPerHour": -1},
                {"maxCallsPerHour": 1.5},
                {"maxCallsPerHour": "5"},
                {"maxCallsPerHour": True},
                {"allowedArgPatterns": "path=*"},
                {"allowedArgPatterns": ["no name"]},
                {"requireApproval": "yes"},
                {"timeWindow": {"start": "09:00", "end": None}},
                {"timeWindow": {"start": "25:00", "end": "26:00"}},
                {"ipAllowlist": ["not an address"]},
                {"ipAllowlist": ["10.0.0.0/33"]},
            )
        ),
        [f"read:r{n}" for n in range(10_000)],
    )
    bad = [{"permissions": each} for each in permissions]
    bad += [
        {"name": ""},
        {"name": "n" * 256},
        {"ttl": "-1h"},
        {"ttl": 0},
        {"ttl": "soon"},
        {"expiresAt": "yesterday"},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "0001-01-01T00:00:00+14:00"},
        {"expiresAt": "2030-01-01T13:00:00"},
        {"metadata": {"a": "x" * 70_000}},
    ]
    creating = [_bad("POST", "/agents", {"ownerId": "alice", "name": "x", "permissions": [], **each}) for each in bad]
    updating = [_bad("PATCH", f"/agents/{cast.agent}", each) for each in bad if each != {"ttl": 0}]
    return [*creating, *updating]


def _questions(cast: Cast) -> list[Bad]:
    path = f"/agents/{cast.agent}/authorize"
    asked = {"action": "read", "resource": "repos"}
    return [
        _bad("POST", "/authorize", asked),
        *(
            _bad("POST", path, {**asked, **wrong})
            for wrong in (
                {"action": ""},
                {"action": 7},
                {"resource": ""},
                {"resource": "a::b"},
                {"resource": "a" * 513},
                {"arguments": []},
                {"arguments": "text"},
                {"dryRun": "yes"},
                {"context": {"unheardOf": 1}},
            )
        ),
    ]


def _unclean(cast: Cast) -> list[Bad]:
    """Control characters, NUL and lone surrogates wherever something is named."""
    found: list[Bad] = []
    for text in UNCLEAN:
        for body in (
            f'{{"name": "{text}", "permissions": []}}',
            f'{{"name": "x", "permissions": ["read:{text}"]}}',
            f'{{"name": "x", "permissions": ["{text}:repos"]}}',
            f'{{"name": "x", "permissions": [{{"resource": "{text}", "actions": ["read"]}}]}}',
            f'{{"name": "x", "permissions": [{{"resource": "a", "actions": ["{text}"]}}]}}',
            f'{{"{text}": "x"}}',
        ):
            found.append(Bad("POST", "/agents", body, INVALID))
        found.append(Bad("PATCH", f"/agents/{cast.agent}", f'{{"name": "{text}"}}', INVALID))
        for question in (f'"action": "{text}", "resource": "r"', f'"action": "read", "resource": "{text}"'):
            found.append(Bad("POST", f"/agents/{cast.agent}/authorize", f"{{{question}}}", INVALID))
        about = f'{{"agentId": "{text}", "action": "read", "resource": "r"}}'
        found.append(Bad("POST", "/authorize", about, INVALID))
        ends = f'{{"fromAgent": "{cast.agent}", "toAgent": "{text}", "permissions": ["read:repos"]}}'
        found.append(Bad("POST", "/delegations", ends, INVALID))
    return found


def _unclean_for_services() -> list[Bad]:
    return [
        bad
        for text in (*UNCLEAN, "")
        for bad in (
            Bad("POST", "/agents", f'{{"ownerId": "{text}", "name": "x"}}', INVALID),
            Bad("POST", "/owners/suspend", f'{{"ownerId": "{text}"}}', INVALID),
            Bad("POST", "/owners/rename", f'{{"ownerId": "alice", "newId": "{text}"}}', INVALID),
            Bad("POST", "/sessions", f'{{"userId": "{text}"}}', INVALID),
            Bad("POST", "/keys", f'{{"name": "{text}", "scopes": ["agents:read"]}}', INVALID),
        )
    ] + [Bad("GET", f"/{path}?userId=a%00", None, INVALID) for path in ("agents", "audit", "audit/export")]


def _keys() -> list[Bad]:
    key = {"name": "k", "scopes": ["agents:read"]}
    return [
        _bad("POST", "/keys", {**key, **wrong})
        for wrong in (
            {"scopes": []},
            {"scopes": ["everything"]},
            {"scopes": "agents:read"},
            {"scopes": [7]},
            {"grantable": ["read"]},
            {"test": "yes"},
            {"expiresAt": "2020-01-01T00:00:00Z"},
        )
    ]


def _queries(cast: Cast) -> list[Bad]:
    huge = "9" * 30
    wrong = [
        *(f"/agents?{query}" for query in ("limit=-1", f"limit={huge}", "limit=ten", "limit=", "offset=-1")),
        *(f"/agents?{query}" for query in (f"offset={huge}", "status=asleep", "type=root", "unheardOf=1")),
        *(f"/agents?{query}" for query in ("limit=1_0", "limit=5.0", "limit=+5", "limit=%205", "offset=%D9%A3")),
        *(f"/{path}?userId=%00" for path in ("agents", "audit", "audit/export")),
        *(
            f"/agents?{query}"
            for query in ("status=%ED%A0%80", "limit=1&limit=1", "&".join(f"a{n}=1" for n in range(60)))
        ),
        *(f"/audit?{query}" for query in ("limit=-1", f"limit={huge}", "limit=10001", "offset=-1", "offset=100001")),
        *(f"/audit?{query}" for query in ("result=maybe", "since=today", "until=1", "actions=%00", "actions=a%0Ab")),
        *(
            f"/audit?{query}"
            for query in ("agentId=", "userId=", "agentId=%00", "before=%00", "before=yesterday", "before=agt_0")
        ),
        *(f"/{path}?{query}" for path in ("audit", "audit/export") for query in ("since=", "until=", "userId=")),
        *(f"/audit?{query}" for query in ("result=", "before=", "actions=,", "actions=read,,write")),
        *(f"/agents?{query}" for query in ("userId=", "status=", "type=")),
        *(f"/audit?{query}" for query in ("limit=1_0", "offset=5.0")),
        *(f"/audit/export?{query}" for query in ("format=xml", "format=", "since=x", "agentId=%00")),
        *(f"/agents/{cast.agent}/trace?{query}" for query in ("limit=-1", "after=%00", "limit=x", "limit=1_0")),
    ]
    return [Bad("GET", path, None, INVALID) for path in wrong]


def _ids() -> list[Bad]:
    """Ids that are none. A slash is never part of one."""
    ids = {
        "a": NOT_FOUND,
        "agt_": NOT_FOUND,
        NO_AGENT: NOT_FOUND,
        NO_AGENT.upper(): NOT_FOUND,
        NO_DELEGATION: NOT_FOUND,
        "a" * 2000: INVALID,
        "a%2Fb": NOT_FOUND,
        "..%2Fagents": NOT_FOUND,
        "a%00b": INVALID,
        "a%0Ab": INVALID,
        "%F0%9F%A4%96": NOT_FOUND,
    }
    found: list[Bad] = []
    for text, answer in ids.items():
        found += [Bad("GET", f"/agents/{text}", None, answer), Bad("DELETE", f"/agents/{text}", None, answer)]
        found += [Bad("DELETE", f"/delegations/{text}", None, answer), Bad("DELETE", f"/sessions/{text}", None, answer)]
        found += [Bad("GET", f"/delegations/{text}/permissions", None, answer)]
    return found


def _bad(method: str, path: str, body: dict[str, Any]) -> Bad:
    return Bad(method, path, json.dumps(body), INVALID)


async def _send(world: World, bad: Bad, caller: Headers) -> httpx.Response:
    content = None if bad.body is None else bad.body.encode()
    return await world.call(bad.method, bad.path, {**caller, "content-type": "application/json"}, content=content)


async def test_null_is_left_out_wherever_something_may_be_left_out(world: World) -> None:
    human, service = await world.human(), await world.service()
    agent = await world.agent()
    nothing = {"name": "x", "type": None, "permissions": None, "ttl": None, "expiresAt": None, "metadata": None}
    assert (await world.call("POST", "/agents", human, json=nothing)).status_code == 201
    assert (
        await world.call("POST", f"/agents/{agent.id}/rotate", human, json={"cutChildren": None})
    ).status_code == 200
    question = {"action": "read", "resource": "repos", "dryRun": None, "arguments": None}
    assert (await world.call("POST", f"/agents/{agent.id}/authorize", human, json=question)).json()["allowed"]
    key = {"name": "k", "scopes": ["audit:read"], "test": None, "grantable": None, "expiresAt": None}
    assert (await world.call("POST", "/keys", service, json=key)).status_code == 201
    assert error_of(await world.call("POST", "/agents", human, json={"name": None})) == (400, "INVALID_INPUT")


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        (
            "/agents",
            {"name": "x", "permissions": ["a:b", 5]},
            "permissions[1]",
            "Input should be a valid string or a valid object.",
        ),
        ("/agents", {"name": "x", "permissions": ["a:b", "a"]}, "permissions[1]", _ONE_TEXT),
        ("/agents", {"name": "x", "ttl": []}, "ttl", "Input should be a valid string or a valid integer."),
        ("/agents", {"name": "\u202egnp.exe"}, "name", _NOT_READ),
        ("/agents", {"name": " \u200b"}, "name", _NOT_READ),
        ("/agents", {"name": "\u3164"}, "name", _NOT_READ),
        ("/agents", {"name": "x", "permissions": ["read:\u202ea"]}, "permissions[0]", _NOT_READ),
        ("/agents", {"name": "x", "permissions": ["\u200b:a"]}, "permissions[0]", _NOT_READ),
        ("/agents", {"ownerId": None, "delegatedFrom": "a\0", "name": "x"}, "delegatedFrom", _UNCLEAN),
        ("/owners/rename", {"newId": "a\0"}, "newId", _UNCLEAN),
        ("/owners/rename", {"ownerId": "a\0", "newId": "b"}, "ownerId", _UNCLEAN),
        ("/keys", {"name": "k", "scopes": ["*"], "grantable": ["a"]}, "grantable[0]", _ONE_TEXT),
        ("/authorize", {"agentId": "a\0", "action": "a", "resource": "r"}, "agentId", _UNCLEAN),
        ("/delegations", {"fromAgent": "a\0", "permissions": []}, "fromAgent", _UNCLEAN),
        ("/delegations", {"toAgent": "a\0", "permissions": []}, "toAgent", _UNCLEAN),
        ("/authorize", {"action": "a", "resource": "r", "context": 5}, "context", "Input should be a valid object."),
        (
            "/authorize",
            {"action": "a", "resource": "r", "context": {"ip": "x"}},
            "context.ip",
            "This is not an address.",
        ),
    ],
)
async def test_errors_name_the_member_and_nothing_of_the_inside(
    world: World, path: str, body: Any, field: str, message: str
) -> None:
    agent = await world.agent()
    right = {
        "/authorize": {"agentId": agent.id},
        "/delegations": {"fromAgent": agent.id, "toAgent": agent.id},
        "/keys": {},
    }.get(path, {"ownerId": "alice"})
    answer = await world.call("POST", path, await world.service(), json={**right, **body})
    assert error_of(answer) == (400, "INVALID_INPUT")
    assert answer.json()["error"]["details"] == {"field": field} and answer.json()["error"]["message"] == message


async def test_errors_about_a_query_name_the_parameter(world: World) -> None:
    for query, message in (("agentId=%00", _UNCLEAN), ("limit=1_0", "This must be a number, in digits.")):
        error = (await world.call("GET", f"/audit?{query}", await world.service())).json()["error"]
        assert (error["message"], error["details"]) == (message, {"field": query.partition("=")[0]})


async def test_a_query_or_body_that_nobody_reads_is_refused_and_changes_nothing(world: World) -> None:
    human, agent = await world.human(), await world.agent()
    place = f"/agents/{agent.id}"
    refused = [
        await world.call("DELETE", f"{place}?dryRun=1", human),
        await world.call("DELETE", place, human, json={"dryRun": True}),
        await world.call("POST", f"{place}/rotate?dryRun=1", human),
        await world.call("GET", f"{place}?dryRun=1", human),
    ]
    for answer in refused:
        assert error_of(answer) == (400, "INVALID_INPUT")
        assert answer.json()["error"]["details"] == {"field": "dryRun"}
    found = await world.kavach.agents.get(agent.id)
    assert found.revoked_at is None and await world.kavach.agents.verify(agent.token)
    assert (await world.call("DELETE", place, human, json={})).status_code == 204


async def test_a_query_that_nobody_reads_is_refused_of_anyone_too_but_not_of_a_page(world: World) -> None:
    for path in ("/passkey/sign-in/begin", "/passkey/register/begin", "/sign-in/email", "/recovery/use"):
        answer = await world.call("POST", f"{path}?code=1", json={})
        assert error_of(answer) == (400, "INVALID_INPUT")
        assert answer.json()["error"]["details"] == {"field": "code"}
    assert (await world.call("GET", "/sign-in?utm_source=mail")).status_code == 200
