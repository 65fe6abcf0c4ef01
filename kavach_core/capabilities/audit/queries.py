"""Statements about the audit. Rows are inserted and pruned, never updated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, cast

from kavach_core.capabilities.audit.model import AuditEntry, AuditFilter, Record, Result, path_digests, read_path
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.primitives import ids
from kavach_core.primitives.clock import to_datetime
from kavach_core.primitives.page import COUNT_LIMIT
from kavach_core.primitives.permissions import PermissionSet, read_line
from kavach_core.primitives.reasons import Reason
from kavach_core.store import Row, Transaction
from kavach_core.store.store import Value

_COLUMNS: Final = ", ".join(Record._fields)
_INSERT: Final = (
    f"insert into kavach_audit (project_id, {_COLUMNS}) "
    f"values ({', '.join(f'${position}' for position in range(1, len(Record._fields) + 2))})"
)
_SELECT: Final = f"select {_COLUMNS} from kavach_audit where "
_BY_ID: Final = f"{_SELECT}project_id = $1 and id = $2"
_NEWEST: Final = "select id from kavach_audit where project_id = $1 order by id desc limit 1"
_PRUNE: Final = """
delete from kavach_audit where project_id = $1 and id in (
    select id from kavach_audit where project_id = $1 and id < $2 order by id limit $3)
"""


async def insert(tx: Transaction, project: str, records: Sequence[Record]) -> None:
    """Append the records, all or none."""
    await tx.execute_each(_INSERT, [(project, *record) for record in records])


async def records(tx: Transaction, project: str, audit_ids: Iterable[bytes]) -> list[Record]:
    """Return these rows as they were written, in no promised order."""
    return [_record(row) for row in await tx.fetch_each(_BY_ID, [(project, audit_id) for audit_id in audit_ids])]


async def newest_first(
    tx: Transaction, project: str, sets: PermissionSets, wanted: AuditFilter, limit: int, offset: int
) -> list[AuditEntry]:
    """Return one page of matching entries, newest first."""
    where, values = _where(project, wanted)
    place = len(values)
    sql = f"{_SELECT}{where} order by id desc limit ${place + 1} offset ${place + 2}"
    return await _entries(tx, sets, await tx.fetch(sql, *values, limit, offset))


async def oldest_first(
    tx: Transaction, project: str, sets: PermissionSets, wanted: AuditFilter, after: bytes, last: bytes, limit: int
) -> list[AuditEntry]:
    """Return matching entries with an id above `after` and up to `last`, oldest first."""
    where, values = _where(project, wanted)
    place = len(values)
    sql = f"{_SELECT}{where} and id > ${place + 1} and id <= ${place + 2} order by id limit ${place + 3}"
    return await _entries(tx, sets, await tx.fetch(sql, *values, after, last, limit))


async def count(tx: Transaction, project: str, wanted: AuditFilter) -> int:
    """Return how many entries match; counting stops just above `COUNT_LIMIT`."""
    where, values = _where(project, wanted)
    sql = f"select count(*) from (select 1 from kavach_audit where {where} limit {COUNT_LIMIT + 1}) as counted"
    row = await tx.fetch_one(sql, *values)
    return 0 if row is None else cast(int, row[0])


async def newest_id(tx: Transaction, project: str) -> bytes | None:
    """Return the id of the newest entry, if there is any."""
    row = await tx.fetch_one(_NEWEST, project)
    return None if row is None else cast(bytes, row[0])


async def prune(tx: Transaction, project: str, before: bytes, most: int) -> int:
    """Delete up to `most` of the oldest entries below an id; returns how many."""
    return await tx.execute(_PRUNE, project, before, most)


def _where(project: str, wanted: AuditFilter) -> tuple[str, list[Value]]:
    """The condition of a filter and its values, `$1` being the project."""
    values: list[Value] = [project]
    parts = ["project_id = $1"]

    def add(condition: str, *more: Value) -> None:
        places = [f"${len(values) + position}" for position in range(1, len(more) + 1)]
        values.extend(more)
        parts.append(condition.format(*places, all=", ".join(places)))

    if wanted.agent_id is not None:
        add("agent_id = {}", wanted.agent_id)
    if wanted.agents is not None:
        add("agent_id in ({all})", *wanted.agents)
    if wanted.owner_id is not None:
        add("agent_id in (select id from kavach_agents where project_id = $1 and owner_id = {})", wanted.owner_id)
    if wanted.since is not None:
        add("id >= {}", ids.earliest(wanted.since))
    if wanted.until is not None:
        add("id < {}", ids.earliest(wanted.until + 1))
    if wanted.actions:
        add("action in ({all})", *wanted.actions)
    if wanted.result is not None:
        add("result = {}", wanted.result.value)
    if wanted.before is not None:
        add("id < {}", wanted.before)
    return " and ".join(parts), values


async def _entries(tx: Transaction, sets: PermissionSets, rows: Sequence[Row]) -> list[AuditEntry]:
    found = [_record(row) for row in rows]
    digests = {digest for record in found for digest in path_digests(record.path)}
    loaded = await sets.load(tx, digests)
    return [_entry(record, loaded) for record in found]


def _record(row: Row) -> Record:
    return Record._make(tuple(row))


def _entry(record: Record, sets: dict[bytes, PermissionSet]) -> AuditEntry:
    return AuditEntry(
        id=ids.AUDIT.text(record.id),
        at=to_datetime(ids.moment(record.id)),
        writer=record.writer.hex(),
        sequence=record.sequence,
        agent_id=ids.AGENT.text(record.agent_id),
        owner_id=record.owner_id,
        path=read_path(record.path, sets),
        action=record.action,
        resource=record.resource,
        arguments=None if record.arguments is None else json.loads(record.arguments),
        arguments_hash=None if record.arguments_hash is None else record.arguments_hash.hex(),
        result=Result(record.result),
        code=Reason(record.code),
        grant=None if record.grant_used is None else read_line(record.grant_used),
        dry_run=bool(record.dry_run),
        calls=record.calls,
        duration=record.duration,
        cost=record.cost,
        address=record.address,
        user_agent=record.user_agent,
        request_id=record.request_id,
        approval_id=ids.APPROVAL.optional(record.approval_id),
        settles=ids.AUDIT.optional(record.settles),
    )
