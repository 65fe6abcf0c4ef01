"""Prove that an address is a user's: a link in a mail, used once, by the user who is signed in."""

from __future__ import annotations

import secrets
from typing import Final

from kavach_core.capabilities.challenges import Asked, ChallengeKind, ask, take
from kavach_core.capabilities.challenges.once import require_asked
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.limits import Limits
from kavach_core.capabilities.users import User, queries
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.capabilities.users.service import require_user
from kavach_core.primitives.clock import DAY
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_LINK_LIFETIME: Final = DAY


class Emails:
    """Proofs of addresses. Only a verified address opens a way to recover an account."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._limits = limits

    async def ask(self, user_id: str) -> tuple[str, str] | None:
        """Return the address of a user and a token to mail there; None if nothing is left to prove.

        The token holds for a day and once. Raises `NotFound` and `RateLimited`.
        """
        await self._limits.attempt(account=f"verify {user_id}", address=None)
        return await self._store.transact(self._ask, user_id)

    async def confirm(self, user_id: str, token: str) -> User:
        """Note that the signed-in user answered the mail. Raises `ChallengeUnknown` for a token that is not theirs."""
        asked = await self._store.transact(self._take, token)
        return await self._store.transact(self._confirm, user_id, require_asked(asked))

    async def _ask(self, tx: Transaction, user_id: str) -> tuple[str, str] | None:
        user = require_user(await queries.by_owner(tx, self._project, user_id))
        if user.email is None or user.email_verified_at is not None:
            return None
        token = secrets.token_urlsafe(32)
        asked = Asked(user_id=user.id)
        kind = ChallengeKind.EMAIL_LINK
        await ask(tx, self._project, kind, token.encode(), asked, lifetime=_LINK_LIFETIME, browser_hash=None)
        return user.email, token

    async def _take(self, tx: Transaction, token: str) -> Asked | None:
        challenge = token.encode("utf-8", "surrogatepass")
        return await take(tx, self._project, ChallengeKind.EMAIL_LINK, challenge, browser_hash=None)

    async def _confirm(self, tx: Transaction, user_id: str, asked: Asked) -> User:
        user = require_user(await queries.by_owner(tx, self._project, user_id))
        require_asked(asked if asked.user_id == user.id else None)
        if await queries.verify_email(tx, self._project, user.id):
            await announce(tx, self._project, "user.email_verified", subject=user_id, owner_id=user_id)
        return queries.to_model(_verified(user, tx.now))


def _verified(user: UserRow, now: int) -> UserRow:
    return user._replace(email_verified_at=user.email_verified_at or now)
