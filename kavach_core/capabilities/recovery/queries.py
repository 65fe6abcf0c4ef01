"""Statements about recovery codes. Using one deletes it, and the row count says who was first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from kavach_core.store import Transaction

_INSERT: Final = "insert into kavach_recovery_codes (project_id, hash, user_id) values ($1, $2, $3)"
_DELETE_ALL: Final = "delete from kavach_recovery_codes where project_id = $1 and user_id = $2"
_USE: Final = "delete from kavach_recovery_codes where project_id = $1 and hash = $2 returning user_id"
_COUNT: Final = "select count(*) from kavach_recovery_codes where project_id = $1 and user_id = $2"


async def replace(tx: Transaction, project: str, user_id: bytes, digests: Iterable[bytes]) -> None:
    """Give a user a new set of codes; the old ones end."""
    await tx.execute(_DELETE_ALL, project, user_id)
    await tx.execute_each(_INSERT, [(project, digest, user_id) for digest in digests])


async def use(tx: Transaction, project: str, digest: bytes) -> bytes | None:
    """Use a code up; returns whose it was."""
    row = await tx.fetch_one(_USE, project, digest)
    return None if row is None else cast(bytes, row[0])


async def left(tx: Transaction, project: str, user_id: bytes) -> int:
    """Return how many codes a user has left."""
    row = await tx.fetch_one(_COUNT, project, user_id)
    return 0 if row is None else cast(int, row[0])
