"""The core as its user writes it. What a type checker must refuse is marked: an unused mark is an error as well."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_never, assert_type

from kavach_core import (
    AgentIdentity,
    CallContext,
    HumanIdentity,
    Identity,
    Kavach,
    LiveSession,
    Permission,
    Reason,
    Rejected,
    ServiceIdentity,
    SessionRejected,
    Verified,
    lazy_kavach,
)
from kavach_core.testing import FrozenClock, temporary_kavach

get_kavach = lazy_kavach(database="postgresql://localhost/app", base_url="https://app.example", secret=["s" * 32])


async def the_long_form(kavach: Kavach, token: str) -> str:
    """Verified and Rejected are told apart by `.valid`."""
    identity = await kavach.agents.verify(token)
    assert_type(identity, Verified | Rejected)
    if identity.valid is False:
        assert_type(identity, Rejected)
        assert_type(identity.code, Reason)
        return identity.agent_id  # type: ignore[attr-defined,no-any-return]
    assert_type(identity, AgentIdentity)
    decision = await kavach.authorize(identity, action="read", resource="repos", context=CallContext(ip="10.0.0.1"))
    if not decision:
        return decision.reason
    child = await kavach.agents.delegate(
        from_=identity.agent_id, permissions=["read:repos"], ttl="30m", purpose="search"
    )
    await kavach.delegations.revoke(child.delegation_id)
    return child.token or ""


async def by_truth_of_valid(kavach: Kavach, token: str) -> str:
    """Pyright narrows a union by `.valid is False` and by the truth of the whole, not by the truth of `.valid`."""
    identity = await kavach.agents.verify(token)
    if not identity.valid:
        return ""
    return identity.agent_id  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


async def a_forgotten_check(kavach: Kavach, token: str) -> str:
    """What was not verified has nothing on it that could be used."""
    identity = await kavach.agents.verify(token)
    return identity.owner_id  # type: ignore[union-attr]


async def by_truth(kavach: Kavach, token: str) -> str | None:
    """`bool()` tells a session as well."""
    identity = await kavach.agents.verify(token)
    session = await kavach.sessions.verify(token)
    if session:
        assert_type(session, LiveSession)
        return session.user_id
    assert_type(session, SessionRejected)
    return identity.owner_id if identity else None


def every_kind(identity: Identity) -> str:
    """There are three kinds of identity and no more."""
    match identity:
        case HumanIdentity():
            return identity.id
        case AgentIdentity():
            return identity.owner_id
        case ServiceIdentity():
            return identity.key_id
        case _:
            assert_never(identity)


async def wrong_arguments(kavach: Kavach) -> None:
    """Settings and arguments are typed."""
    lazy_kavach(databse="sqlite:///x.db")  # type: ignore[call-arg]
    await kavach.agents.create("alice", "x")  # type: ignore[call-arg]
    permission = Permission(resource="app:read:*", actions=["read"])
    await kavach.agents.create(owner_id="alice", name="x", type="autonomous", permissions=[permission, "read:repos"])


async def in_a_test() -> None:
    """What an app's own tests use."""
    clock = FrozenClock()
    async with temporary_kavach(clock=clock) as kavach:
        assert_type(kavach, Kavach)
        clock.advance("2h")
