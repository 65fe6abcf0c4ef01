"""Who may give what: a human what the app allows, a key its own `grantable`, whichever way it tries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.http.conftest import ONE_FRAMEWORK
from tests.http.world import Headers, OpenWorld, World, bearer, error_of

#: What may be given is decided below the adapters, whose answers test_parity compares.
pytestmark = ONE_FRAMEWORK

REFUSED = (403, "GRANT_NOT_ALLOWED")


async def _create(world: World, caller: Headers, *permissions: Any) -> Any:
    return await world.call(
        "POST", "/agents", caller, json={"ownerId": "alice", "name": "x", "permissions": permissions}
    )


async def test_without_grantable_humans_create_nothing_and_widen_nothing(open_world: OpenWorld) -> None:
    world = await open_world()
    human, agent = await world.human(), await world.agent("read:repos", "read:issues")
    for permissions in (["read:repos"], []):
        assert error_of(await _create(world, human, *permissions)) == REFUSED
    wider = {"permissions": ["read:repos", "read:issues", "write:repos"]}
    assert error_of(await world.call("PATCH", f"/agents/{agent.id}", human, json=wider)) == REFUSED
    # Narrowing, renaming and delegating what is there are theirs.
    for narrower in (["read:repos"], []):
        answer = await world.call("PATCH", f"/agents/{agent.id}", human, json={"permissions": narrower, "name": "y"})
        assert answer.status_code == 200


async def test_a_human_gives_at_most_what_the_list_holds(open_world: OpenWorld) -> None:
    limited = {"resource": "files:*", "actions": ["read"], "constraints": {"maxCallsPerHour": 10}}
    world = await open_world(grantable=["read:repos", "write:comments", limited])
    human = await world.human()
    tighter = {**limited, "resource": "files:a", "constraints": {"maxCallsPerHour": 5}}
    assert (await _create(world, human, "read:repos", "write:comments", tighter)).status_code == 201
    free = {**limited, "constraints": {}}
    for wider in ("write:repos", "*:repos", "read:*", "read:files:a", {"resource": "*", "actions": ["*"]}, free):
        answer = await _create(world, human, "read:repos", wider)
        assert error_of(answer) == REFUSED, wider
        assert answer.json()["error"]["details"]["uncovered"], "which were too much"
    assert len(await world.kavach.agents.list()) == 1


async def test_a_human_may_widen_within_it_and_keep_what_the_app_gave(open_world: OpenWorld) -> None:
    world = await open_world(grantable=["read:repos"])
    human, agent = await world.human(), await world.agent("admin:everything")
    for permissions, status in (
        (["admin:everything", "read:repos"], 200),
        (["admin:everything", "write:repos"], 403),
        (["admin:*"], 403),
        (["read:repos"], 200),
        # What was given up cannot be taken back by a human.
        (["admin:everything"], 403),
    ):
        answer = await world.call("PATCH", f"/agents/{agent.id}", human, json={"permissions": permissions})
        assert answer.status_code == status, permissions


async def test_a_function_is_asked_for_each_owner(open_world: OpenWorld) -> None:
    asked: list[str] = []

    async def grantable(owner_id: str) -> Sequence[str]:
        asked.append(owner_id)
        return ["read:repos"] if owner_id == "alice" else []

    world = await open_world(grantable=grantable)
    assert (await _create(world, await world.human("alice"), "read:repos")).status_code == 201
    assert error_of(await _create(world, await world.human("bob"), "read:repos")) == REFUSED
    assert asked == ["alice", "bob"]


@pytest.mark.parametrize(
    "nonsense", [RuntimeError("ldap is down"), None, 7, ["not a permission"], "read:repos"], ids=repr
)
async def test_a_function_that_fails_or_gives_nonsense_is_503(open_world: OpenWorld, nonsense: Any) -> None:
    async def grantable(owner_id: str) -> Any:
        if isinstance(nonsense, Exception):
            raise nonsense
        return nonsense

    world = await open_world(grantable=grantable)
    human, agent = await world.human(), await world.agent()
    for answer in (
        await _create(world, human, "read:repos"),
        await world.call("PATCH", f"/agents/{agent.id}", human, json={"permissions": ["write:repos"]}),
    ):
        assert error_of(answer) == (503, "RESOLVER_FAILED")
        assert "ldap" not in answer.text
    assert len(await world.kavach.agents.list()) == 1


async def test_the_owner_is_who_is_signed_in_whatever_the_body_says(world: World) -> None:
    body = {"ownerId": "mallory", "delegatedFrom": "mallory", "name": "x", "permissions": []}
    made = await world.call("POST", "/agents", await world.human(), json=body)
    assert made.json()["ownerId"] == "alice"


async def test_a_key_names_the_owner_by_either_word(world: World) -> None:
    service = await world.service()
    for word in ("ownerId", "delegatedFrom"):
        made = await world.call("POST", "/agents", service, json={word: "bob", "name": "x", "permissions": []})
        assert made.json()["ownerId"] == "bob"
    for named, field in (({}, "ownerId"), ({"ownerId": "bob", "delegatedFrom": "eve"}, "delegatedFrom")):
        answer = await world.call("POST", "/agents", service, json={**named, "name": "x", "permissions": []})
        assert error_of(answer) == (400, "INVALID_INPUT")
        assert answer.json()["error"]["details"] == {"field": field}


async def test_a_key_gives_at_most_its_grantable_by_creating_widening_or_delegating(world: World) -> None:
    key = await world.service("agents:write", "delegations:write", grantable=["read:repos"])
    strong, peer = await world.agent("read:repos", "write:repos"), await world.agent("read:issues")
    assert (await _create(world, key, "read:repos")).status_code == 201
    assert error_of(await _create(world, key, "write:repos")) == REFUSED
    for permissions, status in ((["read:issues", "read:repos"], 200), (["write:repos"], 403)):
        answer = await world.call("PATCH", f"/agents/{peer.id}", key, json={"permissions": permissions})
        assert answer.status_code == status
    for permission, status in (("read:repos", 201), ("write:repos", 403)):
        edge = {"fromAgent": strong.id, "toAgent": peer.id, "permissions": [permission]}
        child = {"permissions": [permission]}
        for path, body in (("/delegations", edge), (f"/agents/{strong.id}/delegate", child)):
            answer = await world.call("POST", path, key, json=body)
            assert answer.status_code == status, (path, permission)
            if status == 403:
                assert error_of(answer) == REFUSED


async def test_a_key_takes_over_no_agent_that_may_more_than_it_gives(world: World) -> None:
    """A rotation hands over a token, and with it all its agent may: its own, and what was delegated to it."""
    key = await world.service("agents:write", grantable=["read:repos"])
    strong, weak = await world.agent("read:repos", "write:repos"), await world.agent("read:repos")
    child = await world.kavach.agents.delegate(from_=strong.id, permissions=["write:repos"])
    for agent in (strong, child):
        assert error_of(await world.call("POST", f"/agents/{agent.id}/rotate", key)) == REFUSED
        assert bool(await world.kavach.agents.verify(agent.token or "")), "the token still works"
    assert (await world.call("POST", f"/agents/{weak.id}/rotate", key)).status_code == 200
    assert (await world.call("POST", f"/agents/{strong.id}/rotate", await world.human())).status_code == 200


async def test_a_human_cuts_no_permission_with_a_rate_into_pieces(open_world: OpenWorld) -> None:
    """Each piece would count its own calls."""
    world = await open_world()
    human, agent = await world.human(), await world.agent(_rated("repos:*", 5), "read:issues:*")
    for pieces in (
        [_rated("repos:a", 5), _rated("repos:b", 5)],
        [_rated("repos:a", 5)],
        [_rated("repos:*", 6)],
        ["read:repos:*"],
    ):
        answer = await world.call("PATCH", f"/agents/{agent.id}", human, json={"permissions": pieces})
        assert error_of(answer) == REFUSED, pieces
    for kept in ([_rated("repos:*", 5), "read:issues:a", "read:issues:b"], [_rated("repos:*", 3)], []):
        answer = await world.call("PATCH", f"/agents/{agent.id}", human, json={"permissions": kept})
        assert answer.status_code == 200, kept


def _rated(resource: str, calls: int) -> dict[str, Any]:
    return {"resource": resource, "actions": ["read"], "constraints": {"maxCallsPerHour": calls}}


async def test_a_key_without_grantable_gives_nothing(world: World) -> None:
    key = await world.service("agents:write")
    assert (await _create(world, key)).status_code == 201
    assert error_of(await _create(world, key, "read:repos")) == REFUSED


async def test_no_key_makes_takes_over_or_ends_a_more_powerful_one(world: World) -> None:
    key = await world.service("keys:write", "agents:read", grantable=["read:repos"])
    fair = {"name": "k", "scopes": ["agents:read"], "grantable": ["read:repos"]}
    made = await world.call("POST", "/keys", key, json=fair)
    assert made.status_code == 201
    for wider, answer in (
        ({"scopes": ["agents:write"]}, (403, "SCOPE_MISSING")),
        ({"scopes": ["*"]}, (403, "SCOPE_MISSING")),
        ({"grantable": ["write:repos"]}, REFUSED),
        ({"grantable": ["*:*"]}, REFUSED),
    ):
        assert error_of(await world.call("POST", "/keys", key, json={**fair, **wider})) == answer
    keys = world.kavach.keys
    for stronger, answer in (
        (await keys.create(name="root", scopes=["*"]), (403, "SCOPE_MISSING")),
        (await keys.create(name="rich", scopes=["keys:write"], grantable=["*:*"]), REFUSED),
    ):
        assert error_of(await world.call("POST", f"/keys/{stronger.id}/rotate", key)) == answer
        assert error_of(await world.call("DELETE", f"/keys/{stronger.id}", key)) == answer
        assert bool(await keys.verify(stronger.key or "")), "the key still works"
    rotated = await world.call("POST", f"/keys/{made.json()['id']}/rotate", key)
    assert rotated.status_code == 200 and rotated.json()["key"].startswith("kv_live_")
    assert (await world.call("GET", "/agents", bearer(made.json()["key"]))).status_code == 401
    assert (await world.call("GET", "/agents", bearer(rotated.json()["key"]))).status_code == 200
    assert (await world.call("DELETE", f"/keys/{made.json()['id']}", key)).status_code == 204
    assert (await world.call("GET", "/agents", bearer(rotated.json()["key"]))).status_code == 401


async def test_no_read_shows_a_secret(world: World) -> None:
    service, human = await world.service(), await world.human()
    made = (await world.call("POST", "/agents", human, json={"name": "x", "permissions": []})).json()
    key = (await world.call("POST", "/keys", service, json={"name": "k", "scopes": ["agents:read"]})).json()
    assert made["token"].startswith("kv_agt_") and key["key"].startswith("kv_live_")
    for path in ("/agents", f"/agents/{made['id']}", "/keys", "/sessions", "/audit", f"/delegations/{made['id']}"):
        for caller in (service, human):
            text = (await world.call("GET", path, caller)).text
            assert made["token"] not in text and key["key"] not in text and "kv_ses_" not in text
    assert (await world.call("GET", f"/agents/{made['id']}", human)).json()["token"] == ""
    patched = await world.call("PATCH", f"/agents/{made['id']}", human, json={"name": "y"})
    assert patched.json()["token"] == ""


async def test_to_let_an_agent_live_longer_is_to_give_it_all_it_has(open_world: OpenWorld) -> None:
    world = await open_world(grantable=["read:repos"])
    end = world.clock.now + timedelta(hours=1)
    later, sooner = {"expiresAt": "2099-01-01T00:00:00Z"}, {"expiresAt": (end - timedelta(minutes=5)).isoformat()}
    strong, weak = [
        await world.agent(permission, expires_at=end, ttl="1h") for permission in ("write:repos", "read:repos")
    ]
    key = await world.service("agents:write", grantable=["read:repos"])
    for caller in (await world.human(), key):
        for change in (later, {"ttl": "3650d"}):
            assert error_of(await world.call("PATCH", f"/agents/{strong.id}", caller, json=change)) == REFUSED
            assert (await world.call("PATCH", f"/agents/{weak.id}", caller, json=change)).status_code == 200
        for change in (sooner, {"ttl": "30m"}, {"name": "other"}, None):
            sent = {} if change is None else {"json": change}
            assert (await world.call("PATCH", f"/agents/{strong.id}", caller, **sent)).status_code == 200
        await world.kavach.agents.update(strong.id, ttl="1h", expires_at=end)


async def test_no_key_makes_one_that_outlives_it_or_is_live_where_it_is_for_tests(world: World) -> None:
    end = world.clock.now + timedelta(hours=1)
    key = await world.service("keys:write", expires_at=end)
    body = {"name": "k", "scopes": ["keys:write"]}
    made = (await world.call("POST", "/keys", key, json=body)).json()
    assert (await world.kavach.keys.get(made["id"])).expires_at == end
    longer = {**body, "expiresAt": "2099-01-01T00:00:00Z"}
    assert error_of(await world.call("POST", "/keys", key, json=longer)) == REFUSED
    test_key = await world.service("keys:write", test=True)
    assert error_of(await world.call("POST", "/keys", test_key, json=body)) == REFUSED
    test = await world.call("POST", "/keys", test_key, json={**body, "test": True})
    eternal = await world.kavach.keys.create(name="eternal", scopes=["keys:write"])
    for weaker, own in ((key, made["id"]), (test_key, test.json()["id"])):
        assert error_of(await world.call("POST", f"/keys/{eternal.id}/rotate", weaker)) == REFUSED, "its secret"
        assert error_of(await world.call("DELETE", f"/keys/{eternal.id}", weaker)) == REFUSED
        assert (await world.call("POST", f"/keys/{own}/rotate", weaker)).status_code == 200
    assert await world.kavach.keys.verify(eternal.key)


async def test_what_an_agent_received_counts_when_it_is_let_live_longer(open_world: OpenWorld) -> None:
    world = await open_world(grantable=["read:repos"])
    giver, end = await world.agent("write:repos"), world.clock.now + timedelta(hours=1)
    receiver = await world.agent("read:repos", expires_at=end)
    edge = await world.kavach.delegations.create(from_agent=giver.id, to_agent=receiver.id, permissions=["write:repos"])
    later = {"expiresAt": "2099-01-01T00:00:00Z"}
    callers = (await world.human(), await world.service("agents:write", grantable=["read:repos"]))
    for caller in callers:
        assert error_of(await world.call("PATCH", f"/agents/{receiver.id}", caller, json=later)) == REFUSED
        emptied = await world.call("PATCH", f"/agents/{receiver.id}", caller, json={**later, "permissions": []})
        assert error_of(emptied) == REFUSED
    await world.kavach.delegations.revoke(edge.id)
    for caller in callers:
        assert (await world.call("PATCH", f"/agents/{receiver.id}", caller, json=later)).status_code == 200
        await world.kavach.agents.update(receiver.id, expires_at=end)
