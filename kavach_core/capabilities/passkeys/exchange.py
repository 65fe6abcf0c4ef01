"""Challenges of ceremonies: asked for one browser, counted by address, and used up before an answer is verified."""

from __future__ import annotations

import secrets

from kavach_core.capabilities.challenges import Asked, ChallengeKind, ask, take
from kavach_core.capabilities.challenges.once import require_asked
from kavach_core.capabilities.limits import Attempt, Limits
from kavach_core.capabilities.passkeys import queries
from kavach_core.capabilities.passkeys.ceremony import CHALLENGE_BYTES, LIFETIME, Answer
from kavach_core.capabilities.passkeys.queries import Found
from kavach_core.primitives.browser import Browser
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction


class Exchange:
    """What was asked of browsers and waits for its one answer."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._limits = limits

    async def ask_in(
        self, tx: Transaction, kind: ChallengeKind, asked: Asked, *, browser: Browser, address: str | None
    ) -> bytes:
        """Return a new challenge, and keep what it was asked for. Raises `RateLimited` for an address that asks on."""
        await self._limits.begin_in(tx, address)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        await ask(tx, self._project, kind, challenge, asked, lifetime=LIFETIME, browser_hash=browser.hash)
        return challenge

    async def take(self, kind: ChallengeKind, answer: Answer, *, browser: Browser, address: str | None = None) -> Asked:
        """Use up the challenge of an answer, durably, and return what it was asked for.

        With an address it counts as an attempt to sign in. Raises `ChallengeUnknown` and `RateLimited`.
        """
        return require_asked(await self._store.transact(self._take, kind, answer.challenge, browser.hash, address))

    async def take_signed(
        self, kind: ChallengeKind, answer: Answer, *, browser: Browser, address: str | None = None
    ) -> tuple[Asked, Found | None]:
        """Like `take`, and look up which passkey is said to have signed the answer, in the same transaction."""
        challenge = answer.challenge
        asked, found = await self._store.transact(
            self._take_signed, kind, challenge, answer.credential_id, browser.hash, address
        )
        return require_asked(asked), found

    async def _take_signed(
        self,
        tx: Transaction,
        kind: ChallengeKind,
        challenge: bytes,
        credential_id: bytes,
        browser_hash: bytes,
        address: str | None,
    ) -> tuple[Asked | None, Found | None]:
        asked = await self._take(tx, kind, challenge, browser_hash, address)
        found = None if asked is None else await queries.by_credential(tx, self._project, credential_id)
        return asked, found

    async def _take(
        self, tx: Transaction, kind: ChallengeKind, challenge: bytes, browser_hash: bytes, address: str | None
    ) -> Asked | None:
        await self._limits.attempt_in(tx, Attempt(address=address))
        return await take(tx, self._project, kind, challenge, browser_hash=browser_hash)
