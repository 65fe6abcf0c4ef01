"""Statements about delegations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from kavach_core.capabilities.delegation.model import Delegation, DelegationStatus
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.primitives import ids
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.primitives.permissions import PermissionSet
from kavach_core.store import Row, Transaction


class DelegationRow(NamedTuple):
    """A stored delegation, with what tells whether its receiver still lives."""

    id: bytes
    from_agent: bytes
    to_agent: bytes
    source_id: bytes | None
    depth: int
    max_depth: int
    permissions: bytes
    purpose: str | None
    expires_at: int
    created_at: int
    revoked_at: int | None


_COLUMNS: Final = ", ".join(DelegationRow._fields)
_INSERT: Final = f"""
insert into kavach_delegations (project_id, {_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
_FIND: Final = f"select {_COLUMNS} from kavach_delegations where project_id = $1 and id = $2"
_LIST: Final = f"""
select {_COLUMNS} from kavach_delegations
where project_id = $1 and (from_agent = $2 or to_agent = $2) order by id desc limit $3
"""
_REVOKE: Final = """
update kavach_delegations set revoked_at = $3 where project_id = $1 and id = $2 and revoked_at is null
"""
_OWNER_OF: Final = """
select g.owner_id from kavach_delegations d
join kavach_agents g on g.project_id = d.project_id and g.id = d.from_agent
where d.project_id = $1 and d.id = $2
"""
_OWNER_OF_AGENT: Final = "select owner_id from kavach_agents where project_id = $1 and id = $2"
_LIVE: Final = "d.project_id = $1 and d.revoked_at is null and d.expires_at > $3"
_COUNT_INTO: Final = f"""
select count(*) from kavach_delegations d
join kavach_agents g on g.project_id = d.project_id and g.id = d.from_agent
where {_LIVE} and d.to_agent = $2 and g.revoked_at is null and g.expires_at > $3 and g.idle_at > $3
"""
_COUNT_OUT_OF: Final = f"""
select count(*) from kavach_delegations d
join kavach_agents r on r.project_id = d.project_id and r.id = d.to_agent
where {_LIVE} and d.from_agent = $2 and r.revoked_at is null and r.expires_at > $3 and r.idle_at > $3
"""
_MADE_SINCE: Final = f"""
select d.id from kavach_delegations d where {_LIVE} and d.from_agent = $2 and d.created_at >= $4 order by d.id
"""
_LINE: Final = """
with recursive above (id) as (
    select a.id from kavach_agents a where a.project_id = $1 and a.id = $2
    union
    select d.from_agent from above join kavach_delegations d on d.project_id = $1 and d.to_agent = above.id
), below (id) as (
    select a.id from kavach_agents a where a.project_id = $1 and a.id = $2
    union
    select d.to_agent from below join kavach_delegations d on d.project_id = $1 and d.from_agent = below.id
)
select id from above union select id from below
"""


async def insert(tx: Transaction, project: str, row: DelegationRow) -> None:
    """Write a new delegation."""
    await tx.execute(_INSERT, project, *row)


async def find(tx: Transaction, project: str, delegation_id: bytes) -> DelegationRow | None:
    """Return a delegation if it is on record."""
    row = await tx.fetch_one(_FIND, project, delegation_id)
    return None if row is None else _from_row(row)


async def taking_part(tx: Transaction, project: str, agent_id: bytes, most: int) -> list[DelegationRow]:
    """Return the delegations from and to an agent, newest first."""
    return [_from_row(row) for row in await tx.fetch(_LIST, project, agent_id, most)]


async def revoke(tx: Transaction, project: str, delegation_id: bytes) -> bool:
    """End one delegation, and with it all that stands on it; returns whether this changed anything."""
    return await tx.execute(_REVOKE, project, delegation_id, tx.now) == 1


async def owner_of(tx: Transaction, project: str, delegation_id: bytes) -> str | None:
    """Return the owner of a delegation's agents, if it is on record."""
    row = await tx.fetch_one(_OWNER_OF, project, delegation_id)
    return None if row is None else cast(str, row[0])


async def owner_of_agent(tx: Transaction, project: str, agent_id: bytes) -> str | None:
    """Return whose an agent is, if it is on record."""
    row = await tx.fetch_one(_OWNER_OF_AGENT, project, agent_id)
    return None if row is None else cast(str, row[0])


async def count_live(tx: Transaction, project: str, *, into: bytes | None = None, out_of: bytes | None = None) -> int:
    """Return how many live delegations lead into, or out of, an agent. Exact while its owner is locked."""
    sql, agent_id = (_COUNT_INTO, into) if into is not None else (_COUNT_OUT_OF, out_of)
    row = await tx.fetch_one(sql, project, agent_id, tx.now)
    return 0 if row is None else cast(int, row[0])


async def made_since(tx: Transaction, project: str, agent_id: bytes, since: int) -> list[bytes]:
    """Return the live delegations out of an agent that were made since a moment, oldest first."""
    rows = await tx.fetch(_MADE_SINCE, project, agent_id, tx.now, since)
    return [cast(bytes, row[0]) for row in rows]


async def line_of(tx: Transaction, project: str, agent_id: bytes) -> list[bytes]:
    """Return the agents that ever stood above this one, itself, and all below; nothing for an unknown agent."""
    return sorted(cast(bytes, row[0]) for row in await tx.fetch(_LINE, project, agent_id))


async def to_models(
    tx: Transaction, sets: PermissionSets, rows: Sequence[tuple[DelegationRow, DelegationStatus]]
) -> list[Delegation]:
    """Give stored delegations their permissions and public form."""
    loaded = await sets.load(tx, {row.permissions for row, _ in rows})
    return [to_model(row, loaded[row.permissions], status) for row, status in rows]


def to_model(row: DelegationRow, permissions: PermissionSet, status: DelegationStatus) -> Delegation:
    """The public form of a stored delegation."""
    return Delegation(
        id=ids.DELEGATION.text(row.id),
        from_agent=ids.AGENT.text(row.from_agent),
        to_agent=ids.AGENT.text(row.to_agent),
        source_id=ids.DELEGATION.optional(row.source_id),
        permissions=tuple(permissions),
        depth=row.depth,
        max_depth=row.max_depth,
        purpose=row.purpose,
        expires_at=optional_datetime(row.expires_at),
        created_at=to_datetime(row.created_at),
        revoked_at=optional_datetime(row.revoked_at),
        status=status,
    )


def _from_row(row: Row) -> DelegationRow:
    return DelegationRow._make(tuple(row))
