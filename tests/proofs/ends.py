"""All that may be ended: how it comes to be, what is called with, and how it ends while it is called."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kavach_core import ApprovalStatus, Kavach
from kavach_core.errors import FinalState
from tests.capabilities.support import ask, limited, make_agent

READ = ["read:repos"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody who may call until an end. `end` returns when the end was acknowledged, None if a call will be it."""

    kind: str
    #: What it calls with: the token of an agent, the secret of a session or an API key.
    credential: str
    project: str
    end: Callable[[], Awaitable[int | None]]
    #: Whether it is let in as often as it likes until then, and not once.
    may_call: bool = True


Make = Callable[[Kavach, str], Awaitable[Subject]]
End = Callable[[Kavach, "Chain"], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Chain:
    """An agent two delegations below another, and the ids of all that can be cut above it."""

    owner_id: str
    root_id: str
    delegation_id: str
    leaf_id: str
    token: str
    budget_id: str


async def make_chain(kavach: Kavach, owner_id: str) -> Chain:
    root = await make_agent(kavach, owner_id=owner_id)
    child = await kavach.agents.delegate(from_=root.id, permissions=READ)
    leaf = await kavach.agents.delegate(from_=child.id, permissions=READ)
    budget = await kavach.budgets.create(limit=10**9, per="day", agent_id=root.id)
    return Chain(owner_id, root.id, child.delegation_id, leaf.id, leaf.token or "", budget.id)


def _of_chain(kind: str, end: End) -> Make:
    async def make(kavach: Kavach, owner_id: str) -> Subject:
        chain = await make_chain(kavach, owner_id)
        return Subject(kind, chain.token, kavach.config.project, lambda: acknowledged(end(kavach, chain)))

    return make


async def acknowledged(end: Awaitable[object]) -> int:
    """Returns when an end was acknowledged."""
    await end
    return time.monotonic_ns()


async def _session(kavach: Kavach, owner_id: str) -> Subject:
    session = await kavach.sessions.create(owner_id)
    return Subject(
        "session revoked",
        session.token or "",
        kavach.config.project,
        lambda: acknowledged(kavach.sessions.revoke(session.id)),
    )


async def _session_of_suspended(kavach: Kavach, owner_id: str) -> Subject:
    session = await kavach.sessions.create(owner_id)
    return Subject(
        "owner of a session suspended",
        session.token or "",
        kavach.config.project,
        lambda: acknowledged(kavach.owners.suspend(owner_id)),
    )


async def _key(kavach: Kavach, owner_id: str) -> Subject:
    key = await kavach.keys.create(name=owner_id, scopes=["authorize"])
    return Subject(
        "API key revoked", key.key or "", kavach.config.project, lambda: acknowledged(kavach.keys.revoke(key.id))
    )


async def _approval(kavach: Kavach, owner_id: str) -> Subject:
    agent = await make_agent(kavach, limited("repos", "read", requireApproval=True), owner_id=owner_id)
    asked = await ask(kavach, agent.token)
    approval_id = asked.approval_id or ""

    async def answer() -> int | None:
        """Two humans answer at once, and one is heard. Who was let in once has used the approval up."""
        answers = [kavach.approvals.approve(approval_id, by="one"), kavach.approvals.deny(approval_id, by="other")]
        random.shuffle(answers)
        given = await asyncio.gather(*answers, return_exceptions=True)
        heard = [each.status for each in given if not isinstance(each, BaseException)]
        assert len(heard) == 1 and any(isinstance(each, FinalState) for each in given)
        return time.monotonic_ns() if heard == [ApprovalStatus.DENIED] else None

    return Subject("approval answered", agent.token or "", kavach.config.project, answer, may_call=False)


#: Everything in the world of one project.
ENDS: tuple[Make, ...] = (
    _of_chain("agent revoked", lambda kavach, chain: kavach.agents.revoke(chain.leaf_id)),
    _of_chain("root revoked", lambda kavach, chain: kavach.agents.revoke(chain.root_id)),
    _of_chain("chain cut", lambda kavach, chain: kavach.delegations.revoke(chain.delegation_id)),
    _of_chain("root narrowed", lambda kavach, chain: kavach.agents.update(chain.root_id, permissions=["read:issues"])),
    _of_chain("token rotated", lambda kavach, chain: kavach.agents.rotate(chain.leaf_id)),
    _of_chain("owner suspended", lambda kavach, chain: kavach.owners.suspend(chain.owner_id)),
    _of_chain("owner narrowed", lambda kavach, chain: kavach.owners.set_permissions(chain.owner_id, ["read:issues"])),
    _of_chain("budget lowered to 0", lambda kavach, chain: kavach.budgets.update(chain.budget_id, limit=0)),
    _session,
    _session_of_suspended,
    _key,
    _approval,
)
#: The end of everything at once, which needs a project of its own.
PROJECT_SUSPENDED = _of_chain("project suspended", lambda kavach, _: kavach.project.suspend())
