"""Create, verify, list and end sessions. Every verification reads the store, so the next request sees an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.sessions import queries
from kavach_core.capabilities.sessions.model import LiveSession, Session, SessionEnd, SessionRejected, SignInMethod
from kavach_core.capabilities.sessions.queries import SessionRow
from kavach_core.errors import NotFound, OwnerSuspended, SessionNotFresh, Unauthenticated
from kavach_core.primitives import ids, tokens
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.clock import MINUTE
from kavach_core.primitives.text import escape
from kavach_core.primitives.tokens import TokenKind
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: The time of last use is written at most this often, and twenty times in what a session may rest, so that it may end
#: that much early, never late.
_TOUCH_EVERY: Final = MINUTE
_TOUCHES: Final = 20
#: Long enough to find the new device and add its passkey.
_RECOVERY_LIFETIME: Final = 30 * MINUTE


class Sessions:
    """Sign-ins of humans."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._idle = runtime.config.session_idle
        self._lifetime = runtime.config.session_lifetime
        self._fresh_for = runtime.config.fresh_for

    async def create(self, user_id: str, *, address: str | None = None, user_agent: str | None = None) -> Session:
        """Start a session; its `token` is on the result and nowhere else. Raises `OwnerSuspended`."""
        return await self._store.transact(
            self.start_in, require_owner_id(user_id, field="userId"), SignInMethod.APP, address, user_agent
        )

    async def verify(self, token: str | None) -> LiveSession | SessionRejected:
        """Tell whether a session token holds now. One with a wrong checksum is refused without a query.

        A recovery session is no sign-in and rejected here: see `verify_recovery`.
        """
        session = await self._verify_any(token)
        if isinstance(session, LiveSession) and session.method is SignInMethod.RECOVERY:
            return SessionRejected(code=SessionEnd.RECOVERY_ONLY)
        return session

    async def verify_recovery(self, token: str | None) -> LiveSession | SessionRejected:
        """Like `verify`, for the one thing a recovery session can do: give its human a new passkey."""
        session = await self._verify_any(token)
        if isinstance(session, LiveSession) and session.method is not SignInMethod.RECOVERY:
            return SessionRejected(code=SessionEnd.UNKNOWN)
        return session

    async def _verify_any(self, token: str | None) -> LiveSession | SessionRejected:
        if token is None or tokens.kind_of(token) is not TokenKind.SESSION:
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

    async def require_in(
        self, tx: Transaction, session_id: bytes, *, fresh: bool = True, recovering: bool = False
    ) -> Session:
        """Return a session that holds now, inside the transaction of what it allows.

        `recovering` lets a recovery session pass too, however fresh. Raises `Unauthenticated` for one that has ended
        or cannot be used for this, `OwnerSuspended`, and `SessionNotFresh`.
        """
        row = await queries.find(tx, self._project, session_id)
        end = SessionEnd.UNKNOWN if row is None else _end(row, False, tx.now)
        is_recovery = row is not None and row.method == SignInMethod.RECOVERY
        if row is None or end is not None or (is_recovery and not recovering):
            raise Unauthenticated("This session cannot be used here.", reason=(end or SessionEnd.RECOVERY_ONLY).value)
        owner = await owners.find(tx, self._project, row.user_id)
        if owner is not None and owner.suspended:
            raise OwnerSuspended("The owner is suspended.")
        session = queries.to_model(row, tx.now, self._fresh_for)
        if fresh and not (session.is_fresh or is_recovery):
            raise SessionNotFresh("Prove once more who you are: the sign-in was too long ago for this.")
        return session

    async def refresh_in(self, tx: Transaction, session_id: bytes) -> Session:
        """Make a session fresh inside the transaction of a new proof. Raises `NotFound`."""
        if not await queries.refresh(tx, self._project, session_id):
            raise NotFound("There is no such session.")
        return await self._get(tx, session_id)

    async def revoke(self, session_id: str) -> None:
        """End a session from the next request on, everywhere. Ending it twice changes nothing. Raises `NotFound`."""
        await self._store.transact(self.revoke_in, ids.SESSION.raw(session_id))

    async def revoke_all(self, user_id: str, *, except_id: str | None = None) -> int:
        """End all sessions of a human, or all but one; returns how many ended."""
        kept = None if except_id is None else ids.SESSION.raw(except_id)
        return await self._store.transact(self.revoke_others_in, require_owner_id(user_id, field="userId"), kept)

    async def start_in(
        self,
        tx: Transaction,
        user_id: str,
        method: SignInMethod,
        address: str | None,
        user_agent: str | None,
        browser: Browser | None = None,
    ) -> Session:
        """Start a session inside the transaction of a sign-in. Raises `OwnerSuspended`."""
        if (await owners.lock(tx, self._project, user_id)).suspended:
            raise OwnerSuspended("The owner is suspended.")
        minted = tokens.mint(TokenKind.SESSION)
        row = SessionRow(
            id=tx.new_id(),
            user_id=user_id,
            idle=self._idle,
            expires_at=tx.now + (_RECOVERY_LIFETIME if method is SignInMethod.RECOVERY else self._lifetime),
            created_at=tx.now,
            last_used_at=tx.now,
            revoked_at=None,
            address=None if address is None else escape(address, longest=64, field="address"),
            user_agent=None if user_agent is None else escape(user_agent, longest=256, field="userAgent"),
            method=method.value,
            fresh_at=tx.now,
            browser_hash=None if browser is None else browser.hash,
        )
        await queries.insert(tx, self._project, minted.digest, row)
        await self._announce(tx, "session.created", row.id, user_id)
        return Session(**queries.public_fields(row, tx.now, self._fresh_for), token=minted.token)

    async def _verify(self, tx: Transaction, token_hash: bytes) -> tuple[LiveSession | SessionRejected, bool]:
        """The session, and whether its time of last use is due to be written."""
        found = await queries.by_token(tx, self._project, token_hash)
        end = SessionEnd.UNKNOWN if found is None else _end(found[0], found[1], tx.now)
        if found is None or end is not None:
            return SessionRejected(code=end or SessionEnd.UNKNOWN), False
        row, _ = found
        session = LiveSession(**queries.public_fields(row, tx.now, self._fresh_for))
        return session, tx.now - row.last_used_at >= min(_TOUCH_EVERY, row.idle // _TOUCHES)

    async def _list(self, tx: Transaction, user_id: str) -> Sequence[Session]:
        rows = await queries.unended_of(tx, self._project, user_id)
        return [queries.to_model(row, tx.now, self._fresh_for) for row in rows if _end(row, False, tx.now) is None]

    async def _get(self, tx: Transaction, session_id: bytes) -> Session:
        row = _require(await queries.find(tx, self._project, session_id))
        return queries.to_model(row, tx.now, self._fresh_for)

    async def revoke_in(self, tx: Transaction, session_id: bytes) -> None:
        """End a session inside the transaction of what ends it. Raises `NotFound`."""
        row = _require(await queries.find(tx, self._project, session_id))
        if await queries.revoke(tx, self._project, session_id):
            await self._announce(tx, "session.revoked", session_id, row.user_id)

    async def revoke_others_in(self, tx: Transaction, user_id: str, except_id: bytes | None) -> int:
        """End all sessions of a human but one inside the transaction of another change; returns how many ended."""
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
