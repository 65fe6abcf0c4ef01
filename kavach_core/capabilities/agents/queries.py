"""Statements about agents and their tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

from kavach_core.capabilities.agents.model import Agent, AgentStatus
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.primitives import ids
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.primitives.page import COUNT_LIMIT, PageRequest
from kavach_core.primitives.permissions import PermissionSet
from kavach_core.primitives.principal import AgentType
from kavach_core.store import Row, Transaction
from kavach_core.store.store import Value


class AgentRow(NamedTuple):
    """A stored agent, in the order of the columns."""

    id: bytes
    owner_id: str
    name: str
    type: str
    permissions: bytes
    metadata: str
    founding_id: bytes | None
    ttl: int | None
    idle_at: int
    expires_at: int
    created_at: int
    updated_at: int
    rotated_at: int
    last_used_at: int | None
    revoked_at: int | None

    def status(self, now: int) -> AgentStatus:
        """The agent's own state at a moment."""
        if self.revoked_at is not None:
            return AgentStatus.REVOKED
        return AgentStatus.EXPIRED if min(self.idle_at, self.expires_at) <= now else AgentStatus.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFilter:
    """Which agents; every part that is set must hold."""

    owner_id: str | None = None
    status: AgentStatus | None = None
    type: AgentType | None = None


_COLUMNS: Final = ", ".join(AgentRow._fields)
_PLACES: Final = ", ".join(f"${place}" for place in range(1, len(AgentRow._fields) + 2))
_INSERT: Final = f"insert into kavach_agents (project_id, {_COLUMNS}) values ({_PLACES})"
_FIND: Final = f"select {_COLUMNS} from kavach_agents where project_id = $1 and id = $2"
_LOCK: Final = f"update kavach_agents set id = id where project_id = $1 and id = $2 returning {_COLUMNS}"
_NAMED: Final = f"""
select {_COLUMNS} from kavach_agents where project_id = $1 and owner_id = $2 and name = $3 and type <> $4
and revoked_at is null and expires_at > $5 and idle_at > $5 order by id limit 1
"""
_UPDATE: Final = """
update kavach_agents set name = $3, permissions = $4, metadata = $5, ttl = $6, idle_at = $7, expires_at = $8,
    updated_at = $9, rotated_at = $10, revoked_at = $11
where project_id = $1 and id = $2
"""
_ADD_TOKEN: Final = "insert into kavach_agent_tokens (token_hash, project_id, agent_id) values ($1, $2, $3)"
_RETIRE_TOKENS: Final = """
update kavach_agent_tokens set retired_at = $3 where project_id = $1 and agent_id = $2 and retired_at is null
"""
_MOVE: Final = "update kavach_agents set owner_id = $3 where project_id = $1 and owner_id = $2"
_STATUS: Final = {
    AgentStatus.ACTIVE: "revoked_at is null and expires_at > {now} and idle_at > {now}",
    AgentStatus.EXPIRED: "revoked_at is null and (expires_at <= {now} or idle_at <= {now})",
    AgentStatus.REVOKED: "revoked_at is not null",
}


async def insert(tx: Transaction, project: str, row: AgentRow, token_hash: bytes) -> None:
    """Write a new agent and its first token."""
    await tx.execute(_INSERT, project, *row)
    await tx.execute(_ADD_TOKEN, token_hash, project, row.id)


async def find(tx: Transaction, project: str, agent_id: bytes) -> AgentRow | None:
    """Return an agent if it is on record."""
    return _from_row(await tx.fetch_one(_FIND, project, agent_id))


async def find_named(tx: Transaction, project: str, owner_id: str, name: str) -> AgentRow | None:
    """Return the oldest live agent of an owner that has a name and permissions of its own."""
    values = (owner_id, name, AgentType.DELEGATED.value, tx.now)
    return _from_row(await tx.fetch_one(_NAMED, project, *values))


async def lock(tx: Transaction, project: str, agent_id: bytes) -> AgentRow | None:
    """Return an agent and hold its row until the commit."""
    return _from_row(await tx.fetch_one(_LOCK, project, agent_id))


async def update(tx: Transaction, project: str, row: AgentRow) -> None:
    """Write back what may change of an agent that was locked in this transaction."""
    await tx.execute(
        _UPDATE,
        project,
        row.id,
        row.name,
        row.permissions,
        row.metadata,
        row.ttl,
        row.idle_at,
        row.expires_at,
        row.updated_at,
        row.rotated_at,
        row.revoked_at,
    )


async def replace_token(tx: Transaction, project: str, agent_id: bytes, token_hash: bytes) -> None:
    """Make this the one current token of an agent."""
    await tx.execute(_RETIRE_TOKENS, project, agent_id, tx.now)
    await tx.execute(_ADD_TOKEN, token_hash, project, agent_id)


async def count(tx: Transaction, project: str, wanted: AgentFilter, most: int = COUNT_LIMIT) -> int:
    """Return how many agents match; counting stops just above `most`."""
    where, values = _where(project, wanted, tx.now)
    row = await tx.fetch_one(
        f"select count(*) from (select 1 from kavach_agents where {where} limit {most + 1}) as counted", *values
    )
    return 0 if row is None else cast(int, row[0])


async def page(tx: Transaction, project: str, wanted: AgentFilter, part: PageRequest) -> list[AgentRow]:
    """Return matching agents, newest first."""
    where, values = _where(project, wanted, tx.now)
    place = len(values)
    sql = f"select {_COLUMNS} from kavach_agents where {where} order by id desc limit ${place + 1} offset ${place + 2}"
    rows = await tx.fetch(sql, *values, part.limit, part.offset)
    return [_make(row) for row in rows]


async def move_owner(tx: Transaction, project: str, old_id: str, new_id: str) -> None:
    """Give all agents of one owner id to another."""
    await tx.execute(_MOVE, project, old_id, new_id)


async def to_models(tx: Transaction, sets: PermissionSets, rows: Sequence[AgentRow]) -> list[Agent]:
    """Give stored agents their permissions and public form."""
    loaded = await sets.load(tx, {row.permissions for row in rows})
    return [Agent(**public_fields(row, loaded[row.permissions], tx.now)) for row in rows]


def public_fields(row: AgentRow, permissions: PermissionSet, now: int) -> dict[str, Any]:
    """The fields of `Agent` for a stored one."""
    return {
        "id": ids.AGENT.text(row.id),
        "owner_id": row.owner_id,
        "name": row.name,
        "type": AgentType(row.type),
        "permissions": tuple(permissions),
        "status": row.status(now),
        "metadata": json.loads(row.metadata),
        "ttl": None if row.ttl is None else timedelta(microseconds=row.ttl),
        "expires_at": optional_datetime(row.expires_at),
        "created_at": to_datetime(row.created_at),
        "updated_at": to_datetime(row.updated_at),
        "last_used_at": optional_datetime(row.last_used_at),
        "revoked_at": optional_datetime(row.revoked_at),
        "founding_delegation_id": ids.DELEGATION.optional(row.founding_id),
    }


def _where(project: str, wanted: AgentFilter, now: int) -> tuple[str, list[Value]]:
    """The condition of a filter and its values, `$1` being the project."""
    values: list[Value] = [project]
    parts = ["project_id = $1"]

    def place(value: Value) -> str:
        values.append(value)
        return f"${len(values)}"

    if wanted.owner_id is not None:
        parts.append(f"owner_id = {place(wanted.owner_id)}")
    if wanted.type is not None:
        parts.append(f"type = {place(wanted.type.value)}")
    if wanted.status is AgentStatus.REVOKED:
        parts.append(_STATUS[wanted.status])
    elif wanted.status is not None:
        parts.append(_STATUS[wanted.status].format(now=place(now)))
    return " and ".join(parts), values


def _make(row: Row) -> AgentRow:
    return AgentRow._make(tuple(row))


def _from_row(row: Row | None) -> AgentRow | None:
    return None if row is None else _make(row)
