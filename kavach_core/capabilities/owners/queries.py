"""Statements about owners. The row of an owner is also the lock that per-owner limits take."""

from __future__ import annotations

from typing import cast

from kavach_core.capabilities.owners.model import Owner
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.store import Row, Transaction

_LOCK = """
insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3)
on conflict (project_id, id) do update set id = excluded.id
returning id, created_at, suspended_at
"""
_LOCK_EXISTING = """
update kavach_owners set id = id where project_id = $1 and id = $2 returning id, created_at, suspended_at
"""
_INSERT = """
insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3) on conflict (project_id, id) do nothing
"""
_FIND = "select id, created_at, suspended_at from kavach_owners where project_id = $1 and id = $2"
_SUSPEND = """
update kavach_owners set suspended_at = $3 where project_id = $1 and id = $2 and suspended_at is null
"""
_RESUME = "update kavach_owners set suspended_at = null where project_id = $1 and id = $2 and suspended_at is not null"
_DELETE = "delete from kavach_owners where project_id = $1 and id = $2"


async def lock(tx: Transaction, project: str, owner_id: str) -> Owner:
    """Return the owner, made if new, and hold the row until the commit: one such transaction at a time per owner."""
    row = await tx.fetch_one(_LOCK, project, owner_id, tx.now)
    if row is None:
        raise RuntimeError("an upsert with returning gave no row")
    return _from_row(row)


async def lock_existing(tx: Transaction, project: str, owner_id: str) -> Owner | None:
    """Return the owner if there is one on record, and hold the row until the commit."""
    row = await tx.fetch_one(_LOCK_EXISTING, project, owner_id)
    return None if row is None else _from_row(row)


async def insert(tx: Transaction, project: str, owner_id: str) -> bool:
    """Put an owner on record; returns whether the id was free."""
    return await tx.execute(_INSERT, project, owner_id, tx.now) == 1


async def find(tx: Transaction, project: str, owner_id: str) -> Owner | None:
    """Return the owner if there is one on record."""
    row = await tx.fetch_one(_FIND, project, owner_id)
    return None if row is None else _from_row(row)


async def suspend(tx: Transaction, project: str, owner_id: str) -> bool:
    """Suspend; returns whether this changed anything."""
    return await tx.execute(_SUSPEND, project, owner_id, tx.now) == 1


async def resume(tx: Transaction, project: str, owner_id: str) -> bool:
    """Resume; returns whether this changed anything."""
    return await tx.execute(_RESUME, project, owner_id) == 1


async def delete(tx: Transaction, project: str, owner_id: str) -> None:
    """Forget the row of an owner whose things have moved away."""
    await tx.execute(_DELETE, project, owner_id)


def _from_row(row: Row) -> Owner:
    return Owner(
        id=cast(str, row["id"]),
        created_at=to_datetime(cast(int, row["created_at"])),
        suspended_at=optional_datetime(cast("int | None", row["suspended_at"])),
    )
