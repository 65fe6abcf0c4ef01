"""Issue codes and links, and turn one into a recovery session, which can do nothing but add a passkey."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from kavach_core.capabilities.challenges import Asked, ChallengeKind, ask, take
from kavach_core.capabilities.challenges.once import challenge_of, require_asked
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.limits import Attempt, Limits
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.recovery import queries
from kavach_core.capabilities.recovery.model import RecoveryLink, digest_of, new_codes
from kavach_core.capabilities.sessions import Session, Sessions, SignInMethod
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.service import require_user
from kavach_core.errors import SessionNotFresh, SignInFailed
from kavach_core.primitives import ids
from kavach_core.primitives.clock import DAY, MINUTE, to_datetime
from kavach_core.primitives.emails import email_key, require_email
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_MAILED_LIFETIME: Final = 10 * MINUTE
_HANDED_LIFETIME: Final = DAY


class MailedLink(NamedTuple):
    """What to mail to whoever asked for a way back in."""

    #: As its owner wrote it. What the one who asks has written is never mailed to: it may only look like it.
    address: str
    token: str


class Recovery:
    """The ways back into an account."""

    def __init__(self, runtime: Runtime, sessions: Sessions, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._sessions = sessions
        self._limits = limits

    async def issue_codes(self, session: Session) -> list[str]:
        """Give the human of a fresh session ten new codes in place of older ones; they are shown now and never again.

        Raises `SessionNotFresh`, and `NotFound` for somebody who has no account here.
        """
        if not session.is_fresh:
            raise SessionNotFresh("Sign in once more to get recovery codes.")
        codes = new_codes()
        digests = [digest_of(code) for code in codes]
        await self._store.transact(self._replace, session.user_id, ids.SESSION.raw(session.id), digests)
        return codes

    async def codes_left(self, user_id: str) -> int:
        """Return how many unused codes a user has. Raises `NotFound`."""
        return await self._store.read(self._left, require_owner_id(user_id, field="userId"))

    async def use_code(self, code: str, *, address: str | None = None, user_agent: str | None = None) -> Session:
        """Use a code up and start a recovery session. Of several that use one code at once, one succeeds.

        Raises `SignInFailed`, `OwnerSuspended` and `RateLimited`.
        """
        digest = digest_of(code)
        await self._limits.attempt(Attempt(address=address))
        session = await self._store.transact(self._use_code, digest, address, user_agent)
        if session is None:
            raise SignInFailed("This recovery code does not hold.")
        return session

    async def ask_for_link(self, email: str, *, address: str | None = None) -> MailedLink | None:
        """Return the token of a link and the address on record to mail it to, for ten minutes and once.

        None if the address is not a verified one of an account: an unverified address opens nothing. Whoever asks must
        not be told which it was. Raises `InvalidInput` and `RateLimited`.
        """
        return await self._store.transact(self._ask_for_link, email_key(require_email(email)), address)

    async def issue_link(self, user_id: str) -> RecoveryLink:
        """Make a link that an administrator hands to somebody without mail, for a day and once. Raises `NotFound`."""
        token = secrets.token_urlsafe(32)
        expires_at = await self._store.transact(self._issue_link, require_owner_id(user_id, field="userId"), token)
        return RecoveryLink(token=token, expires_at=to_datetime(expires_at))

    async def use_link(self, token: str, *, address: str | None = None, user_agent: str | None = None) -> Session:
        """Use a link up and start a recovery session.

        Raises `ChallengeUnknown`, `OwnerSuspended` and `RateLimited`.
        """
        await self._limits.attempt(Attempt(address=address))
        asked = require_asked(await self._store.transact(self._take_link, token))
        return await self._store.transact(self._enter_by_link, asked, address, user_agent)

    async def _replace(self, tx: Transaction, user_id: str, session_id: bytes, digests: list[bytes]) -> None:
        user = require_user(await users.by_owner(tx, self._project, user_id))
        await users.lock(tx, self._project, user.id)
        await self._sessions.require_in(tx, session_id)
        await queries.replace(tx, self._project, user.id, digests)
        await announce(tx, self._project, "recovery.codes_issued", subject=user_id, owner_id=user_id)

    async def _left(self, tx: Transaction, user_id: str) -> int:
        user = require_user(await users.by_owner(tx, self._project, user_id))
        return await queries.left(tx, self._project, user.id)

    async def _use_code(
        self, tx: Transaction, digest: bytes, address: str | None, user_agent: str | None
    ) -> Session | None:
        user_id = await queries.use(tx, self._project, digest)
        return None if user_id is None else await self._enter(tx, user_id, "code", address, user_agent)

    async def _ask_for_link(self, tx: Transaction, key: str, address: str | None) -> MailedLink | None:
        """Always writes a row, so that an address without an account costs what another does."""
        await self._limits.mail_in(tx, key, "recovery", address)
        user = await users.by_email(tx, self._project, key)
        token = secrets.token_urlsafe(32)
        if user is None or user.email is None or user.email_verified_at is None:
            await self._keep(tx, None, token, _MAILED_LIFETIME)
            return None
        await self._keep(tx, user.id, token, _MAILED_LIFETIME)
        return MailedLink(user.email, token)

    async def _issue_link(self, tx: Transaction, user_id: str, token: str) -> int:
        user = require_user(await users.by_owner(tx, self._project, user_id))
        await self._keep(tx, user.id, token, _HANDED_LIFETIME)
        await announce(tx, self._project, "recovery.link_issued", subject=user_id, owner_id=user_id)
        return tx.now + _HANDED_LIFETIME

    async def _keep(self, tx: Transaction, user_id: bytes | None, token: str, lifetime: int) -> None:
        kind, asked = ChallengeKind.RECOVERY_LINK, Asked(user_id=user_id)
        await ask(tx, self._project, kind, token.encode(), asked, lifetime=lifetime, browser_hash=None)

    async def _take_link(self, tx: Transaction, token: str) -> Asked | None:
        challenge = challenge_of(token)
        asked = await take(tx, self._project, ChallengeKind.RECOVERY_LINK, challenge, browser_hash=None)
        return asked if asked is not None and asked.user_id is not None else None

    async def _enter_by_link(
        self, tx: Transaction, asked: Asked, address: str | None, user_agent: str | None
    ) -> Session:
        return await self._enter(tx, asked.user_id or b"", "link", address, user_agent)

    async def _enter(
        self, tx: Transaction, user_id: bytes, way: str, address: str | None, user_agent: str | None
    ) -> Session:
        owner_id = require_user(await users.find(tx, self._project, user_id)).owner_id
        session = await self._sessions.start_in(tx, owner_id, SignInMethod.RECOVERY, address, user_agent)
        data = {"by": way}
        await announce(tx, self._project, "recovery.used", subject=owner_id, owner_id=owner_id, data=data)
        await self._limits.succeed_in(tx, Attempt(address=address))
        return session
