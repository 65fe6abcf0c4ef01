"""The life of an agent: made, read, changed, rotated, ended."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kavach_core import AgentStatus, AgentType, Kavach, Permission, Reason
from kavach_core.capabilities.agents import queries
from kavach_core.capabilities.audit import queries as audit_queries
from kavach_core.capabilities.owners import OwnerRow
from kavach_core.capabilities.owners import queries as owner_queries
from kavach_core.errors import (
    Conflict,
    FinalState,
    InvalidInput,
    LimitReached,
    NotFound,
    OwnerSuspended,
    RateLimited,
    Unauthenticated,
)
from kavach_core.primitives.permissions import parse_permissions
from kavach_core.store import Transaction
from kavach_core.testing import FrozenClock
from tests.capabilities.support import Home, OpenKavach, ask, code, count, dump, events, make_agent, opener

UNKNOWN = "agt_" + "0" * 32


# Making.


async def test_a_new_agent_is_as_asked(kavach: Kavach, clock: FrozenClock) -> None:
    end = clock.now + timedelta(days=1)
    agent = await kavach.agents.create(
        owner_id="user_2x9",
        name="Gehilfe 🤖",
        type="service",
        permissions=["read:repos", Permission(resource="app:read:*", actions=["read"])],
        ttl="2h",
        expires_at=end,
        metadata={"team": "core", "n": [1, None]},
    )
    found = await kavach.agents.get(agent.id)
    assert found == agent.__class__(**{name: getattr(agent, name) for name in agent.__slots__ if name != "token"})
    assert found.type is AgentType.SERVICE and found.status is AgentStatus.ACTIVE
    assert (found.owner_id, found.name, found.ttl, found.expires_at) == (
        "user_2x9",
        "Gehilfe 🤖",
        timedelta(hours=2),
        end,
    )
    assert (
        found.created_at == clock.now
        and found.last_used_at is None
        and found.metadata == {"team": "core", "n": [1, None]}
    )
    assert agent.id.startswith("agt_")


async def test_both_spellings_of_a_permission_are_one(kavach: Kavach) -> None:
    spellings: list[Any] = [
        "read:app:x",
        {"resource": "app:x", "actions": ["read"]},
        Permission(resource="app:x", actions=["read"]),
    ]
    made = [await make_agent(kavach, spelling) for spelling in spellings]
    assert {agent.permissions for agent in made} == {parse_permissions(["read:app:x"])}
    assert await count(kavach, "kavach_permission_sets") == 1


async def test_a_token_is_shown_once_and_only_its_digest_is_stored(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    rotated = await kavach.agents.rotate(agent.id)
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    await kavach.agents.verify(agent.token or "")
    session, key = await kavach.sessions.create("alice"), await kavach.keys.create(name="ci", scopes=["*"])
    stored = await dump(kavach)
    for secret in (agent.token, rotated.token, child.token, session.token, key.key):
        assert secret and secret not in stored and secret[8:-6] not in stored
        assert repr(hashlib.sha256(secret.encode()).digest()) in stored
        database = Path(kavach.config.database.removeprefix("sqlite:///"))
        for file in database.parent.glob(f"{database.name}*") if kavach.config.database.startswith("sqlite") else ():
            assert secret[8:-6].encode() not in file.read_bytes()
    assert "kv_" not in repr((agent, rotated, child, session, key))
    assert (await kavach.agents.get(agent.id)).token is None
    assert all(each.token is None for each in await kavach.agents.list())


@pytest.mark.parametrize(
    "wrong",
    [
        {"owner_id": ""},
        {"owner_id": "a" * 256},
        {"owner_id": "ali\x00ce"},
        {"name": ""},
        {"name": "n" * 256},
        {"name": "a\x00b"},
        {"name": "a\ud800b"},
        {"name": "a\nb"},
        {"name": 7},
        {"type": "delegated"},
        {"type": "robot"},
        {"ttl": "0s"},
        {"ttl": "2 hours"},
        {"ttl": -1},
        {"ttl": "99999999w"},
        {"ttl": True},
        {"expires_at": datetime(2029, 1, 1, tzinfo=UTC)},
        {"expires_at": datetime(2031, 1, 1)},  # noqa: DTZ001 - a time without zone is the point
        {"expires_at": "2031-01-01T00:00:00Z"},
        {"metadata": {"x": "y" * 8192}},
        {"metadata": {"x": float("nan")}},
        {"metadata": ["x"]},
        {"permissions": "read:repos"},
        {"permissions": ["repos"]},
        {"permissions": ["read:"]},
        {"permissions": ["read:a::b"]},
        {"permissions": ["read:a\x00b"]},
        {"permissions": ["read:a\ud800b"]},
        {"permissions": ["re\x7fad:a"]},
        {"permissions": ["read:git*"]},
        {"permissions": ["read:**:a"]},
        {"permissions": ["read:" + "a" * 513]},
        {"permissions": ["read:" + "a:" * 32 + "a"]},
        {"permissions": [7]},
        {"permissions": [{"resource": "a", "actions": []}]},
        {"permissions": [{"resource": "a", "actions": ["read"], "effect": "deny"}]},
        {"permissions": [{"resource": "a", "actions": ["read"], "constraints": {"fromTheFuture": 1}}]},
        {"permissions": [{"resource": "a", "actions": ["read"], "constraints": {"maxCallsPerHour": -1}}]},
        {"permissions": [f"read:a{number}" for number in range(10_000)]},
    ],
    ids=lambda wrong: ascii(wrong)[:50],
)
async def test_bad_input_is_refused_and_changes_nothing(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.agents.create(**{"owner_id": "alice", "name": "agent", **wrong})
    assert await count(sqlite_kavach, "kavach_agents") == await count(sqlite_kavach, "kavach_events") == 0


async def test_1000_pairs_are_accepted_and_1001_are_not(kavach: Kavach) -> None:
    pairs = [{"resource": f"r{number}", "actions": ["read", "write"]} for number in range(500)]
    agent = await make_agent(kavach, *pairs)
    assert await ask(kavach, agent.token, "write:r499")
    with pytest.raises(InvalidInput):
        await make_agent(kavach, *pairs, "read:more")


@pytest.mark.parametrize(
    "agent_id", ["agt_7", "dlg_" + "0" * 32, "../../etc", "a/b", "agt_" + "G" * 32, UNKNOWN, "agt_"]
)
async def test_an_id_that_cannot_be_and_one_that_is_not_look_alike(sqlite_kavach: Kavach, agent_id: str) -> None:
    agents = sqlite_kavach.agents
    for use in (agents.get, agents.rotate, agents.revoke, agents.update):
        with pytest.raises(NotFound, match="There is no such agent"):
            await use(agent_id)


@pytest.mark.parametrize("agent_id", ["agt_\x00", "agt_\ud800", "", "a" * 513])
async def test_an_id_with_unclean_characters_is_bad_input(sqlite_kavach: Kavach, agent_id: str) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.agents.get(agent_id)


# Reading.


async def test_lists_filter_page_and_count(kavach: Kavach, clock: FrozenClock) -> None:
    made = [await make_agent(kavach, owner_id="alice") for _ in range(3)]
    made.append(await make_agent(kavach, owner_id="bob", type="service"))
    made.append(await make_agent(kavach, owner_id="bob", ttl="1h"))
    await kavach.agents.revoke(made[0].id)
    clock.advance("1h")

    async def numbers(**wanted: Any) -> tuple[list[int], int]:
        page = await kavach.agents.list(**wanted)
        return [[agent.id for agent in made].index(found.id) for found in page], page.total

    assert await numbers() == ([4, 3, 2, 1, 0], 5)
    assert await numbers(owner_id="alice") == ([2, 1, 0], 3)
    assert await numbers(owner_id="Alice") == ([], 0)
    assert await numbers(status="active") == ([3, 2, 1], 3)
    assert await numbers(status="revoked") == ([0], 1)
    assert await numbers(status="expired") == ([4], 1)
    assert await numbers(type="service", owner_id="bob") == ([3], 1)
    assert await numbers(limit=2) == ([4, 3], 5)
    assert await numbers(limit=2, offset=3) == ([1, 0], 5)
    assert await numbers(limit=0) == ([], 5)
    assert await numbers(offset=9) == ([], 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"limit": 10**30},
        {"offset": -1},
        {"offset": 10**9},
        {"status": "gone"},
        {"type": "x"},
        {"owner_id": "\x00"},
    ],
)
async def test_a_list_refuses_what_it_cannot_mean(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.agents.list(**wrong)


# Changing.


async def test_an_update_changes_what_is_given_and_nothing_else(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, ttl="1h", metadata={"a": 1}, expires_at=clock.now + timedelta(days=2))
    clock.advance("10m")
    renamed = await kavach.agents.update(agent.id, name="other")
    assert (renamed.name, renamed.ttl, renamed.metadata, renamed.permissions) == (
        "other",
        agent.ttl,
        {"a": 1},
        agent.permissions,
    )
    assert (renamed.updated_at, renamed.created_at) == (clock.now, agent.created_at)
    freed = await kavach.agents.update(agent.id, ttl=None, expires_at=None, metadata={})
    assert (freed.name, freed.ttl, freed.expires_at, freed.metadata) == ("other", None, None, {})
    assert await kavach.agents.get(agent.id) == freed


async def test_the_next_call_sees_narrowed_permissions(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "read:repos", "write:repos")
    identity = await kavach.agents.verify(agent.token or "")
    assert await ask(kavach, identity, "write:repos")
    await kavach.agents.update(agent.id, permissions=["read:repos"])
    assert await code(kavach, identity, "write:repos") == "NOT_GRANTED"
    assert await code(kavach, identity, "read:repos") == "ALLOWED"


async def test_a_new_ttl_counts_from_the_last_use(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, ttl="1h")
    clock.advance("30m")
    await kavach.agents.update(agent.id, ttl="40m")
    clock.advance("11m")
    assert await code(kavach, agent.token) == "AGENT_IDLE"


async def test_a_delegated_agent_has_only_what_was_delegated(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "*:*")
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    with pytest.raises(Conflict):
        await kavach.agents.update(child.id, permissions=["*:*"])
    assert (await kavach.agents.update(child.id, name="scout")).name == "scout"
    assert await code(kavach, child.token, "write:repos") == "NOT_GRANTED"


async def test_a_delegated_agent_may_only_end_earlier(kavach: Kavach, clock: FrozenClock) -> None:
    root = await make_agent(kavach, ttl="2h", expires_at=clock.now + timedelta(days=2))
    end = clock.now + timedelta(days=1)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"], ttl="1h", expires_at=end)
    for later in (
        {"expires_at": end + timedelta(seconds=1)},
        {"expires_at": None},
        {"ttl": "61m"},
        {"ttl": None},
        {"ttl": "30m", "expires_at": None},
    ):
        with pytest.raises(Conflict):
            await kavach.agents.update(child.id, **later)
    unchanged = await kavach.agents.get(child.id)
    assert (unchanged.ttl, unchanged.expires_at) == (child.ttl, child.expires_at) == (timedelta(hours=1), end)
    earlier = await kavach.agents.update(child.id, ttl="30m", expires_at=end - timedelta(hours=1))
    assert (earlier.ttl, earlier.expires_at) == (timedelta(minutes=30), end - timedelta(hours=1))


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a\x00"}, {"ttl": "0s"}, {"permissions": ["x"]}, {"expires_at": datetime(2029, 1, 1, tzinfo=UTC)}],
    ids=str,
)
async def test_a_bad_update_changes_nothing(kavach: Kavach, wrong: dict[str, Any]) -> None:
    agent = await make_agent(kavach)
    with pytest.raises(InvalidInput):
        await kavach.agents.update(agent.id, **{"metadata": {"new": True}, **wrong})
    assert (await kavach.agents.get(agent.id)).metadata == {}
    assert await events(kavach) == ["agent.created"]


async def test_revoked_and_expired_are_final(kavach: Kavach, clock: FrozenClock) -> None:
    revoked, expired = await make_agent(kavach), await make_agent(kavach, expires_at=clock.now + timedelta(hours=1))
    idle = await make_agent(kavach, ttl="1h")
    await kavach.agents.revoke(revoked.id)
    clock.advance("1h")
    for agent in (revoked, expired, idle):
        for change in (
            kavach.agents.update(agent.id, expires_at=None),
            kavach.agents.update(agent.id, ttl=None),
            kavach.agents.rotate(agent.id),
            kavach.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        ):
            with pytest.raises(FinalState):
                await change
    await kavach.agents.revoke(revoked.id)
    assert (await events(kavach)).count("agent.revoked") == 1
    codes = [await code(kavach, agent.token) for agent in (revoked, expired, idle)]
    assert codes == ["AGENT_REVOKED", "AGENT_EXPIRED", "AGENT_IDLE"]


# Tokens.


async def test_verify_tells_who_it_is(kavach: Kavach) -> None:
    agent = await make_agent(kavach, owner_id="user_2x9", name="scout")
    identity = await kavach.agents.verify(agent.token or "")
    assert identity and identity.valid
    assert (identity.agent_id, identity.owner_id, identity.name) == (agent.id, "user_2x9", "scout")
    assert identity.permissions == agent.permissions
    assert await kavach.agents.require_verified(agent.token or "") == identity


async def test_rotating_kills_the_old_token_at_once(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    identity = await kavach.agents.verify(agent.token or "")
    rotated = await kavach.agents.rotate(agent.id)
    rejected = await kavach.agents.verify(agent.token or "")
    assert not rejected.valid and rejected.code is Reason.TOKEN_ROTATED and rejected.audit_id
    assert not hasattr(rejected, "agent_id")
    assert await code(kavach, identity) == "TOKEN_ROTATED"
    assert await code(kavach, rotated.token) == await code(kavach, agent.id) == "ALLOWED"
    with pytest.raises(Unauthenticated) as caught:
        await kavach.agents.require_verified(agent.token or "")
    assert caught.value.public_code == "TOKEN_ROTATED" and caught.value.audit_id


async def test_rotating_names_or_cuts_what_was_delegated_since(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach)
    first = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    gone = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    await kavach.delegations.revoke(gone.delegation_id)
    clock.advance("1m")
    named = await kavach.agents.rotate(agent.id)
    assert (named.delegations, named.cut) == ((first.delegation_id,), False)
    assert await ask(kavach, first.token)
    clock.advance("1m")
    second = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    cut = await kavach.agents.rotate(agent.id, cut_children=True)
    assert (cut.delegations, cut.cut) == ((second.delegation_id,), True)
    assert (await code(kavach, first.token), await code(kavach, second.token)) == ("ALLOWED", "CHAIN_CUT")


async def test_16_concurrent_rotations_leave_one_token(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    rotated = await asyncio.gather(*[kavach.agents.rotate(agent.id) for _ in range(16)])
    codes = [await code(kavach, each.token) for each in rotated]
    assert sorted(codes) == ["ALLOWED"] + ["TOKEN_ROTATED"] * 15


async def test_a_token_of_nobody_is_rejected_without_a_record(kavach: Kavach, open_kavach: OpenKavach) -> None:
    other = await make_agent(await open_kavach(project=f"elsewhere-{secrets.token_hex(4)}"))
    rejected = await kavach.agents.verify(other.token or "")
    assert not rejected.valid and rejected.code is Reason.UNKNOWN_CREDENTIAL and rejected.audit_id is None


# Ends.


async def test_expires_at_is_absolute(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, expires_at=clock.now + timedelta(hours=1))
    clock.advance(timedelta(hours=1, microseconds=-1))
    assert await ask(kavach, agent.token)
    clock.advance(timedelta(microseconds=1))
    assert await code(kavach, agent.token) == await code(kavach, agent.id) == "AGENT_EXPIRED"


async def test_ttl_is_inactivity_and_use_slides_it(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, ttl="1h")
    for _ in range(3):
        clock.advance("59m")
        assert await ask(kavach, agent.token)
    assert (await kavach.agents.get(agent.id)).last_used_at == clock.now
    clock.advance("1h")
    assert await code(kavach, agent.token) == "AGENT_IDLE"


async def test_only_an_allowed_decision_is_a_use(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, ttl="1h")
    clock.advance("40m")
    assert await code(kavach, agent.token, "write:repos") == "NOT_GRANTED"
    assert (await kavach.agents.verify(agent.token or "")).valid
    assert await ask(kavach, agent.token, dry_run=True)
    clock.advance("20m")
    assert await code(kavach, agent.token) == "AGENT_IDLE"


@pytest.mark.parametrize(
    "ttl, early", [(timedelta(hours=1), timedelta(minutes=3)), (timedelta(seconds=10), timedelta(seconds=1))]
)
async def test_an_idle_agent_ends_at_most_a_little_early_and_never_late(
    kavach: Kavach, clock: FrozenClock, ttl: timedelta, early: timedelta
) -> None:
    """The second use falls just before the first is due to be written again: the worst case."""
    agent = await make_agent(kavach, ttl=ttl)
    assert await ask(kavach, agent.token)
    clock.advance(early - timedelta(microseconds=1))
    assert await ask(kavach, agent.token)
    used = clock.now
    clock.move_to(used + ttl - early)
    assert await ask(kavach, agent.token, dry_run=True)
    clock.move_to(used + ttl)
    assert await code(kavach, agent.token) == "AGENT_IDLE"


async def test_use_slides_every_agent_on_the_path(kavach: Kavach, clock: FrozenClock) -> None:
    root = await make_agent(kavach, ttl="1h")
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    leaf = await kavach.agents.delegate(from_=child.id, permissions=["read:repos"])
    aside = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    assert leaf.ttl == child.ttl == timedelta(hours=1)
    for _ in range(3):
        clock.advance("40m")
        assert await ask(kavach, leaf.token)
    codes = [await code(kavach, agent.token) for agent in (root, child, leaf, aside)]
    assert codes == ["ALLOWED", "ALLOWED", "ALLOWED", "AGENT_IDLE"]


async def test_a_use_never_undoes_a_ttl_that_was_shortened_meanwhile(
    postgres_home: Home, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change commits between the read of a decision and its write; on SQLite there is no such moment."""
    async with opener(database=postgres_home.database, project=postgres_home.project, clock=clock) as open_kavach:
        kavach = await open_kavach()
        agent = await make_agent(kavach, ttl="2h")
        insert = audit_queries.insert

        async def shorten_first(tx: Transaction, *args: Any) -> None:
            monkeypatch.setattr(audit_queries, "insert", insert)
            await kavach.agents.update(agent.id, ttl="1m")
            await insert(tx, *args)

        monkeypatch.setattr(audit_queries, "insert", shorten_first)
        assert await ask(kavach, agent.token)
        clock.advance("1m")
        assert await code(kavach, agent.token) == "AGENT_IDLE"


# Delegating to a new agent.


async def test_a_delegated_agent_is_its_givers_kind(kavach: Kavach, clock: FrozenClock) -> None:
    end = clock.now + timedelta(hours=5)
    root = await make_agent(kavach, "*:repos", owner_id="user_2x9", ttl="2h", expires_at=end)
    child = await kavach.agents.delegate(
        from_=root.id, permissions=["read:repos"], ttl="3h", expires_at=end + timedelta(days=1), purpose="a\x00\u202eb"
    )
    assert (child.type, child.owner_id, child.permissions) == (AgentType.DELEGATED, "user_2x9", ())
    assert (child.ttl, child.expires_at) == (timedelta(hours=2), end)
    assert child.delegated_permissions == parse_permissions(["read:repos"])
    delegation = await kavach.delegations.get(child.delegation_id)
    assert (delegation.from_agent, delegation.to_agent, delegation.purpose) == (root.id, child.id, "a\\u0000\\u202eb")
    assert (delegation.expires_at, delegation.depth, delegation.max_depth) == (end, 1, 3)
    assert child.founding_delegation_id == child.delegation_id and child.token
    shorter = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"], ttl="30m", name="scout")
    assert (shorter.ttl, shorter.name) == (timedelta(minutes=30), "scout")


async def test_a_suspended_owner_gets_nothing_new(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.owners.suspend("alice")
    for making in (
        make_agent(kavach),
        kavach.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        kavach.sessions.create("alice"),
    ):
        with pytest.raises(OwnerSuspended):
            await making
    assert await count(kavach, "kavach_agents") == 1
    await kavach.agents.revoke(agent.id)  # ending things is never refused


# The limit of live agents.


async def test_ended_agents_make_room_under_the_limit(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    kavach = await open_kavach(max_agents_per_owner=2)
    first, _ = await make_agent(kavach), await make_agent(kavach, ttl="1h")
    for making in (make_agent(kavach), kavach.agents.delegate(from_=first.id, permissions=["read:repos"])):
        with pytest.raises(LimitReached):
            await making
    assert await make_agent(kavach, owner_id="bob")
    clock.advance("1h")
    await make_agent(kavach)
    await kavach.agents.revoke(first.id)
    await make_agent(kavach)
    with pytest.raises(LimitReached):
        await make_agent(kavach)


async def test_a_limit_of_0_is_none_at_all(open_kavach: OpenKavach) -> None:
    with pytest.raises(LimitReached):
        await make_agent(await open_kavach(max_agents_per_owner=0))


async def test_16_concurrent_creates_fill_the_limit_exactly(
    open_kavach: OpenKavach, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _race(open_kavach, monkeypatch) == 5


async def test_without_the_owners_lock_the_same_race_breaks_the_limit(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control. On SQLite one writer at a time makes it impossible, whatever the code does."""

    async def look(tx: Transaction, project: str, owner_id: str) -> OwnerRow:
        return OwnerRow(owner_id, tx.now, None, None)

    monkeypatch.setattr(owner_queries, "lock", look)
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_kavach:
        assert await _race(open_kavach, monkeypatch) > 5


async def _race(open_kavach: OpenKavach, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of 16 concurrent creates succeed under a limit of 5, when everyone takes long after counting."""
    counted = queries.count

    async def count_slowly(tx: Transaction, *args: Any, **more: Any) -> int:
        found = await counted(tx, *args, **more)
        if tx.dialect == "postgres":
            await tx.fetch("select pg_sleep(0.03)")
        return found

    kavach = await open_kavach(max_agents_per_owner=5)
    with monkeypatch.context() as patched:
        patched.setattr(queries, "count", count_slowly)
        results: Sequence[object] = await asyncio.gather(
            *[make_agent(kavach) for _ in range(16)], return_exceptions=True
        )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, LimitReached) for error in refused)
    assert await count(kavach, "kavach_agents") == 16 - len(refused)
    return 16 - len(refused)


async def test_a_rate_refusal_is_not_taken_for_a_bad_credential(kavach: Kavach) -> None:
    agent = await make_agent(kavach, {"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 0}})
    with pytest.raises(RateLimited):
        await kavach.require_authorized(agent.token or "", action="read", resource="repos")
