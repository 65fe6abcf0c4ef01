"""Prove that an address is a user's: a link in a mail, used once, by the user who is signed in."""

from __future__ import annotations

import secrets
from typing import Final

from kavach_core.capabilities.challenges import Asked, ChallengeKind, ask, take
from kavach_core.capabilities.challenges.once import challenge_of, require_asked
from kavach_core.capabilities.limits import Limits
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.users import AddressProof, User, queries
from kavach_core.capabilities.users.service import prove_email, require_user
from kavach_core.primitives.clock import DAY
from kavach_core.primitives.emails import email_key
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_LINK_LIFETIME: Final = DAY


class Emails:
    """Proofs of addresses. Only a verified address opens a way to recover an account."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._limits = limits

    async def ask(self, user_id: str) -> AddressProof | None:
        """Return the address of a user and a token to mail there; None if nothing is left to prove.

        The token holds for a day and once. Raises `NotFound` and `RateLimited`.
        """
        return await self._store.transact(self._ask, require_owner_id(user_id, field="userId"))

    async def confirm(self, user_id: str, token: str) -> User:
        """Note that the signed-in user answered the mail: the address is theirs, whoever else said it was.

        Raises `ChallengeUnknown` for a token that is not theirs, and `EmailTaken` for an address that another account
        has proved.
        """
        require_owner_id(user_id, field="userId")
        asked = await self._store.transact(self._take, token)
        return await self._store.transact(self._confirm, user_id, require_asked(asked))

    async def _ask(self, tx: Transaction, user_id: str) -> AddressProof | None:
        """Always writes a row, so that an address with an account costs what another does."""
        user = require_user(await queries.by_owner(tx, self._project, user_id))
        if user.email is None or user.email_verified_at is not None:
            return None
        key = email_key(user.email)
        await self._limits.mail_in(tx, key, "proof")
        holder = await queries.by_email(tx, self._project, key)
        token = secrets.token_urlsafe(32)
        asked = Asked(user_id=user.id, data={"email": user.email})
        kind = ChallengeKind.EMAIL_LINK
        await ask(tx, self._project, kind, token.encode(), asked, lifetime=_LINK_LIFETIME, browser_hash=None)
        if holder is None or holder.email is None or holder.email_verified_at is None:
            return AddressProof(user.email, token)
        return AddressProof(holder.email, None)

    async def _take(self, tx: Transaction, token: str) -> Asked | None:
        challenge = challenge_of(token)
        return await take(tx, self._project, ChallengeKind.EMAIL_LINK, challenge, browser_hash=None)

    async def _confirm(self, tx: Transaction, user_id: str, asked: Asked) -> User:
        user = require_user(await queries.by_owner(tx, self._project, user_id))
        # The address the mail went to, not one that the user may have lost or changed since.
        require_asked(asked if asked.user_id == user.id and asked.data.get("email") == user.email else None)
        return queries.to_model(await prove_email(tx, self._project, user))
