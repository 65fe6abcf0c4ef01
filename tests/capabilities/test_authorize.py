"""Decisions as the service makes them: on fresh facts, recorded before they are returned, all or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from kavach_core import Agent, CallContext, Kavach, Reason, Result
from kavach_core.capabilities.limits import keys
from kavach_core.errors import InvalidInput, PermissionDenied, RateLimited, StoreUnavailable, Unauthenticated
from kavach_core.primitives.text import canonical_json
from kavach_core.testing import FrozenClock
from tests.capabilities.support import (
    OpenKavach,
    all_entries,
    ask,
    code,
    count,
    limited,
    make_agent,
    run,
    select,
    watched,
)
from tests.cases import DAY, Case, load

HTTP = CallContext(ip="198.51.100.7", user_agent="probe/1", request_id="r-1", over_http=True)


# The cases.


async def test_decides_as_the_cases_say(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    """One agent, or chain of agents, for each case; in the order of their times of day."""
    clock = FrozenClock(DAY)
    kavach = await open_kavach(clock=clock)
    wrong: list[tuple[str, str]] = []
    for case in sorted(load(), key=lambda case: case.moment):
        clock.move_to(max(case.moment, clock.now))
        actor = await _actor(kavach, case)
        call = {"arguments": case.arguments, "context": CallContext(ip=case.ip)}
        for _ in range(case.before):
            assert await ask(kavach, actor.token, case.ask, **call), case
        decision = await ask(kavach, actor.token, case.ask, **call)
        if decision.code.value != case.code:
            wrong.append((case.name, decision.code.value))
    assert wrong == []


async def _actor(kavach: Kavach, case: Case) -> Agent:
    """The acting agent of a case, at the end of its chain."""
    root = actor = await make_agent(kavach) if not case.chain[0] else await make_agent(kavach, *case.chain[0])
    if not case.chain[0]:
        await kavach.agents.update(root.id, permissions=[])
    for given in case.chain[1:]:
        actor = await kavach.agents.delegate(from_=actor.id, permissions=given)
    if case.narrowed is not None:
        await kavach.agents.update(root.id, permissions=case.narrowed)
    return actor


# The answer and its record.


async def test_every_decision_leaves_exactly_one_row(kavach: Kavach, clock: FrozenClock) -> None:
    """Allowed, denied, limited, and one for each way in which a credential can be dead."""
    agent = await make_agent(kavach, "read:repos", limited("mail", "send", maxCallsPerHour=0))
    old = (await make_agent(kavach, owner_id="bob")).token
    dead = {
        "revoked": await make_agent(kavach),
        "expired": await make_agent(kavach, expires_at=clock.now + timedelta(hours=1)),
        "idle": await make_agent(kavach, ttl="1h"),
        "suspended": await make_agent(kavach, owner_id="carol"),
        "cut": await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        "rotated": await make_agent(kavach, owner_id="dave"),
    }
    assert old
    await kavach.agents.revoke(dead["revoked"].id)
    await kavach.owners.suspend("carol")
    await kavach.delegations.revoke(dead["cut"].founding_delegation_id or "")
    await kavach.agents.rotate(dead["rotated"].id)
    clock.advance("1h")
    expected: list[tuple[str, str]] = []
    for permission, result in (("read:repos", "allowed"), ("write:repos", "denied"), ("send:mail", "rate_limited")):
        decision = await ask(kavach, agent.token, permission)
        expected.append((result, decision.code.value))
    for each in dead.values():
        decision = await ask(kavach, each.token)
        expected.append(("denied", decision.code.value))
        rejected = await kavach.agents.verify(each.token or "")
        assert not rejected.valid and rejected.audit_id
        expected.append(("denied", rejected.code.value))
    entries = await all_entries(kavach)
    assert [(entry.result.value, entry.code.value) for entry in entries] == expected
    assert [entry.allowed for entry in entries] == [result == "allowed" for result, _ in expected]
    assert {code for _, code in expected} == {
        *("ALLOWED", "NOT_GRANTED", "RATE_LIMITED", "AGENT_REVOKED", "AGENT_EXPIRED", "AGENT_IDLE"),
        *("OWNER_SUSPENDED", "CHAIN_CUT", "TOKEN_ROTATED"),
    }
    assert len({entry.id for entry in entries}) == len(entries) == await count(kavach, "kavach_audit")


async def test_a_row_holds_who_what_and_why(kavach: Kavach, clock: FrozenClock) -> None:
    root = await make_agent(kavach, "*:repos", owner_id="user_2x9")
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    leaf = await kavach.agents.delegate(from_=child.id, permissions=["read:repos"])
    arguments = {"q": "ü", "n": 1}
    decision = await ask(kavach, leaf.token, arguments=arguments, context=HTTP)
    (entry,) = await all_entries(kavach)
    assert decision.allowed and decision.audit_id == entry.id and decision.grant == leaf.delegated_permissions[0]
    assert [(link.agent_id, link.delegation_id) for link in entry.path] == [
        (root.id, None),
        (child.id, child.delegation_id),
        (leaf.id, leaf.delegation_id),
    ]
    assert [tuple(link.permissions) for link in entry.path] == [
        root.permissions,
        child.delegated_permissions,
        leaf.delegated_permissions,
    ]
    assert (entry.agent_id, entry.owner_id, entry.action, entry.resource) == (leaf.id, "user_2x9", "read", "repos")
    assert (entry.result, entry.code, entry.grant) == (Result.ALLOWED, Reason.ALLOWED, decision.grant)
    assert entry.arguments == arguments
    assert entry.arguments_hash == hashlib.sha256(canonical_json(arguments).encode()).hexdigest()
    assert (entry.address, entry.user_agent, entry.request_id) == ("198.51.100.7", "probe/1", "r-1")
    assert abs(entry.at - clock.now) < timedelta(milliseconds=1) and entry.duration >= 0
    assert not entry.dry_run and entry.calls == 1 and entry.cost is None


async def test_a_row_keeps_the_permissions_that_were_in_force_then(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "read:repos", "write:repos")
    await ask(kavach, agent.token)
    await kavach.agents.update(agent.id, permissions=["read:repos"])
    await ask(kavach, agent.token, "write:repos")
    entries = await all_entries(kavach)
    assert [len(entry.permissions) for entry in entries] == [2, 1]
    assert [entry.grant for entry in entries] == [agent.permissions[0], None]


async def test_by_token_by_identity_and_by_id_the_answer_is_the_same(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    identity = await kavach.agents.verify(agent.token or "")
    for permission in ("read:repos", "write:repos"):
        codes = {await code(kavach, subject, permission) for subject in (agent.token, identity, agent.id)}
        assert len(codes) == 1
    await kavach.agents.revoke(agent.id)
    assert {await code(kavach, subject) for subject in (agent.token, identity, agent.id)} == {"AGENT_REVOKED"}


async def test_a_rejected_credential_stays_rejected(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.agents.revoke(agent.id)
    rejected = await kavach.agents.verify(agent.token or "")
    decision = await ask(kavach, rejected)
    assert (
        not decision and not rejected.valid and (decision.code, decision.audit_id) == (rejected.code, rejected.audit_id)
    )
    assert await count(kavach, "kavach_audit") == 1


async def test_the_raising_form_tells_bad_credentials_denials_and_limits_apart(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "read:repos", limited("mail", "send", maxCallsPerHour=0))
    token = agent.token or ""
    identity = await kavach.require_authorized(token, action="read", resource="repos")
    assert identity.agent_id == agent.id and identity.audit_id
    with pytest.raises(PermissionDenied) as denied:
        await kavach.require_authorized(token, action="write", resource="repos")
    assert denied.value.public_code == "NOT_GRANTED" and denied.value.audit_id
    assert denied.value.details == {"action": "write", "resource": "repos", "auditId": denied.value.audit_id}
    with pytest.raises(RateLimited) as limit:
        await kavach.require_authorized(token, action="send", resource="mail")
    assert limit.value.retry_after == 3600 and limit.value.details["auditId"]
    with pytest.raises(Unauthenticated):
        await kavach.require_authorized(token[:-1], action="read", resource="repos")


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "*"},
        {"action": ""},
        {"action": "a b"},
        {"action": "re\x00ad"},
        {"action": "re\ud800ad"},
        {"resource": "repos:*"},
        {"resource": ""},
        {"resource": "a::b"},
        {"resource": "a\x00"},
        {"resource": "a\udfff"},
        {"resource": "a\u2028"},
        {"resource": "a:" * 32 + "a"},
        {"resource": "a" * 513},
        {"arguments": ["x"]},
        {"arguments": {"x": float("inf")}},
        {"arguments": {"x": object()}},
        {"arguments": {"x": 10**5000}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_question_that_is_not_well_formed_is_no_decision(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    agent = await make_agent(sqlite_kavach)
    with pytest.raises(InvalidInput):
        await sqlite_kavach.authorize(agent.token or "", **{"action": "read", "resource": "repos", **wrong})
    assert await count(sqlite_kavach, "kavach_audit") == 0


@pytest.mark.parametrize("depth, accepted", [(32, True), (33, False), (300, False), (100_000, False)])
async def test_arguments_are_nested_at_most_64_deep(sqlite_kavach: Kavach, depth: int, accepted: bool) -> None:
    """Deeper ones would be recorded by one stack and overflow that of whoever reads the record."""
    agent, nested = await make_agent(sqlite_kavach), "leaf"
    for _ in range(depth):
        nested = {"a": [nested]}  # type: ignore[assignment]
    for refusing in (ask(sqlite_kavach, agent.token, arguments=nested), make_agent(sqlite_kavach, metadata=nested)):
        if accepted:
            assert await refusing
        else:
            with pytest.raises(InvalidInput):
                await refusing
    while isinstance(nested, dict):
        nested = nested.popitem()[1].pop()  # freeing it all at once would overflow the stack


# Rates.


async def test_a_rate_is_one_count_for_all_resources_of_a_grant(kavach: Kavach) -> None:
    agent = await make_agent(kavach, limited("repos:*", "*", maxCallsPerHour=2))
    codes = [await code(kavach, agent.token, text) for text in ("read:repos:a", "write:repos:b", "read:repos:c")]
    assert codes == ["ALLOWED", "ALLOWED", "RATE_LIMITED"]


async def test_a_rate_rolls_by_the_minute_and_says_how_long_to_wait(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=2))
    assert await ask(kavach, agent.token)
    clock.advance("30m")
    assert await ask(kavach, agent.token)
    refused = await ask(kavach, agent.token)
    assert (refused.code, refused.retry_after) == (Reason.RATE_LIMITED, 1800)
    clock.advance(timedelta(minutes=30, microseconds=-1))
    assert (await ask(kavach, agent.token)).retry_after == 1
    clock.advance(timedelta(microseconds=1))
    assert [await code(kavach, agent.token) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]


async def test_0_allows_nothing(kavach: Kavach) -> None:
    agent = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=0))
    assert await code(kavach, agent.token) == "RATE_LIMITED"


async def test_rates_on_several_links_are_taken_all_or_nothing(kavach: Kavach) -> None:
    """The child's calls are refused by the root's rate; what they may take of the child's own stays whole."""
    root = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=2))
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    twin = await kavach.agents.delegate(from_=root.id, permissions=[limited("repos", "read", maxCallsPerHour=2)])
    assert [await code(kavach, agent.token) for agent in (child, twin, twin, child, root)] == [
        *("ALLOWED", "ALLOWED", "RATE_LIMITED", "RATE_LIMITED", "RATE_LIMITED")
    ]
    await kavach.agents.update(root.id, permissions=["read:repos"])
    assert [await code(kavach, twin.token) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]


async def test_a_failing_check_consumes_nothing(kavach: Kavach) -> None:
    agent = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=1, allowedArgPatterns=["q=a*"]))
    assert await code(kavach, agent.token, arguments={"q": "b"}) == "ARGUMENT_NOT_ALLOWED"
    assert await code(kavach, agent.token, "write:repos") == "NOT_GRANTED"
    assert await ask(kavach, agent.token, arguments={"q": "a"}, dry_run=True)
    with pytest.raises(InvalidInput):
        await ask(kavach, agent.token, arguments={"q": float("nan")})
    assert [await code(kavach, agent.token, arguments={"q": "a"}) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]


async def test_widening_elsewhere_does_not_renew_a_rate(kavach: Kavach) -> None:
    rate = limited("repos", "read", maxCallsPerHour=1)
    agent = await make_agent(kavach, rate)
    assert await ask(kavach, agent.token)
    await kavach.agents.update(agent.id, permissions=[rate, "read:issues"])
    await kavach.agents.rotate(agent.id)
    assert await code(kavach, agent.id) == "RATE_LIMITED"


async def test_a_lower_rate_keeps_what_was_counted(kavach: Kavach) -> None:
    agent = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=5))
    assert [await code(kavach, agent.token) for _ in range(2)] == ["ALLOWED"] * 2
    await kavach.agents.update(agent.id, permissions=[limited("repos", "read", maxCallsPerHour=3)])
    assert [await code(kavach, agent.token) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]


# Dry runs.


async def test_a_dry_run_explains_consumes_nothing_and_leaves_one_marked_row(
    kavach: Kavach, clock: FrozenClock
) -> None:
    root = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=1), ttl="1h")
    child = await kavach.agents.create(
        owner_id="alice", name="child", permissions=[limited("*", "read", requireApproval=True)]
    )
    link = await kavach.delegations.create(from_agent=root.id, to_agent=child.id, permissions=["read:repos"])
    allowed = [await ask(kavach, child.token, dry_run=True) for _ in range(3)]
    assert [bool(decision) for decision in allowed] == [True] * 3
    looked_at = allowed[0].explanation.looked_at if allowed[0].explanation else ()
    assert [(each.source, each.code.value, each.stopped_at) for each in looked_at] == [
        ("own", "APPROVAL_REQUIRED", child.id),
        (link.id, "ALLOWED", None),
    ]
    assert (await kavach.agents.get(child.id)).last_used_at is None
    assert [entry.dry_run for entry in await all_entries(kavach)] == [True] * 3
    assert await ask(kavach, child.token)
    limit = await ask(kavach, child.token, dry_run=True)
    assert limit.code is Reason.RATE_LIMITED and limit.explanation and limit.explanation.closest
    assert limit.explanation.closest.source == link.id and "maxCallsPerHour" in limit.explanation.would_pass
    assert (await ask(kavach, child.token)).explanation is None


@pytest.mark.parametrize(
    "permission, closest, remedy",
    [
        ("write:repos", "NOT_GRANTED", "Grant"),
        ("read:mail", "CHAIN_NARROWED", "stopped"),
        ("read:ip", "ADDRESS_NOT_ALLOWED", "address"),
    ],
)
async def test_a_dry_run_says_what_came_closest_and_what_would_pass(
    kavach: Kavach, permission: str, closest: str, remedy: str
) -> None:
    root = await make_agent(kavach, "*:*")
    child = await kavach.agents.delegate(
        from_=root.id, permissions=["read:mail", limited("ip", "read", ipAllowlist=["10.0.0.0/8"])]
    )
    await kavach.agents.update(root.id, permissions=["read:ip"])
    decision = await ask(kavach, child.token, permission, dry_run=True)
    assert decision.code.value == closest and decision.explanation and decision.explanation.closest
    assert decision.explanation.closest.code is decision.code and remedy in decision.explanation.would_pass
    assert decision.explanation.closest.stopped_at == (root.id if closest == "CHAIN_NARROWED" else child.id)


async def test_a_dry_run_names_the_permissions_that_need_the_least_change(kavach: Kavach) -> None:
    giver = await make_agent(kavach, "*:*", "*:**")
    agent = await make_agent(kavach, "send:mail", "write:docs:a")
    await kavach.delegations.create(
        from_agent=giver.id,
        to_agent=agent.id,
        permissions=["list:files:a", "write:files:b", "read:files:a", "read:mail", "write:files:b:c"],
    )
    asked = await ask(kavach, agent.id, "write:files:a", dry_run=True)
    assert asked.code is Reason.NOT_GRANTED and asked.explanation
    own, lent = asked.explanation.looked_at
    assert [each.permissions for each in (own, lent)] == [(), ()]
    assert [(each.resource, each.actions) for each in own.nearest] == [("docs:a", ("write",))]
    assert [(each.resource, each.actions) for each in lent.nearest] == [
        ("files:a", ("list",)),
        ("files:a", ("read",)),
        ("files:b", ("write",)),
    ]
    assert asked.explanation.closest is lent


async def test_a_dry_run_about_a_dead_agent_says_so(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.agents.revoke(agent.id)
    decision = await ask(kavach, agent.id, dry_run=True)
    assert decision.explanation and decision.explanation.looked_at == () and "final" in decision.explanation.would_pass


# What is recorded of free text.


async def test_arguments_are_redacted_hashed_and_capped(open_kavach: OpenKavach) -> None:
    """The hash is of what may be known: a secret of few digits could be guessed by one of the whole."""
    kavach = await open_kavach(redact=["Sesame"])
    agent = await make_agent(kavach)
    secret = {"Password": "canary-1", "deep": [{"sesame": {"x": "canary-2"}, "q": "kept"}], "TOKEN": ["canary-3"]}
    await ask(kavach, agent.token, arguments=secret)
    await ask(kavach, agent.token, arguments={"big": "x" * 5000})
    first, second = await all_entries(kavach)
    assert "canary" not in str(await select(kavach, "select * from kavach_audit"))
    assert first.arguments["deep"][0] == {"sesame": "[redacted]", "q": "kept"}
    known = {"Password": "[redacted]", "deep": [{"sesame": "[redacted]", "q": "kept"}], "TOKEN": "[redacted]"}
    assert first.arguments_hash == hashlib.sha256(canonical_json(known).encode()).hexdigest()
    assert second.arguments == {"[omitted]": "5010 bytes"}
    assert second.arguments_hash == hashlib.sha256(canonical_json({"big": "x" * 5000}).encode()).hexdigest()


async def test_what_ends_like_a_secrets_name_is_redacted(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(redact=["pin-code"])
    agent = await make_agent(kavach)
    secret = ("access_token", "client_secret", "refreshToken", "X-Api-Key", "apiKey", "PASSPHRASE", "cardPinCode")
    kept = {"max_tokens": 5, "tokenizer": "x", "secretary": "y", "": "z"}
    hidden = {name: f"canary-{name}" for name in secret}
    await ask(kavach, agent.token, arguments={**hidden, **kept, "deep": [{"set": hidden}]})
    (entry,) = await all_entries(kavach)
    redacted = dict.fromkeys(secret, "[redacted]")
    assert entry.arguments == {**redacted, **kept, "deep": [{"set": redacted}]}
    assert "canary" not in str(await select(kavach, "select * from kavach_audit"))


async def test_unclean_free_text_is_stored_escaped(kavach: Kavach) -> None:
    agent, unclean = await make_agent(kavach), "a\x00b\ud800c\u2028d"
    context = CallContext(ip=unclean, user_agent=unclean, request_id=unclean)
    assert await ask(kavach, agent.token, arguments={unclean: [unclean], "n": {"x": unclean}}, context=context)
    (entry,) = await all_entries(kavach)
    escaped = "a\\u0000b\\ud800c\\u2028d"
    assert (entry.address, entry.user_agent, entry.request_id) == (escaped,) * 3
    assert entry.arguments == {unclean: [unclean], "n": {"x": unclean}}
    ((stored,),) = await select(
        kavach, "select arguments from kavach_audit where project_id = $1", kavach.config.project
    )
    assert stored.isascii() and stored.isprintable() and json.loads(stored) == entry.arguments


async def test_one_unclean_call_does_not_fail_those_that_wait_with_it(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    arguments = [{"q": "ok"} if number % 8 else {"q": "\x00\ud800"} for number in range(64)]
    decisions = await asyncio.gather(*[ask(kavach, agent.token, arguments=each) for each in arguments])
    assert all(decisions) and await count(kavach, "kavach_audit") == 64


# Credentials of nobody.


async def test_a_bad_checksum_is_refused_without_a_query(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    token = agent.token or ""
    other, store = watched(kavach)
    swapped = token[:-1] + ("a" if token[-1] != "a" else "b")
    for bad in (
        swapped,
        token[:-1],
        token + "a",
        token.upper(),
        "kv_agt_",
        "",
        "Bearer x",
        "kv_agt_é",
        "\ud800",
        "kv_ses_x",
    ):
        assert await code(other, bad) == "MALFORMED_CREDENTIAL"
        rejected = await other.agents.verify(bad)
        assert not rejected.valid and rejected.code is Reason.MALFORMED_CREDENTIAL
    assert store.asked == 0
    assert await ask(other, token) and store.asked == 1
    assert not await other.sessions.verify(token) and not await other.keys.verify(swapped)
    assert store.asked == 1


async def test_a_credential_of_nobody_is_counted_and_never_a_row(kavach: Kavach, open_kavach: OpenKavach) -> None:
    stranger = await make_agent(await open_kavach(project=f"elsewhere-{secrets.token_hex(4)}"))
    for _ in range(3):
        decision = await ask(kavach, stranger.token, context=HTTP)
        assert (decision.code, decision.audit_id, decision.identity) == (Reason.UNKNOWN_CREDENTIAL, None, None)
    await kavach.agents.verify(stranger.token or "", context=HTTP)
    assert await kavach.limits.unknown_credentials(HTTP.ip) == 4
    assert await kavach.limits.unknown_credentials("203.0.113.9") == 0
    assert await count(kavach, "kavach_audit") == 0


def test_counters_of_unknown_credentials_are_bounded() -> None:
    """However many addresses an attacker has."""
    assert len({keys.unknown(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}") for n in range(60_000)}) <= 4096


@pytest.mark.parametrize("subject", ["agt_" + "0" * 32, "agt_7", "agt_", "agt_a/b"])
async def test_an_agent_that_does_not_exist_is_a_denied_decision(kavach: Kavach, subject: str) -> None:
    decision = await ask(kavach, subject)
    assert (decision.code, decision.audit_id) == (Reason.UNKNOWN_AGENT, None)


# Agents that are refused very often.


async def test_after_60_refusals_in_a_minute_calls_over_http_are_turned_away(
    kavach: Kavach, clock: FrozenClock
) -> None:
    agent, other = await make_agent(kavach), await make_agent(kavach)
    clock.advance("15s")
    for _ in range(59):
        assert await code(kavach, agent.token, "write:repos", context=HTTP) == "NOT_GRANTED"
    assert await ask(kavach, agent.token, context=HTTP)
    assert await code(kavach, agent.token, "write:repos", context=HTTP) == "NOT_GRANTED"
    for _ in range(5):
        turned = await ask(kavach, agent.token, context=HTTP)
        assert (turned.code, turned.retry_after, turned.audit_id) == (Reason.TOO_MANY_REFUSALS, 45, None)
    rejected = await kavach.agents.verify(agent.token or "", context=HTTP)
    assert not rejected.valid and rejected.retry_after == 45
    with pytest.raises(RateLimited):
        await kavach.require_authorized(agent.token or "", action="read", resource="repos", context=HTTP)
    assert await ask(kavach, agent.token)  # in-process calls are the app's own
    assert await ask(kavach, other.token, context=HTTP)
    assert await count(kavach, "kavach_audit") == 63
    clock.advance("45s")
    assert await ask(kavach, other.token, context=HTTP)
    (row,) = [entry for entry in await all_entries(kavach) if entry.calls != 1]
    assert (row.agent_id, row.calls, row.result, row.code) == (
        agent.id,
        7,
        Result.RATE_LIMITED,
        Reason.TOO_MANY_REFUSALS,
    )
    assert await ask(kavach, agent.token, context=HTTP)
    assert await count(kavach, "kavach_audit") == 66


async def test_64_concurrent_refusals_leave_60_rows_and_one_for_the_rest(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach)
    codes = Counter(await asyncio.gather(*[code(kavach, agent.token, "write:x", context=HTTP) for _ in range(64)]))
    assert codes == {"NOT_GRANTED": 60, "TOO_MANY_REFUSALS": 4}
    clock.advance("1m")
    await ask(kavach, agent.token, context=HTTP)
    assert sorted(entry.calls for entry in await all_entries(kavach)) == [1] * 61 + [4]


async def test_the_limit_of_refusals_can_be_set_and_switched_off(open_kavach: OpenKavach) -> None:
    for limit, expected in ((3, 3), (None, 70)):
        kavach = await open_kavach(refused_per_minute=limit)
        agent = await make_agent(kavach)
        codes = [await code(kavach, agent.token, "write:x", context=HTTP) for _ in range(70)]
        assert codes.count("NOT_GRANTED") == expected


async def test_whoever_is_turned_away_here_is_turned_away_everywhere(open_kavach: OpenKavach) -> None:
    """Two that share the database, as two processes do. The new token of a rotated agent stays welcome in both."""
    here, there = await open_kavach(refused_per_minute=2), await open_kavach(refused_per_minute=2)
    agent = await make_agent(here)
    for _ in range(2):
        assert await code(here, agent.token, "write:x", context=HTTP) == "NOT_GRANTED"
    assert await code(there, agent.token, context=HTTP) == "TOO_MANY_REFUSALS"
    rotated = await here.agents.rotate((other := await make_agent(here)).id)
    for _ in range(2):
        assert await code(there, other.token, context=HTTP) == "TOKEN_ROTATED"
    assert await code(here, other.token, context=HTTP) == "TOO_MANY_REFUSALS"
    assert await ask(here, rotated.token, context=HTTP) and await ask(there, rotated.token, context=HTTP)


async def test_what_was_turned_away_is_on_record_after_closing(open_kavach: OpenKavach) -> None:
    """Its minute is not over, and there will be no later."""
    kavach = await open_kavach(refused_per_minute=2)
    agent = await make_agent(kavach)
    codes = [await code(kavach, agent.token, "write:x", context=HTTP) for _ in range(5)]
    assert codes == ["NOT_GRANTED"] * 2 + ["TOO_MANY_REFUSALS"] * 3
    await kavach.close()
    entries = await all_entries(await open_kavach())
    assert [(entry.code.value, entry.calls) for entry in entries] == [
        *[("NOT_GRANTED", 1)] * 2,
        ("TOO_MANY_REFUSALS", 3),
    ]


# Failure.


async def test_an_answer_that_cannot_be_read_is_an_error(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    other, store = watched(kavach)
    store.failure = StoreUnavailable("gone")
    for asking in (ask(other, agent.token), other.agents.verify(agent.token or ""), other.agents.revoke(agent.id)):
        with pytest.raises(StoreUnavailable):
            await asking
    store.failure = None
    assert await ask(other, agent.token)


async def test_an_answer_that_cannot_be_recorded_is_an_error_and_consumes_nothing(
    database_url: str, open_kavach: OpenKavach, clock: FrozenClock
) -> None:
    kavach = await open_kavach(database=database_url)
    agent = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=2), ttl="1h")
    clock.advance("30m")
    await run(kavach, "alter table kavach_audit rename to kavach_away")
    results = await asyncio.gather(*[ask(kavach, agent.token) for _ in range(16)], return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert (await kavach.agents.get(agent.id)).last_used_at is None
    await run(kavach, "alter table kavach_away rename to kavach_audit")
    assert [await code(kavach, agent.token) for _ in range(3)] == ["ALLOWED", "ALLOWED", "RATE_LIMITED"]
    assert [entry.sequence for entry in await all_entries(kavach)] == [0, 1, 2]


# Together.


async def test_64_concurrent_mixed_calls_are_each_decided_and_recorded_once(kavach: Kavach) -> None:
    """Allowed, denied, dead, unknown, and 16 that share a rate of 5 through a chain."""
    root = await make_agent(kavach, "read:repos", limited("mail", "send", maxCallsPerHour=5))
    child = await kavach.agents.delegate(from_=root.id, permissions=["send:mail"])
    dead = await make_agent(kavach)
    await kavach.agents.revoke(dead.id)
    calls = [(root.token, "read:repos"), (root.token, "write:repos"), (dead.token, "read:repos")]
    calls += [(child.token, "send:mail"), (child.token, "read:repos"), ("agt_" + "0" * 32, "read:repos")]
    asked = [calls[number % len(calls)] for number in range(64)]
    decisions = await asyncio.gather(*[ask(kavach, token, permission) for token, permission in asked])
    codes = Counter(decision.code.value for decision in decisions)
    shared = sum(call is calls[3] for call in asked)
    assert codes == {
        "ALLOWED": sum(call is calls[0] for call in asked) + 5,
        "NOT_GRANTED": sum(call in (calls[1], calls[4]) for call in asked),
        "AGENT_REVOKED": sum(call is calls[2] for call in asked),
        "RATE_LIMITED": shared - 5,
        "UNKNOWN_AGENT": sum(call is calls[5] for call in asked),
    }
    entries = await all_entries(kavach)
    assert Counter(entry.code.value for entry in entries) == codes - Counter(UNKNOWN_AGENT=64)
    assert [entry.sequence for entry in entries] == list(range(len(entries))) and len(
        {entry.writer for entry in entries}
    ) == 1
    by_id = {decision.audit_id: decision.code for decision in decisions if decision.audit_id}
    assert by_id == {entry.id: entry.code for entry in entries}


async def test_a_rate_holds_over_two_kavachs_at_once(open_kavach: OpenKavach) -> None:
    one, two = await open_kavach(), await open_kavach()
    agent = await make_agent(one, limited("repos", "read", maxCallsPerHour=10))
    codes = Counter(await asyncio.gather(*[code(kavach, agent.token) for _ in range(16) for kavach in (one, two)]))
    assert codes == {"ALLOWED": 10, "RATE_LIMITED": 22}
    sequences: dict[str, list[int]] = {}
    for entry in await all_entries(one):
        sequences.setdefault(entry.writer, []).append(entry.sequence)
    assert [sorted(each) for each in sequences.values()] == [list(range(16))] * 2


async def test_a_header_that_is_not_there_is_a_credential_that_does_not_hold(sqlite_kavach: Kavach) -> None:
    for nothing in (None, 5, b"kv_agt_"):
        assert await code(sqlite_kavach, nothing) == "MALFORMED_CREDENTIAL"
    for verify in (sqlite_kavach.agents.verify, sqlite_kavach.sessions.verify, sqlite_kavach.keys.verify):
        for token in (None, "", "agt_", "agt_" + "0" * 32, "kv_"):
            assert not (await verify(token)).valid


@pytest.mark.parametrize("context", [None, "203.0.113.7", {"ip": "203.0.113.7"}])
async def test_a_context_that_is_none_is_refused(sqlite_kavach: Kavach, context: Any) -> None:
    for asked in (
        sqlite_kavach.authorize("kv_agt_", action="read", resource="repos", context=context),
        sqlite_kavach.agents.verify(None, context=context),
    ):
        with pytest.raises(InvalidInput, match="CallContext"):
            await asked


@pytest.mark.parametrize("wrong", [{"ip": 7}, {"ip": []}, {"user_agent": b"probe"}, {"request_id": 7}])
async def test_a_context_with_something_else_than_text_is_refused(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    agent = await make_agent(sqlite_kavach)
    with pytest.raises(InvalidInput):
        await ask(sqlite_kavach, agent.token, context=CallContext(**wrong))
