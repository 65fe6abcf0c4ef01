"""Statements about API keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kavach_core.capabilities.keys.model import ApiKey, Scope
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.primitives import ids
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.primitives.permissions import PermissionSet
from kavach_core.store import Row, Transaction


class KeyRow(NamedTuple):
    """A stored key, in the order of the columns."""

    id: bytes
    name: str
    hint: str
    test: bool
    scopes: str
    grantable: bytes
    expires_at: int
    created_at: int
    rotated_at: int
    revoked_at: int | None

    @property
    def scope_set(self) -> frozenset[Scope]:
        """The scopes as values."""
        return frozenset(Scope(name) for name in self.scopes.split(" "))


_COLUMNS: Final = ", ".join(KeyRow._fields)
_INSERT: Final = f"""
insert into kavach_api_keys (project_id, token_hash, {_COLUMNS})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
_BY_TOKEN: Final = f"select {_COLUMNS} from kavach_api_keys where token_hash = $2 and project_id = $1"
_FIND: Final = f"select {_COLUMNS} from kavach_api_keys where project_id = $1 and id = $2"
_LIST: Final = f"select {_COLUMNS} from kavach_api_keys where project_id = $1 order by id desc"
_ROTATE: Final = """
update kavach_api_keys set token_hash = $3, hint = $4, rotated_at = $5
where project_id = $1 and id = $2 and revoked_at is null
"""
_REVOKE: Final = """
update kavach_api_keys set revoked_at = $3 where project_id = $1 and id = $2 and revoked_at is null
"""


async def insert(tx: Transaction, project: str, token_hash: bytes, row: KeyRow) -> None:
    """Write a new key."""
    await tx.execute(_INSERT, project, token_hash, *row)


async def by_token(tx: Transaction, project: str, token_hash: bytes) -> KeyRow | None:
    """Return the key of a secret, ended or not."""
    return _from_row(await tx.fetch_one(_BY_TOKEN, project, token_hash))


async def find(tx: Transaction, project: str, key_id: bytes) -> KeyRow | None:
    """Return a key if it is on record."""
    return _from_row(await tx.fetch_one(_FIND, project, key_id))


async def all_keys(tx: Transaction, project: str) -> list[KeyRow]:
    """Return all keys, newest first."""
    return [_make(row) for row in await tx.fetch(_LIST, project)]


async def rotate(tx: Transaction, project: str, key_id: bytes, token_hash: bytes, hint: str) -> bool:
    """Replace the secret of a key that is not revoked; returns whether there was one."""
    return await tx.execute(_ROTATE, project, key_id, token_hash, hint, tx.now) == 1


async def revoke(tx: Transaction, project: str, key_id: bytes) -> bool:
    """End a key; returns whether this changed anything."""
    return await tx.execute(_REVOKE, project, key_id, tx.now) == 1


async def to_models(tx: Transaction, sets: PermissionSets, rows: Sequence[KeyRow]) -> list[ApiKey]:
    """Give stored keys their permissions and public form."""
    loaded = await sets.load(tx, {row.grantable for row in rows})
    return [to_model(row, loaded[row.grantable]) for row in rows]


def to_model(row: KeyRow, grantable: PermissionSet, key: str | None = None) -> ApiKey:
    """The public form of a stored key."""
    return ApiKey(
        id=ids.KEY.text(row.id),
        name=row.name,
        hint=row.hint,
        test=bool(row.test),
        scopes=row.scope_set,
        grantable=tuple(grantable),
        expires_at=optional_datetime(row.expires_at),
        created_at=to_datetime(row.created_at),
        rotated_at=to_datetime(row.rotated_at),
        revoked_at=optional_datetime(row.revoked_at),
        key=key,
    )


def _make(row: Row) -> KeyRow:
    return KeyRow._make(tuple(row))


def _from_row(row: Row | None) -> KeyRow | None:
    return None if row is None else _make(row)
