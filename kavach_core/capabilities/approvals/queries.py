"""Statements about approvals. For each call there is at most one that is not closed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from kavach_core.capabilities.approvals.model import Approval, ApprovalStatus, Asked, OpenApproval
from kavach_core.primitives import ids
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.primitives.page import COUNT_LIMIT, PageRequest
from kavach_core.store import Row, Transaction
from kavach_core.store.store import Value

_OPEN_COLUMNS: Final = ", ".join(OpenApproval._fields)
_LOCK: Final = f"""
update kavach_approvals set id = id where project_id = $1 and binding = $2 and closed_at is null
returning {_OPEN_COLUMNS}
"""
_OPEN: Final = f"""
insert into kavach_approvals (project_id, id, {", ".join(Asked._fields)}, status, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10, $11)
"""
_CLOSE: Final = "update kavach_approvals set closed_at = $3 where project_id = $1 and id = $2"
_USE: Final = (
    "update kavach_approvals set status = 'used', closed_at = $3, audit_id = $4 where project_id = $1 and id = $2"
)
_COUNT_PENDING: Final = """
select count(*), count(*) filter (where p.agent_id = $3)
from kavach_agents g join kavach_approvals p on p.project_id = g.project_id and p.agent_id = g.id
where g.project_id = $1 and g.owner_id = $2 and g.revoked_at is null and g.expires_at > $4
    and p.status = 'pending' and p.closed_at is null and p.expires_at > $4
"""
_ANSWER: Final = """
update kavach_approvals set status = $3, decided_at = $4, decided_by = $5, expires_at = $6
where project_id = $1 and id = $2 and status = 'pending' and closed_at is null and expires_at > $4
"""
_PRUNE: Final = "delete from kavach_approvals where project_id = $1 and expires_at < $2"
_SELECT: Final = """
select p.id, p.agent_id, g.name, g.owner_id, p.action, p.resource, p.arguments, p.arguments_hash, p.cost,
    p.status, p.created_at, p.expires_at, p.decided_at, p.decided_by, p.audit_id, g.revoked_at, g.expires_at, g.idle_at
from kavach_approvals p join kavach_agents g on g.project_id = p.project_id and g.id = p.agent_id
"""
# What nobody can use any more is over, whatever was answered.
_IS_OPEN: Final = "p.expires_at > {now} and g.revoked_at is null and g.expires_at > {now} and g.idle_at > {now}"
_STATUS: Final = {
    ApprovalStatus.PENDING: f"p.status = 'pending' and {_IS_OPEN}",
    ApprovalStatus.APPROVED: f"p.status = 'approved' and {_IS_OPEN}",
    ApprovalStatus.DENIED: "p.status = 'denied'",
    ApprovalStatus.USED: "p.status = 'used'",
    ApprovalStatus.EXPIRED: f"p.status in ('pending', 'approved') and not ({_IS_OPEN})",
}


async def lock(tx: Transaction, project: str, bindings: Iterable[bytes]) -> dict[bytes, OpenApproval]:
    """Return what is not closed for these calls, and hold the rows until the commit; expired ones are among them.

    They are locked in ascending order, so that two such transactions cannot wait for each other.
    """
    rows = await tx.fetch_each(_LOCK, [(project, binding) for binding in sorted(set(bindings))])
    found = (OpenApproval._make(tuple(row)) for row in rows)
    return {approval.binding: approval for approval in found}


async def close(tx: Transaction, project: str, approvals: Iterable[bytes]) -> None:
    """Close expired ones, so that new ones may be opened for the same calls."""
    await tx.execute_each(_CLOSE, [(project, approval_id, tx.now) for approval_id in sorted(approvals)])


async def use(tx: Transaction, project: str, used: Mapping[bytes, bytes]) -> None:
    """Mark approvals as used, each by a decision. They were locked in this transaction."""
    await tx.execute_each(_USE, [(project, each, tx.now, used[each]) for each in sorted(used)])


async def open_all(tx: Transaction, project: str, asked: Sequence[Asked], *, expires_at: int) -> dict[bytes, bytes]:
    """Open an approval for each of these calls; returns its id by binding.

    There is none that is not closed for any of them: nobody else asks these owners until the commit.
    """
    opened = {each.binding: tx.new_id() for each in asked}
    await tx.execute_each(_OPEN, [(project, opened[each.binding], *each, tx.now, expires_at) for each in asked])
    return opened


async def count_pending(tx: Transaction, project: str, owner_id: str, agent_id: bytes) -> tuple[int, int]:
    """Return how many questions wait for an answer of this owner, and how many of them are of this agent."""
    row = await tx.fetch_one(_COUNT_PENDING, project, owner_id, agent_id, tx.now)
    return (0, 0) if row is None else cast("tuple[int, int]", tuple(row))


async def answer(
    tx: Transaction, project: str, approval_id: bytes, status: ApprovalStatus, *, by: str, expires_at: int
) -> bool:
    """Answer a question that waits; returns whether it did."""
    return await tx.execute(_ANSWER, project, approval_id, status.value, tx.now, by, expires_at) == 1


async def find(tx: Transaction, project: str, approval_id: bytes) -> Approval | None:
    """Return an approval if it is on record."""
    row = await tx.fetch_one(f"{_SELECT} where p.project_id = $1 and p.id = $2", project, approval_id)
    return None if row is None else _to_model(row, tx.now)


async def page(
    tx: Transaction,
    project: str,
    *,
    agent_id: bytes | None,
    owner_id: str | None,
    status: ApprovalStatus | None,
    part: PageRequest,
) -> tuple[list[Approval], int]:
    """Return one page of matching approvals, newest first, and how many there are."""
    values: list[Value] = [project]
    conditions = ["p.project_id = $1"]

    def place(value: Value) -> str:
        values.append(value)
        return f"${len(values)}"

    if agent_id is not None:
        conditions.append(f"p.agent_id = {place(agent_id)}")
    if owner_id is not None:
        conditions.append(f"g.owner_id = {place(owner_id)}")
    if status is not None:
        condition = _STATUS[status]
        conditions.append(condition.format(now=place(tx.now)) if "{now}" in condition else condition)
    matching = f"{_SELECT} where {' and '.join(conditions)}"
    counted = await tx.fetch_one(
        f"select count(*) from (select 1 from ({matching}) as every limit {COUNT_LIMIT + 1}) as counted", *values
    )
    rows = await tx.fetch(
        f"{matching} order by p.id desc limit {place(part.limit)} offset {place(part.offset)}", *values
    )
    return [_to_model(row, tx.now) for row in rows], 0 if counted is None else cast(int, counted[0])


async def prune(tx: Transaction, project: str, before: int) -> int:
    """Delete approvals that ended before a moment; returns how many."""
    return await tx.execute(_PRUNE, project, before)


def _to_model(row: Row, now: int) -> Approval:
    agent_id, agent_name, owner_id, action, resource, *more = cast("tuple[Any, ...]", tuple(row)[1:])
    arguments, digest, cost, status, created_at, expires_at, decided_at, decided_by, audit_id, *of_agent = more
    revoked_at, *ends = of_agent
    is_over = revoked_at is not None or min(expires_at, *ends) <= now
    is_expired = is_over and status in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
    return Approval(
        id=ids.APPROVAL.text(cast(bytes, row[0])),
        agent_id=ids.AGENT.text(agent_id),
        agent_name=agent_name,
        owner_id=owner_id,
        action=action,
        resource=resource,
        arguments=None if arguments is None else json.loads(arguments),
        arguments_hash=None if digest is None else digest.hex(),
        cost=cost,
        status=ApprovalStatus.EXPIRED if is_expired else ApprovalStatus(status),
        created_at=to_datetime(created_at),
        expires_at=to_datetime(expires_at),
        decided_at=optional_datetime(decided_at),
        decided_by=decided_by,
        audit_id=ids.AUDIT.optional(audit_id),
    )
