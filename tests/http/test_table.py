"""The operation table, walked: who gets in, who does not, and what is foreign looks like what is not there."""

from __future__ import annotations

import httpx
import pytest

from kavach_core.api.operation import Caller
from kavach_core.api.table import TABLE
from kavach_core.capabilities.keys import Scope
from kavach_core.primitives import tokens
from kavach_core.primitives.tokens import TokenKind
from tests.http.conftest import ONE_FRAMEWORK
from tests.http.examples import EXAMPLES, Cast, Example, make_cast
from tests.http.world import Headers, OpenWorld, World, bearer, error_of

CLOSED = {name: example for name, example in EXAMPLES.items() if example.who != "*"}
_LETTERS = {Caller.RECOVERING: "r", Caller.HUMAN: "h", Caller.AGENT: "a", Caller.SERVICE: "s", Caller.ANYONE: "*"}


def test_every_operation_has_an_example_that_says_who_may_call_it() -> None:
    told = {name: (e.method, e.path, frozenset(e.who), e.scope) for name, e in EXAMPLES.items()}
    built = {o.name: (o.method, o.path, frozenset(_LETTERS[c] for c in o.callers), o.scope) for o in TABLE}
    assert built == told


async def test_without_a_credential_every_operation_is_401(world: World) -> None:
    cast = await make_cast(world)
    answers = {name: error_of(await _call(world, example, cast, {})) for name, example in CLOSED.items()}
    assert answers == dict.fromkeys(CLOSED, (401, "UNAUTHENTICATED"))
    assert (await world.call("GET", "/openapi.json")).status_code == 200


async def test_with_a_bad_credential_every_operation_is_401(open_world: OpenWorld) -> None:
    world = await open_world(refused_per_minute=None)
    cast = await make_cast(world)
    for kind, (headers, expected) in (await _bad_credentials(world)).items():
        answers = {name: error_of(await _call(world, example, cast, headers)) for name, example in CLOSED.items()}
        assert answers == dict.fromkeys(CLOSED, (401, expected)), kind


@ONE_FRAMEWORK
async def test_each_caller_that_may_is_served_and_each_other_is_403(world: World) -> None:
    service, usual = await world.service(), await make_cast(world, "ulla")
    for name, example in CLOSED.items():
        await world.kavach.project.resume()
        for letter in "hasr":
            # Who is refused changes nothing, and needs nobody of their own.
            cast = await make_cast(world) if letter in example.who else usual
            caller = {"h": cast.as_human, "a": cast.as_agent, "s": service, "r": cast.as_recovering}[letter]
            answer = await _call(world, example, cast, caller)
            if letter in example.who:
                assert answer.status_code == example.status, (name, letter, answer.text)
            elif letter == "r":
                assert error_of(answer) == (401, "RECOVERY_ONLY"), name
            else:
                assert error_of(answer) == (403, "CALLER_NOT_ALLOWED"), (name, letter)


@ONE_FRAMEWORK
async def test_a_key_needs_the_scope_of_the_operation_and_no_other(world: World) -> None:
    scopes = {scope.value for scope in Scope} - {"*"}
    for name, example in CLOSED.items():
        if example.scope is None:
            continue
        lacking = await world.service(*(scopes - {example.scope}), grantable=["*:*"])
        enough = await world.service(example.scope, grantable=["*:*"])
        cast = await make_cast(world)
        refused = await _call(world, example, cast, lacking)
        assert error_of(refused) == (403, "SCOPE_MISSING"), name
        assert refused.json()["error"]["details"] == {"scope": example.scope}
        assert (await _call(world, example, cast, enough)).status_code == example.status, name


@pytest.mark.parametrize("whose", ["another owner", "nobody"])
async def test_an_id_of_another_owner_is_404_like_one_of_nobody(world: World, whose: str) -> None:
    own, foreign = await make_cast(world), await make_cast(world, "mallory")
    if whose == "nobody":
        foreign = foreign._replace(
            **{f: f"{getattr(foreign, f)[:4]}{'0' * 32}" for f in Cast._fields if isinstance(getattr(foreign, f), str)}
        )
    for name, example in CLOSED.items():
        if example.about is None or example.about == "key":
            continue
        for letter, caller in (("h", own.as_human), ("a", own.as_agent)):
            if letter in example.who:
                assert error_of(await _call(world, example, foreign, caller)) == (404, "NOT_FOUND"), (name, letter)


@ONE_FRAMEWORK
async def test_an_agent_does_not_see_its_owners_other_agents(world: World) -> None:
    cast = await make_cast(world)
    other = bearer((await world.agent()).token)
    for name, example in CLOSED.items():
        if "a" in example.who and example.about is not None:
            assert error_of(await _call(world, example, cast, other)) == (404, "NOT_FOUND"), name


async def test_giving_to_an_agent_of_another_owner_is_404_for_its_owner_and_said_to_a_key(world: World) -> None:
    own, foreign = await make_cast(world), await make_cast(world, "mallory")
    body = {"fromAgent": own.agent, "toAgent": foreign.peer, "permissions": ["read:repos"]}
    for caller in (own.as_human, own.as_agent):
        assert error_of(await world.call("POST", "/delegations", caller, json=body)) == (404, "NOT_FOUND")
    answer = await world.call("POST", "/delegations", await world.service(), json=body)
    assert error_of(answer) == (403, "CROSS_OWNER")


@ONE_FRAMEWORK
async def test_lists_hold_nothing_of_another_owner_whatever_is_asked(world: World) -> None:
    own, foreign = await make_cast(world), await make_cast(world, "mallory")
    for agent in (own.agent, foreign.agent):
        await world.kavach.authorize(agent, action="read", resource="repos")
    listed = (await world.call("GET", "/agents", own.as_human, params={"userId": "mallory"})).json()
    assert {agent["id"] for agent in listed} == {own.agent, own.peer}
    for caller in (own.as_human, own.as_agent):
        entries = (await world.call("GET", "/audit", caller, params={"userId": "mallory"})).json()
        assert {entry["userId"] for entry in entries} <= {"alice"}
        for path in ("/audit", "/audit/export"):
            asked = await world.call("GET", path, caller, params={"agentId": foreign.agent})
            assert asked.status_code == (403 if caller is own.as_agent and path == "/audit/export" else 404)
    exported = await world.call("GET", "/audit/export", own.as_human, params={"userId": "mallory"})
    assert foreign.agent not in exported.text and own.agent in exported.text
    sessions = (await world.call("GET", "/sessions", own.as_human)).json()
    assert {session["userId"] for session in sessions} == {"alice"}


async def test_a_giver_may_take_back_and_a_receiver_may_give_back(world: World) -> None:
    for side in ("giver", "receiver"):
        cast = await make_cast(world)
        token = (await world.kavach.agents.rotate(cast.agent if side == "giver" else cast.peer)).token
        assert (await world.call("DELETE", f"/delegations/{cast.delegation}", bearer(token))).status_code == 204, side
        assert (await world.kavach.delegations.get(cast.delegation)).status.value == "revoked"


async def _call(world: World, example: Example, cast: Cast, headers: Headers) -> httpx.Response:
    content = await example.content(world, cast, headers)
    return await world.call(example.method, example.url(cast), headers, **content)


async def _bad_credentials(world: World) -> dict[str, tuple[Headers, str]]:
    """Every way a credential can fail to hold, with the code it is refused by."""
    kavach = world.kavach
    rotated, revoked, expired = [await world.agent() for _ in range(2)] + [await world.agent(ttl="1s")]
    await kavach.agents.rotate(rotated.id)
    await kavach.agents.revoke(revoked.id)
    parent = await world.agent()
    child = await kavach.agents.delegate(from_=parent.id, permissions=["read:repos"])
    await kavach.delegations.revoke(child.delegation_id)
    suspended = await world.agent(owner="sue")
    await kavach.owners.suspend("sue")
    session = await kavach.sessions.create("alice")
    await kavach.sessions.revoke(session.id)
    key = await kavach.keys.create(name="ended", scopes=["*"])
    await kavach.keys.revoke(key.id)
    live = (await world.agent()).token
    world.clock.advance("2s")
    assert live and session.token and key.key
    unknown = tokens.mint(TokenKind.AGENT).token
    return {
        "unknown agent": (bearer(unknown), "UNKNOWN_CREDENTIAL"),
        "wrong checksum": (bearer(live[:-1] + ("0" if live[-1] != "0" else "1")), "MALFORMED_CREDENTIAL"),
        "rotated": (bearer(rotated.token), "TOKEN_ROTATED"),
        "revoked": (bearer(revoked.token), "AGENT_REVOKED"),
        "idle": (bearer(expired.token), "AGENT_IDLE"),
        "chain cut": (bearer(child.token), "CHAIN_CUT"),
        "owner suspended": (bearer(suspended.token), "OWNER_SUSPENDED"),
        "unknown session": (bearer(tokens.mint(TokenKind.SESSION).token), "UNKNOWN_CREDENTIAL"),
        "ended session": (bearer(session.token), "SESSION_REVOKED"),
        "unknown key": (bearer(tokens.mint(TokenKind.LIVE_KEY).token), "UNKNOWN_CREDENTIAL"),
        "ended key": (bearer(key.key), "KEY_ENDED"),
        "token of nobody's": (bearer("eyJhbGciOiJub25lIn0.e30."), "UNKNOWN_CREDENTIAL"),
        "another scheme": ({"authorization": "Basic YWxpY2U6c2VjcmV0"}, "MALFORMED_CREDENTIAL"),
        "the bare token": ({"authorization": live}, "MALFORMED_CREDENTIAL"),
        "empty": ({"authorization": ""}, "MALFORMED_CREDENTIAL"),
        "scheme alone": ({"authorization": "Bearer"}, "MALFORMED_CREDENTIAL"),
        "two tokens": ({"authorization": f"Bearer {live} {live}"}, "MALFORMED_CREDENTIAL"),
    }
