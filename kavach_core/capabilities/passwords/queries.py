"""Statements about passwords."""

from __future__ import annotations

from typing import Final, cast

from kavach_core.store import Transaction

_SET: Final = """
insert into kavach_passwords (project_id, user_id, hash, changed_at) values ($1, $2, $3, $4)
on conflict (project_id, user_id) do update set hash = excluded.hash, changed_at = excluded.changed_at
"""
_REHASH: Final = "update kavach_passwords set hash = $4 where project_id = $1 and user_id = $2 and hash = $3"
_FIND: Final = "select hash from kavach_passwords where project_id = $1 and user_id = $2"


async def store(tx: Transaction, project: str, user_id: bytes, hashed: str) -> None:
    """Give a user a password, in place of an older one."""
    await tx.execute(_SET, project, user_id, hashed, tx.now)


async def rehash(tx: Transaction, project: str, user_id: bytes, old: str, new: str) -> None:
    """Store the same password with newer settings, unless it was changed meanwhile."""
    await tx.execute(_REHASH, project, user_id, old, new)


async def find(tx: Transaction, project: str, user_id: bytes) -> str | None:
    """Return the hash of a user's password, if there is one."""
    row = await tx.fetch_one(_FIND, project, user_id)
    return None if row is None else cast(str, row[0])
