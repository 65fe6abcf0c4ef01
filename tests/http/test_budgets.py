"""Budgets over HTTP: on guarded routes, between owners, and set by the app or by the human."""

from __future__ import annotations

from typing import Any

from tests.capabilities.support import dump, limited
from tests.http.conftest import ON_BOTH_DATABASES, ONE_FRAMEWORK
from tests.http.world import NO_AGENT, NO_DELEGATION, OpenWorld, World, bearer, error_of

INVALID, NOT_FOUND = (400, "INVALID_INPUT"), (404, "NOT_FOUND")
NO_BUDGET = "bdg_" + "0" * 32


async def test_a_guarded_route_is_429_in_whole_seconds_when_a_budget_is_used_up(stored_world: World) -> None:
    world = stored_world
    agent = await world.agent()
    budget = await world.kavach.budgets.create(agent_id=agent.id, limit=2, per="hour")
    world.clock.advance("30s")
    answers = [await world.visit("POST", "/search", bearer(agent.token)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert error_of(answers[2]) == (429, "BUDGET_EXCEEDED")
    assert answers[2].headers["retry-after"] == "3570"
    (entry, *_) = await world.kavach.audit.query()
    details = {"action": "read", "resource": "repos", "auditId": entry.id}
    assert answers[2].json()["error"]["details"] == details and entry.result == "rate_limited"
    # Asked as a question it is an answer.
    asked = {"action": "read", "resource": "repos"}
    said = (await world.call("POST", "/authorize", bearer(agent.token), json=asked)).json()
    assert (said["allowed"], said["code"], said["retryAfter"]) == (False, "BUDGET_EXCEEDED", 3570)
    await world.kavach.budgets.update(budget.id, action="warn")
    said = (await world.call("POST", "/authorize", bearer(agent.token), json=asked)).json()
    assert (said["allowed"], said["warnings"]) == (True, [budget.id])
    world.clock.advance("1h")
    assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == 200


async def test_a_route_that_costs_reserves_and_a_key_settles(stored_world: World) -> None:
    world = stored_world
    agent, service = await world.agent(), await world.service("authorize", "budgets:read")
    budget = await world.kavach.budgets.create(agent_id=agent.id, measure="cost", limit=12, per="forever")
    answer = await world.visit("POST", "/costly", bearer(agent.token))
    assert answer.status_code == 200 and (await world.kavach.budgets.get(budget.id)).spent == 5
    settling = f"/audit/{answer.json()['auditId']}/settle"
    for caller in (bearer(agent.token), await world.human()):
        assert error_of(await world.call("POST", settling, caller, json={"actual": 0})) == (403, "CALLER_NOT_ALLOWED")
    for actual in (-1, 2**53, 1.5, "1", True, None):
        refused = await world.call("POST", settling, service, json={"actual": actual})
        assert error_of(refused) == INVALID and refused.json()["error"]["details"] == {"field": "actual"}
    settled = await world.call("POST", settling, service, json={"actual": 3})
    corrected = settled.json()
    assert settled.status_code == 200 and corrected.pop("auditId") != corrected.pop("settles")
    assert corrected == {"reserved": 5, "actual": 3, "exceeded": []}
    assert error_of(await world.call("POST", settling, service, json={"actual": 3})) == (409, "CONFLICT")
    nothing = f"/audit/aud_{'0' * 32}/settle"
    assert error_of(await world.call("POST", nothing, service, json={"actual": 3})) == NOT_FOUND
    entries = (await world.call("GET", "/audit", await world.human())).json()
    assert [(entry["tokensCost"], entry["code"], entry["settles"]) for entry in entries] == [
        (-2, "SETTLED", answer.json()["auditId"]),
        (5, "ALLOWED", None),
    ]
    statuses = [(await world.visit("POST", "/costly", bearer(agent.token))).status_code for _ in range(2)]
    assert statuses == [200, 429]
    late = (await world.kavach.audit.query(limit=2)).items[1]
    world.clock.advance("15m")
    refused = await world.call("POST", f"/audit/{late.id}/settle", service, json={"actual": 1})
    assert error_of(refused) == (409, "LEASE_ENDED")


@ONE_FRAMEWORK
async def test_an_agent_learns_two_numbers_and_no_more_of_what_remains(world: World) -> None:
    agent, other = await world.agent(), await world.agent()
    budget = await world.kavach.budgets.create(agent_id=agent.id, limit=3, per="day")
    await world.kavach.budgets.create(owner_id="alice", measure="cost", limit=7, per="day")
    remaining = f"/agents/{agent.id}/remaining"
    own = await world.call("GET", remaining, bearer(agent.token))
    assert own.json() == {"calls": 3, "cost": 7, "costUnit": "units", "budgets": []}
    for caller in (await world.human(), await world.service("budgets:read")):
        told = (await world.call("GET", remaining, caller)).json()
        assert (told["calls"], told["cost"]) == (3, 7) and len(told["budgets"]) == 2
        assert budget.id in {each["id"] for each in told["budgets"]}
    for caller in (bearer(other.token), await world.human("mallory")):
        assert error_of(await world.call("GET", remaining, caller)) == NOT_FOUND


@ONE_FRAMEWORK
async def test_the_app_names_the_unit_of_cost(open_world: OpenWorld) -> None:
    world = await open_world(cost_unit="cents")
    agent, service = await world.agent(), await world.service()
    for measure, unit in (("calls", "calls"), ("cost", "cents")):
        terms = {"agentId": agent.id, "limit": 5, "per": "day", "measure": measure}
        made = (await world.call("POST", "/budgets", service, json=terms)).json()
        path = f"/budgets/{made['id']}"
        changed = (await world.call("PATCH", path, service, json={"limit": 6})).json()
        assert [made["unit"], changed["unit"], (await world.call("GET", path, service)).json()["unit"]] == [unit] * 3
    told = (await world.call("GET", f"/agents/{agent.id}/remaining", service)).json()
    assert (told["costUnit"], {each["unit"] for each in told["budgets"]}) == ("cents", {"calls", "cents"})
    assert {each["unit"] for each in (await world.call("GET", "/budgets", service)).json()} == {"calls", "cents"}


@ONE_FRAMEWORK
async def test_a_human_sets_budgets_on_what_is_theirs_alone(world: World) -> None:
    """Whatever the body names: what is foreign looks like what is not there, and an owner is always themselves."""
    alice, mallory = await world.human(), await world.human("mallory")
    agent = await world.agent()
    child = await world.kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    terms = {"limit": 5, "per": "day"}
    for body in ({"agentId": agent.id}, {"delegationId": child.delegation_id}, {"agentId": NO_AGENT}):
        assert error_of(await world.call("POST", "/budgets", mallory, json={**terms, **body})) == NOT_FOUND
    for whole in ({}, {"agentId": None}):
        refused = await world.call("POST", "/budgets", mallory, json={**terms, **whole})
        assert error_of(refused) == INVALID  # the project is nobody's
    made = await world.call("POST", "/budgets", mallory, json={**terms, "ownerId": "alice"})
    assert (made.status_code, made.json()["ownerId"], made.json()["setBy"]) == (201, "mallory", "owner")
    theirs = {
        holder: (await world.call("POST", "/budgets", alice, json={**terms, **body})).json()["id"]
        for holder, body in (
            ("agent", {"agentId": agent.id}),
            ("delegation", {"delegationId": child.delegation_id}),
            ("owner", {"ownerId": "alice"}),
        )
    }
    theirs["project"] = (await world.kavach.budgets.create(limit=5, per="day")).id
    before = await dump(world.kavach)
    for caller, foreign in ((mallory, theirs), (alice, {"project": theirs["project"]})):
        for method, body in (("GET", None), ("PATCH", {"limit": 500}), ("PATCH", {"limit": -1}), ("DELETE", None)):
            unknown = await world.call(method, f"/budgets/{NO_BUDGET}", caller, json=body)
            assert error_of(unknown) == NOT_FOUND
            for budget_id in foreign.values():
                refused = await world.call(method, f"/budgets/{budget_id}", caller, json=body)
                assert (refused.status_code, refused.content) == (404, unknown.content)
    for query in (f"agentId={agent.id}", f"delegationId={child.delegation_id}", f"agentId={NO_AGENT}"):
        assert error_of(await world.call("GET", f"/budgets?{query}", mallory)) == NOT_FOUND
    for query in ("", "?userId=alice"):
        listed = await world.call("GET", f"/budgets{query}", mallory)
        assert [budget["id"] for budget in listed.json()] == [made.json()["id"]]
        assert listed.headers["x-total-count"] == "1"
    assert await dump(world.kavach) == before
    listed = (await world.call("GET", "/budgets", alice)).json()
    assert {budget["id"] for budget in listed} == set(theirs.values()) - {theirs["project"]}
    for budget_id in [budget["id"] for budget in listed]:
        raised = await world.call("PATCH", f"/budgets/{budget_id}", alice, json={"limit": 9})
        assert (raised.status_code, raised.json()["limit"]) == (200, 9)
        assert (await world.call("DELETE", f"/budgets/{budget_id}", alice)).status_code == 204


@ONE_FRAMEWORK
async def test_what_the_app_set_is_shown_to_its_human_and_not_theirs_to_change(world: World) -> None:
    agent, alice, service = await world.agent(), await world.human(), await world.service("budgets:write")
    made = await world.call("POST", "/budgets", service, json={"agentId": agent.id, "limit": 1, "per": "day"})
    assert made.json()["setBy"] == "app"
    path = f"/budgets/{made.json()['id']}"
    own = await world.kavach.budgets.create(owner_id="alice", limit=1, per="day")
    before = await dump(world.kavach)
    for budget_id in (made.json()["id"], own.id):
        assert (await world.call("GET", f"/budgets/{budget_id}", alice)).json()["limit"] == 1
        for method, body in (("PATCH", {"limit": 500}), ("PATCH", {}), ("DELETE", None)):
            refused = await world.call(method, f"/budgets/{budget_id}", alice, json=body)
            assert error_of(refused) == (403, "CALLER_NOT_ALLOWED")
    assert await dump(world.kavach) == before
    # A key changes what anybody set, and makes it nobody else's by that.
    mine = await world.call("POST", "/budgets", alice, json={"agentId": agent.id, "limit": 7, "per": "day"})
    changed = await world.call("PATCH", f"/budgets/{mine.json()['id']}", service, json={"action": "revoke"})
    assert (changed.json()["action"], changed.json()["limit"], changed.json()["setBy"]) == ("revoke", 7, "owner")
    assert (await world.call("DELETE", path, service)).status_code == 204
    whole = await world.call("POST", "/budgets", service, json={"limit": 1, "per": "month", "measure": "cost"})
    assert (whole.json()["agentId"], whole.json()["ownerId"], whole.json()["delegationId"]) == (None, None, None)


@ON_BOTH_DATABASES
async def test_what_is_no_budget_changes_nothing(stored_world: World) -> None:
    world = stored_world
    agent, service = await world.agent(), await world.service()
    made = await world.kavach.budgets.create(agent_id=agent.id, limit=1, per="day")
    right: dict[str, Any] = {"agentId": agent.id, "limit": 1, "per": "day"}
    before = await dump(world.kavach)
    for name in ("agentId", "delegationId", "ownerId"):
        nobody = await world.call("POST", "/budgets", service, json={"limit": 1, "per": "day", name: None})
        assert error_of(nobody) == INVALID and nobody.json()["error"]["details"] == {"field": name}
        assert "for a budget of the whole project" in nobody.json()["error"]["message"]
    amounts = (-1, 2**53, 1.5, "1", True, [])
    for wrong, field in (
        *(({"limit": limit}, "limit") for limit in amounts),
        *(({"per": per}, "per") for per in ("week", "", "HOUR", 3600, None)),
        *(({"measure": measure}, "measure") for measure in ("tokens", "", 1)),
        *(({"action": action}, "action") for action in ("allow", "", {})),
        ({"setBy": "owner"}, "setBy"),
        ({"spent": 0}, "spent"),
        ({"ownerId": "alice"}, "agentId"),
        ({"agentId": None}, "agentId"),
        ({"agentId": None, "ownerId": None}, "agentId"),
        ({"agentId": "a\x00"}, "agentId"),
        ({"agentId": None, "ownerId": ""}, "ownerId"),
        ({"agentId": None, "ownerId": "a\x00"}, "ownerId"),
        ({"agentId": None, "delegationId": "a\x00"}, "delegationId"),
    ):
        refused = await world.call("POST", "/budgets", service, json={**right, **wrong})
        assert error_of(refused) == INVALID, wrong
        assert refused.json()["error"]["details"] == {"field": field}, wrong
    for wrong, field in (
        *(({"limit": limit}, "limit") for limit in amounts),
        ({"action": "allow"}, "action"),
        ({"per": "hour"}, "per"),
        ({"agentId": agent.id}, "agentId"),
    ):
        refused = await world.call("PATCH", f"/budgets/{made.id}", service, json=wrong)
        assert error_of(refused) == INVALID and refused.json()["error"]["details"] == {"field": field}, wrong
    for query in ("limit=-1", "limit=x", "offset=-1", "unheardOf=1", "agentId=%00", "userId=", "delegationId=a%00"):
        assert error_of(await world.call("GET", f"/budgets?{query}", service)) == INVALID, query
    both = f"agentId={agent.id}&userId=alice"
    assert error_of(await world.call("GET", f"/budgets?{both}", service)) == INVALID
    for body in ({"agentId": NO_AGENT}, {"agentId": None, "delegationId": NO_DELEGATION}):
        assert error_of(await world.call("POST", "/budgets", service, json={**right, **body})) == NOT_FOUND
    for text in ("a", NO_BUDGET, agent.id, "a%2Fb"):
        for method, body in (("GET", None), ("PATCH", {"limit": 1}), ("DELETE", None)):
            assert error_of(await world.call(method, f"/budgets/{text}", service, json=body)) == NOT_FOUND, text
    for cost in amounts:
        asked = {"action": "read", "resource": "repos", "cost": cost}
        refused = await world.call("POST", f"/agents/{agent.id}/authorize", service, json=asked)
        assert error_of(refused) == INVALID and refused.json()["error"]["details"] == {"field": "cost"}
    assert await dump(world.kavach) == before


@ONE_FRAMEWORK
async def test_a_cost_in_the_question_is_reserved(world: World) -> None:
    agent, service = await world.agent(), await world.service("authorize")
    await world.kavach.budgets.create(agent_id=agent.id, measure="cost", limit=9, per="forever")
    asked = {"agentId": agent.id, "action": "read", "resource": "repos", "cost": 6}
    codes = [(await world.call("POST", "/authorize", service, json=asked)).json() for _ in range(2)]
    assert [(each["code"], each["retryAfter"]) for each in codes] == [("ALLOWED", None), ("BUDGET_EXCEEDED", 86_400)]
    null = await world.call("POST", "/authorize", bearer(agent.token), json={**asked, "cost": None})
    assert null.json()["code"] == "ALLOWED"


@ONE_FRAMEWORK
async def test_nobody_says_what_their_own_calls_cost(world: World) -> None:
    """Or one agent could suspend everybody with a number, where a budget they share ends what it hangs on."""
    agent, human = await world.agent(), await world.human()
    await world.kavach.budgets.create(measure="cost", limit=9, per="forever", action="revoke")
    asked = {"action": "read", "resource": "repos", "cost": 10}
    before = await dump(world.kavach)
    for path, caller in (("/authorize", bearer(agent.token)), (f"/agents/{agent.id}/authorize", human)):
        assert error_of(await world.call("POST", path, caller, json=asked)) == (403, "CALLER_NOT_ALLOWED")
    assert await dump(world.kavach) == before
    tried = await world.call("POST", f"/agents/{agent.id}/authorize", human, json={**asked, "dryRun": True})
    assert tried.json()["code"] == "BUDGET_EXCEEDED"
    assert (await world.call("POST", "/authorize", bearer(agent.token), json={**asked, "cost": None})).json()["allowed"]


async def test_what_an_owner_may_do_is_set_by_keys_and_binds_guarded_routes(stored_world: World) -> None:
    world = stored_world
    agent, service = await world.agent(), await world.service("owners:write")
    rights = {"ownerId": "alice", "permissions": ["write:*"]}
    assert error_of(await world.call("POST", "/owners/permissions", await world.human(), json=rights)) == (
        403,
        "CALLER_NOT_ALLOWED",
    )
    assert (await world.call("POST", "/owners/permissions", service, json=rights)).status_code == 204
    refused = await world.visit("POST", "/search", bearer(agent.token))
    assert error_of(refused) == (403, "OWNER_NOT_PERMITTED") and refused.json()["error"]["details"]["auditId"]
    before = await dump(world.kavach)
    for wrong, field in (
        ({"permissions": ["read"]}, "permissions[0]"),
        ({"permissions": [limited("a", "b", unheardOf=1)]}, "permissions[0].constraints.unheardOf"),
        ({"permissions": "read:repos"}, "permissions"),
        ({"permissions": [None]}, "permissions[0]"),
        ({"ownerId": ""}, "ownerId"),
        ({"ownerId": "a\x00"}, "ownerId"),
    ):
        answer = await world.call("POST", "/owners/permissions", service, json={**rights, **wrong})
        assert error_of(answer) == INVALID, wrong
        assert answer.json()["error"]["details"]["field"].startswith(field.partition(".")[0]), wrong
    unsaid = await world.call("POST", "/owners/permissions", service, json={"ownerId": "alice"})
    assert error_of(unsaid) == INVALID and unsaid.json()["error"]["details"] == {"field": "permissions"}
    assert await dump(world.kavach) == before
    for permissions in (["*:*"], ["write:*"], None):
        body = {"ownerId": "alice", "permissions": permissions}
        assert (await world.call("POST", "/owners/permissions", service, json=body)).status_code == 204
        passes = permissions != ["write:*"]
        assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == (200 if passes else 403)
    assert await world.kavach.owners.permissions("alice") is None


async def test_a_suspended_project_is_401_for_agents_and_open_for_all_others(stored_world: World) -> None:
    world = stored_world
    agent, service, human = await world.agent(), await world.service(), await world.human()
    assert (await world.call("POST", "/project/suspend", service)).status_code == 204
    for path in ("/search", "/agent", "/whoami"):
        assert error_of(await world.visit("POST", path, bearer(agent.token))) == (401, "PROJECT_SUSPENDED")
    asked = {"action": "read", "resource": "repos"}
    assert error_of(await world.call("POST", "/authorize", bearer(agent.token), json=asked)) == (
        401,
        "PROJECT_SUSPENDED",
    )
    for caller in (human, service):
        assert (await world.call("GET", "/agents", caller)).status_code == 200
        said = await world.call("POST", f"/agents/{agent.id}/authorize", caller, json=asked)
        assert (said.status_code, said.json()["code"]) == (200, "PROJECT_SUSPENDED")
        refused = await world.call("POST", f"/agents/{agent.id}/delegate", caller, json={"permissions": ["read:repos"]})
        assert error_of(refused) == (403, "PROJECT_SUSPENDED")
    assert (await world.visit("POST", "/me", human)).status_code == 200
    state = (await world.call("GET", "/project", service)).json()
    assert state == {"id": world.kavach.config.project, "suspendedAt": "2030-01-01T12:00:00.000Z"}
    assert (await world.call("POST", "/project/resume", service)).status_code == 204
    assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == 200
