"""Ask humans: open an approval for each call of a batch that needs one and was not asked about yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from kavach_core.capabilities.approvals import queries as approvals
from kavach_core.capabilities.approvals.model import Asked
from kavach_core.capabilities.authorize.outcome import Outcome
from kavach_core.capabilities.delegation import AgentFacts
from kavach_core.capabilities.events import announce
from kavach_core.primitives import ids
from kavach_core.primitives.reasons import Reason
from kavach_core.store import Transaction

#: Questions of one agent, and of all agents of one owner, that may wait for an answer. Who is asked too often says yes
#: without reading; and an agent can make others, in whose names it could ask on.
MOST_PENDING: Final = 20
MOST_PENDING_OF_OWNER: Final = 60


async def ask_humans(
    tx: Transaction, project: str, outcomes: Sequence[Outcome], *, expired: Mapping[bytes, bytes], lifetime: int
) -> None:
    """Open approvals, at most one for each call, and name them to those who have to wait.

    `expired` are those of the same calls that nobody answered or used in time, by what they are bound to. Where an
    agent or its owner has too many questions open, or the arguments are too large to be shown, nobody is asked, and the
    refusal says so.
    """
    waiting: dict[bytes, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.asks_for_approval and outcome.binding is not None:
            waiting.setdefault(outcome.binding, []).append(outcome)
    if not waiting:
        return
    asked = await _within_limits(tx, project, waiting)
    await approvals.close(tx, project, [expired[each.binding] for each in asked if each.binding in expired])
    opened = await approvals.open_all(tx, project, asked, expires_at=tx.now + lifetime)
    for binding, approval_id in opened.items():
        for outcome in waiting[binding]:
            outcome.approval_id = approval_id
        await _announce(tx, project, waiting[binding][0], approval_id)


async def _within_limits(tx: Transaction, project: str, waiting: dict[bytes, list[Outcome]]) -> list[Asked]:
    asked: list[Asked] = []
    of_agents: Counter[bytes] = Counter()
    of_owners: Counter[str] = Counter()
    for binding, outcomes in waiting.items():
        wanted = _asked(binding, outcomes[0])
        if wanted.arguments_hash is not None and wanted.arguments is None:
            _refuse(outcomes, Reason.TOO_LARGE_TO_APPROVE)
            continue
        agent = _agent_of(outcomes[0])
        if agent.id not in of_agents:
            of_owner, of_agents[agent.id] = await approvals.count_pending(tx, project, agent.owner_id, agent.id)
            of_owners.setdefault(agent.owner_id, of_owner)
        if of_agents[agent.id] >= MOST_PENDING or of_owners[agent.owner_id] >= MOST_PENDING_OF_OWNER:
            _refuse(outcomes, Reason.TOO_MANY_APPROVALS)
            continue
        of_agents[agent.id] += 1
        of_owners[agent.owner_id] += 1
        asked.append(wanted)
    return asked


def _asked(binding: bytes, outcome: Outcome) -> Asked:
    question = outcome.question
    request = question.require_request()
    return Asked(
        binding=binding,
        agent_id=_agent_of(outcome).id,
        action=request.action,
        resource=request.resource,
        arguments=question.shown,
        arguments_hash=question.arguments_hash,
        cost=question.cost,
    )


def _agent_of(outcome: Outcome) -> AgentFacts:
    if outcome.agent is None:
        raise RuntimeError("only a call of a known agent is asked about")
    return outcome.agent


def _refuse(outcomes: Sequence[Outcome], reason: Reason) -> None:
    for outcome in outcomes:
        outcome.reason = reason


async def _announce(tx: Transaction, project: str, outcome: Outcome, approval_id: bytes) -> None:
    agent, request = _agent_of(outcome), outcome.question.require_request()
    data = {"agentId": ids.AGENT.text(agent.id), "action": request.action, "resource": request.resource}
    subject = ids.APPROVAL.text(approval_id)
    await announce(tx, project, "approval.requested", subject=subject, owner_id=agent.owner_id, data=data)
