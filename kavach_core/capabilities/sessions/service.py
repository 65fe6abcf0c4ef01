"""Create, verify, list and end sessions. Every verification reads the store, so the next request sees an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.sessions import queries
from kavach_core.capabilities.sessions.model import LiveSession, Session, SessionEnd, SessionRejected
from kavach_core.capabilities.sessions.queries import SessionRow
from kavach_core.errors import NotFound, OwnerSuspended
from kavach_core.primitives import ids, tokens
from kavach_core.primitives.clock import MINUTE
from kavach_core.primitives.text import escape
from kavach_core.primitives.tokens import TokenKind
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: The time of last use is written at most this often, so a session may end that much early, never late.
_TOUCH_EVERY: Final = MINUTE


class Sessions:
    """Sign-ins of humans."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._idle = runtime.config.session_idle
        self._lifetime = runtime.config.session_lifetime

    async def create(self, user_id: str, *, address: str | None = None, user_agent: str | None = None) -> Session:
        """Start a session; its `token` is on the result and nowhere else. Raises `OwnerSuspended`."""
        where = (
            None if address is None else escape(address, longest=64),
            None if user_agent is None else escape(user_agent, longest=256),
        )
        return await self._store.transact(self._create, require_owner_id(user_id, field="userId"), *where)

    async def verify(self, token: str) -> LiveSession | SessionRejected:
        """Tell whether a session token holds now. One with a wrong checksum is refused without a query."""
        if tokens.kind_of(token) is not TokenKind.SESSION:
            return SessionRejected(code=SessionEnd.UNKNOWN)
        session, is_stale = await self._store.read(self._verify, tokens.digest(token))
        if is_stale and isinstance(session, LiveSession):
            await self._store.transact(queries.touch, self._project, ids.SESSION.raw(session.id))
        return session

    async def list(self, user_id: str) -> Sequence[Session]:
        """Return the live sessions of a human, newest first."""
        return await self._store.read(self._list, require_owner_id(user_id, field="userId"))

    async def get(self, session_id: str) -> Session:
        """Return a session, live or not. Raises `NotFound`."""
        return await self._store.read(self._get, ids.SESSION.raw(session_id))

    async def revoke(self, session_id: str) -> None:
        """End a session from the next request on, everywhere. Ending it twice changes nothing. Raises `NotFound`."""
        await self._store.transact(self._revoke, ids.SESSION.raw(session_id))

    async def revoke_all(self, user_id: str, *, except_id: str | None = None) -> int:
        """End all sessions of a human, or all but one; returns how many ended."""
        kept = None if except_id is None else ids.SESSION.raw(except_id)
        return await self._store.transact(self._revoke_all, require_owner_id(user_id, field="userId"), kept)

    async def _create(self, tx: Transaction, user_id: str, address: str | None, user_agent: str | None) -> Session:
        if (await owners.lock(tx, self._project, user_id)).suspended:
            raise OwnerSuspended("The owner is suspended.")
        minted = tokens.mint(TokenKind.SESSION)
        row = SessionRow(
            id=tx.new_id(),
            user_id=user_id,
            idle=self._idle,
            expires_at=tx.now + self._lifetime,
            created_at=tx.now,
            last_used_at=tx.now,
            revoked_at=None,
            address=address,
            user_agent=user_agent,
        )
        await queries.insert(tx, self._project, minted.digest, row)
        await self._announce(tx, "session.created", row.id, user_id)
        return Session(**queries.public_fields(row, tx.now), token=minted.token)

    async def _verify(self, tx: Transaction, token_hash: bytes) -> tuple[LiveSession | SessionRejected, bool]:
        """The session, and whether its time of last use is due to be written."""
        found = await queries.by_token(tx, self._project, token_hash)
        end = SessionEnd.UNKNOWN if found is None else _end(found[0], found[1], tx.now)
        if found is None or end is not None:
            return SessionRejected(code=end or SessionEnd.UNKNOWN), False
        row, _ = found
        return LiveSession(**queries.public_fields(row, tx.now)), tx.now - row.last_used_at >= _TOUCH_EVERY

    async def _list(self, tx: Transaction, user_id: str) -> Sequence[Session]:
        rows = await queries.unended_of(tx, self._project, user_id)
        return [queries.to_model(row, tx.now) for row in rows if _end(row, False, tx.now) is None]

    async def _get(self, tx: Transaction, session_id: bytes) -> Session:
        return queries.to_model(_require(await queries.find(tx, self._project, session_id)), tx.now)

    async def _revoke(self, tx: Transaction, session_id: bytes) -> None:
        row = _require(await queries.find(tx, self._project, session_id))
        if await queries.revoke(tx, self._project, session_id):
            await self._announce(tx, "session.revoked", session_id, row.user_id)

    async def _revoke_all(self, tx: Transaction, user_id: str, except_id: bytes | None) -> int:
        ended = await queries.revoke_all(tx, self._project, user_id, except_id=except_id)
        if ended:
            data = {"count": ended}
            await announce(tx, self._project, "sessions.revoked", subject=user_id, owner_id=user_id, data=data)
        return ended

    async def _announce(self, tx: Transaction, event: str, session_id: bytes, user_id: str) -> None:
        await announce(tx, self._project, event, subject=ids.SESSION.text(session_id), owner_id=user_id)


def _end(row: SessionRow, suspended: bool, now: int) -> SessionEnd | None:
    """Why a stored session does not hold at this moment, or None."""
    if row.revoked_at is not None:
        return SessionEnd.REVOKED
    if row.expires_at <= now or now - row.last_used_at >= row.idle:
        return SessionEnd.EXPIRED
    return SessionEnd.OWNER_SUSPENDED if suspended else None


def _require(row: SessionRow | None) -> SessionRow:
    if row is None:
        raise NotFound("There is no such session.")
    return row
