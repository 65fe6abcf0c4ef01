"""Statements about owners. The row of an owner is also the lock that per-owner limits take."""

from __future__ import annotations

from typing import Final, NamedTuple

from kavach_core.store import Row, Transaction


class OwnerRow(NamedTuple):
    """A stored owner, in the order of the columns."""

    id: str
    created_at: int
    suspended_at: int | None
    permissions: bytes | None

    @property
    def suspended(self) -> bool:
        """Whether everything of theirs is refused now."""
        return self.suspended_at is not None


_COLUMNS: Final = ", ".join(OwnerRow._fields)
_LOCK: Final = f"""
insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3)
on conflict (project_id, id) do update set id = excluded.id
returning {_COLUMNS}
"""
_LOCK_EXISTING: Final = f"""
update kavach_owners set id = id where project_id = $1 and id = $2 returning {_COLUMNS}
"""
_INSERT: Final = """
insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3) on conflict (project_id, id) do nothing
"""
_FIND: Final = f"select {_COLUMNS} from kavach_owners where project_id = $1 and id = $2"
_SUSPEND: Final = """
update kavach_owners set suspended_at = $3 where project_id = $1 and id = $2 and suspended_at is null
"""
_RESUME: Final = """
update kavach_owners set suspended_at = null where project_id = $1 and id = $2 and suspended_at is not null
"""
_SET_PERMISSIONS: Final = "update kavach_owners set permissions = $3 where project_id = $1 and id = $2"
_INHERIT: Final = """
update kavach_owners set (suspended_at, permissions, budgets) = (
    select suspended_at, permissions, budgets from kavach_owners where project_id = $1 and id = $2)
where project_id = $1 and id = $3
"""
_DELETE: Final = "delete from kavach_owners where project_id = $1 and id = $2"


async def lock(tx: Transaction, project: str, owner_id: str) -> OwnerRow:
    """Return the owner, made if new, and hold the row until the commit: one such transaction at a time per owner."""
    row = await tx.fetch_one(_LOCK, project, owner_id, tx.now)
    if row is None:
        raise RuntimeError("an upsert with returning gave no row")
    return _from_row(row)


async def lock_existing(tx: Transaction, project: str, owner_id: str) -> OwnerRow | None:
    """Return the owner if there is one on record, and hold the row until the commit."""
    row = await tx.fetch_one(_LOCK_EXISTING, project, owner_id)
    return None if row is None else _from_row(row)


async def insert(tx: Transaction, project: str, owner_id: str) -> bool:
    """Put an owner on record; returns whether the id was free."""
    return await tx.execute(_INSERT, project, owner_id, tx.now) == 1


async def find(tx: Transaction, project: str, owner_id: str) -> OwnerRow | None:
    """Return the owner if there is one on record."""
    row = await tx.fetch_one(_FIND, project, owner_id)
    return None if row is None else _from_row(row)


async def suspend(tx: Transaction, project: str, owner_id: str) -> bool:
    """Suspend; returns whether this changed anything."""
    return await tx.execute(_SUSPEND, project, owner_id, tx.now) == 1


async def resume(tx: Transaction, project: str, owner_id: str) -> bool:
    """Resume; returns whether this changed anything."""
    return await tx.execute(_RESUME, project, owner_id) == 1


async def set_permissions(tx: Transaction, project: str, owner_id: str, permissions: bytes | None) -> None:
    """Say what an owner who is on record may do, by the digest of a stored set, or that nothing is said."""
    await tx.execute(_SET_PERMISSIONS, project, owner_id, permissions)


async def inherit(tx: Transaction, project: str, old_id: str, new_id: str) -> None:
    """Say of the new owner id all that is said of the old one."""
    await tx.execute(_INHERIT, project, old_id, new_id)


async def delete(tx: Transaction, project: str, owner_id: str) -> None:
    """Forget the row of an owner whose things have moved away."""
    await tx.execute(_DELETE, project, owner_id)


def _from_row(row: Row) -> OwnerRow:
    return OwnerRow._make(tuple(row))
