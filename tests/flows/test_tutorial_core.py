"""The in-process flows of the tutorial, as they are written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kavach_core import CallContext, HumanIdentity, Kavach, Permission, lazy_kavach
from kavach_core.testing import FrozenClock, temporary_kavach


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


async def test_the_short_form_creates_an_agent_for_a_human(database_url: str) -> None:
    get_kavach = lazy_kavach(database=database_url)
    user = HumanIdentity(id="user_2x9")
    kavach = await get_kavach()
    agent = await kavach.agents.create(
        owner_id=user.id,
        name="coding-assistant",
        permissions=["read:repos", "read:issues", "write:comments"],
        ttl="2h",
    )
    shown = {"agentId": agent.id, "token": agent.token}
    assert all(shown.values()) and (await (await get_kavach()).agents.get(agent.id)).token is None
    await get_kavach.close()


async def test_the_long_form_verifies_authorizes_delegates_cuts_and_rotates(database_url: str) -> None:
    get_kavach = lazy_kavach(database=database_url)
    kavach = await get_kavach()
    agent = await kavach.agents.create(
        owner_id="user_2x9", name="coding-assistant", permissions=["read:repos"], ttl="2h"
    )

    identity = await kavach.agents.verify(agent.token or "")
    if not identity.valid:
        raise AssertionError(identity.code, identity.audit_id)
    decision = await kavach.authorize(identity, action="read", resource="repos", context=CallContext(ip="192.0.2.1"))
    if not decision.allowed:
        raise AssertionError(decision.code, decision.reason, decision.audit_id)
    assert identity and decision

    child = await kavach.agents.delegate(
        from_=identity.agent_id, permissions=["read:repos"], ttl="30m", purpose="code-search-subtask"
    )
    assert await kavach.authorize(child.token or "", action="read", resource="repos")
    await kavach.delegations.revoke(child.delegation_id)
    cut = await kavach.authorize(child.token or "", action="read", resource="repos")
    assert not cut and cut.code == "CHAIN_CUT"

    rotated = await kavach.agents.rotate(agent.id)
    dead = await kavach.agents.verify(agent.token or "")
    assert not dead.valid and dead.code == "TOKEN_ROTATED" and dead.audit_id
    assert (await kavach.agents.verify(rotated.token or "")).valid

    other = await kavach.agents.create(
        owner_id="user_2x9",
        name="default",
        type="autonomous",
        permissions=[Permission(resource="app:read:*", actions=["read"])],
    )
    assert await kavach.authorize(other.token or "", action="read", resource="app:read:x")

    told = [(entry.action, entry.code.value, len(entry.path)) for entry in await kavach.audit.trace(agent.id)]
    assert told == [
        ("read", "ALLOWED", 1),
        ("read", "ALLOWED", 2),
        ("read", "CHAIN_CUT", 2),
        ("authenticate", "TOKEN_ROTATED", 1),
    ]
    await get_kavach.close()


async def test_a_session_is_verified_by_its_token(database_url: str) -> None:
    get_kavach = lazy_kavach(database=database_url)
    kavach = await get_kavach()
    session = await kavach.sessions.create("usr_1")
    check = await kavach.sessions.verify(session.token or "")
    assert check.valid and check.user_id == "usr_1"
    assert session.user_id == "usr_1" and session.expires_in > 0
    await get_kavach.close()


async def test_what_is_written_is_there_after_a_restart(database_url: str) -> None:
    for first in (True, False):
        get_kavach = lazy_kavach(database=database_url)
        kavach = await get_kavach()
        if first:
            agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
        assert await kavach.authorize(agent.token or "", action="read", resource="repos")
        await get_kavach.close()


def test_building_opens_nothing(tmp_path: Path) -> None:
    lazy_kavach(database=f"sqlite:///{tmp_path / 'kavach.db'}")
    lazy_kavach(database="postgresql://nobody@192.0.2.1/nowhere")
    assert list(tmp_path.iterdir()) == []


def _is_there(kavach: Kavach) -> bool:
    return Path(kavach.config.database.removeprefix("sqlite:///")).parent.exists()


async def test_a_users_own_test_sets_the_clock() -> None:
    clock = FrozenClock()
    async with temporary_kavach(clock=clock) as kavach:
        agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"], ttl="2h")
        clock.advance("2h")
        decision = await kavach.authorize(agent.token or "", action="read", resource="repos")
        assert decision.code == "AGENT_IDLE" and agent.created_at < clock.now
        assert _is_there(kavach)
    assert not _is_there(kavach)
    with pytest.raises(ValueError, match="go back"):
        clock.move_to(agent.created_at)
