"""Statements about sessions."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from kavach_core.capabilities.sessions.model import Session, SignInMethod
from kavach_core.primitives import ids
from kavach_core.primitives.clock import SECOND, to_datetime
from kavach_core.store import Row, Transaction


class SessionRow(NamedTuple):
    """A stored session, in the order of the columns."""

    id: bytes
    user_id: str
    idle: int
    expires_at: int
    created_at: int
    last_used_at: int
    revoked_at: int | None
    address: str | None
    user_agent: str | None
    method: str
    fresh_at: int
    #: The hash of the browser that signed in, where a browser did.
    browser_hash: bytes | None


_COLUMNS: Final = ", ".join(SessionRow._fields)
_S_COLUMNS: Final = ", ".join(f"s.{name}" for name in SessionRow._fields)
_INSERT: Final = f"""
insert into kavach_sessions (project_id, token_hash, {_COLUMNS})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
_BY_TOKEN: Final = f"""
select {_S_COLUMNS}, o.suspended_at from kavach_sessions s
left join kavach_owners o on o.project_id = s.project_id and o.id = s.user_id
where s.token_hash = $2 and s.project_id = $1
"""
_LIVE_OF: Final = f"""
select {_COLUMNS} from kavach_sessions
where project_id = $1 and user_id = $2 and revoked_at is null and expires_at > $3 order by id desc
"""
_FIND: Final = f"select {_COLUMNS} from kavach_sessions where project_id = $1 and id = $2"
_KNOWS_BROWSER: Final = """
select 1 from kavach_sessions where project_id = $1 and user_id = $2 and browser_hash = $3 limit 1
"""
_TOUCH: Final = """
update kavach_sessions set last_used_at = $3 where project_id = $1 and id = $2 and last_used_at < $3
"""
_REFRESH: Final = """
update kavach_sessions set fresh_at = $3 where project_id = $1 and id = $2 and revoked_at is null
"""
_REVOKE: Final = """
update kavach_sessions set revoked_at = $3 where project_id = $1 and id = $2 and revoked_at is null
"""
_REVOKE_ALL: Final = """
update kavach_sessions set revoked_at = $3 where project_id = $1 and user_id = $2 and revoked_at is null
"""
_MOVE: Final = "update kavach_sessions set user_id = $3 where project_id = $1 and user_id = $2"


async def insert(tx: Transaction, project: str, token_hash: bytes, row: SessionRow) -> None:
    """Write a new session."""
    await tx.execute(_INSERT, project, token_hash, *row)


async def by_token(tx: Transaction, project: str, token_hash: bytes) -> tuple[SessionRow, bool] | None:
    """Return the session of a token, and whether its human is suspended."""
    row = await tx.fetch_one(_BY_TOKEN, project, token_hash)
    if row is None:
        return None
    *columns, suspended_at = row
    return _make(columns), suspended_at is not None


async def find(tx: Transaction, project: str, session_id: bytes) -> SessionRow | None:
    """Return a session if it is on record."""
    row = await tx.fetch_one(_FIND, project, session_id)
    return None if row is None else _make(row)


async def unended_of(tx: Transaction, project: str, user_id: str) -> list[SessionRow]:
    """Return the sessions of a human that are neither revoked nor past their absolute end, newest first."""
    return [_make(row) for row in await tx.fetch(_LIVE_OF, project, user_id, tx.now)]


async def knows_browser(tx: Transaction, project: str, user_id: str, browser_hash: bytes) -> bool:
    """Tell whether a human signed in from a browser before, in a session that lives or not."""
    return await tx.fetch_one(_KNOWS_BROWSER, project, user_id, browser_hash) is not None


async def touch(tx: Transaction, project: str, session_id: bytes) -> None:
    """Note that a session was used now."""
    await tx.execute(_TOUCH, project, session_id, tx.now)


async def refresh(tx: Transaction, project: str, session_id: bytes) -> bool:
    """Note that the human of a session proved who they are; returns whether the session is still there."""
    return await tx.execute(_REFRESH, project, session_id, tx.now) == 1


async def revoke(tx: Transaction, project: str, session_id: bytes) -> bool:
    """End a session; returns whether this changed anything."""
    return await tx.execute(_REVOKE, project, session_id, tx.now) == 1


async def revoke_all(tx: Transaction, project: str, user_id: str, *, except_id: bytes | None) -> int:
    """End all sessions of a human but one; returns how many."""
    if except_id is None:
        return await tx.execute(_REVOKE_ALL, project, user_id, tx.now)
    return await tx.execute(f"{_REVOKE_ALL} and id <> $4", project, user_id, tx.now, except_id)


async def move_owner(tx: Transaction, project: str, old_id: str, new_id: str) -> None:
    """Give all sessions of one user id to another."""
    await tx.execute(_MOVE, project, old_id, new_id)


def public_fields(row: SessionRow, now: int, fresh_for: int) -> dict[str, Any]:
    """The fields of `Session` for a stored one."""
    return {
        "id": ids.SESSION.text(row.id),
        "user_id": row.user_id,
        "created_at": to_datetime(row.created_at),
        "expires_at": to_datetime(row.expires_at),
        "last_used_at": to_datetime(row.last_used_at),
        "address": row.address,
        "user_agent": row.user_agent,
        "method": SignInMethod(row.method),
        "is_fresh": now - row.fresh_at < fresh_for,
        "expires_in": max(0, (row.expires_at - now) // SECOND),
    }


def to_model(row: SessionRow, now: int, fresh_for: int) -> Session:
    """The public form of a stored session."""
    return Session(**public_fields(row, now, fresh_for))


def _make(row: Row | list[object]) -> SessionRow:
    return SessionRow._make(tuple(row))
