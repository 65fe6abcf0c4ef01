"""Sign up and in with e-mail and password. Only a sign-up without mail tells whether an account exists."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from kavach_core.capabilities.challenges import Asked, ChallengeKind, ask, take
from kavach_core.capabilities.challenges.once import challenge_of, require_asked
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.limits import Attempt, Limits
from kavach_core.capabilities.passwords import queries
from kavach_core.capabilities.passwords.hashing import Hasher
from kavach_core.capabilities.passwords.policy import normalised, require_password
from kavach_core.capabilities.sessions import Session, Sessions, SignInMethod
from kavach_core.capabilities.sessions import queries as sessions
from kavach_core.capabilities.users import AddressProof, Users
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.service import prove_email, require_display_name, require_user
from kavach_core.errors import CallerNotAllowed, NotFound, OwnerSuspended, SessionNotFresh, SignInFailed, SignUpClosed
from kavach_core.primitives import ids
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.clock import DAY
from kavach_core.primitives.emails import email_key, require_email
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_LINK_LIFETIME: Final = DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applicant:
    """Somebody who wants an account."""

    email: str
    name: str | None
    hashed: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Whom an address belongs to."""

    user_id: bytes
    #: What is stored of their password, if they have one.
    hashed: str | None = field(repr=False)
    #: Whether they signed in from this browser before.
    knows_browser: bool


class Passwords:
    """E-mail and password as a way to sign in. Everything raises `NotFound` unless `passwords=True`."""

    def __init__(self, runtime: Runtime, users_: Users, sessions: Sessions, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._config = runtime.config
        self._users = users_
        self._sessions = sessions
        self._limits = limits
        self._hasher = Hasher()

    async def sign_up(
        self,
        email: str,
        password: str,
        *,
        name: str | None = None,
        browser: Browser | None = None,
        address: str | None = None,
        user_agent: str | None = None,
    ) -> Session:
        """Make an account and sign in to it.

        Raises `EmailTaken`, `InvalidInput` for a password that is too short or well known, and `RateLimited`.
        """
        applicant = await self._applicant(email, password, name, address)
        return await self._store.transact(self._join, applicant, address, user_agent, browser)

    async def ask_to_sign_up(
        self, email: str, password: str, *, name: str | None = None, address: str | None = None
    ) -> AddressProof:
        """Keep a wish for an account until its link comes back, for a day, and return the token of that link.

        No token if the address has proved to be that of an account: nobody but the address may be told. Raises
        `InvalidInput` and `RateLimited`.
        """
        applicant = await self._applicant(email, password, name, address)
        return await self._store.transact(self._keep_wish, applicant, secrets.token_urlsafe(32))

    async def finish_sign_up(
        self,
        token: str,
        password: str,
        *,
        browser: Browser | None = None,
        address: str | None = None,
        user_agent: str | None = None,
    ) -> Session:
        """Make the account that was asked for, now that the mail was answered, and sign in to it.

        The password is asked for again: whoever reads the mail never confirms one that somebody else chose.
        Raises `ChallengeUnknown`, `SignInFailed` (ask again then), `EmailTaken` and `RateLimited`.
        """
        self._require_enabled()
        await self._limits.attempt(Attempt(address=address))
        asked = require_asked(await self._store.transact(self._take_wish, token))
        applicant = _Applicant(email=asked.data["email"], name=asked.data.get("name"), hashed=asked.data["hash"])
        holds, _ = await self._hasher.verify(normalised(password), applicant.hashed)
        if not holds:
            raise SignInFailed("This is not the password the account was asked for with: ask again.")
        return await self._store.transact(self._join_proved, applicant, address, user_agent, browser)

    async def sign_in(
        self,
        email: str,
        password: str,
        *,
        browser: Browser | None = None,
        address: str | None = None,
        user_agent: str | None = None,
    ) -> Session:
        """Start a session. Raises `SignInFailed`, the same for every cause and as late, and `RateLimited`.

        `browser` is what `kv.browser(request)` gives: guesses made elsewhere never shut out one that got in before.
        """
        self._require_enabled()
        key, password = email_key(require_email(email)), normalised(password)
        known = await self._store.read(self._look_up, key, browser)
        told = browser.hash if browser is not None and known is not None and known.knows_browser else None
        attempt = Attempt(account=key, address=address, browser=told)
        await self._limits.attempt(attempt)
        holds, replacement = await self._hasher.verify(password, None if known is None else known.hashed)
        if not holds or known is None:
            raise _failed()
        try:
            return await self._store.transact(self._enter, known, replacement, attempt, user_agent, browser)
        except OwnerSuspended:
            raise _failed() from None

    async def set(self, session: Session, password: str) -> None:
        """Give the human of a fresh session a password, or another one. All their other sessions end.

        Raises `SessionNotFresh`, `InvalidInput`, `EmailTaken`, and `CallerNotAllowed` for somebody without an address,
        or where addresses are verified with one that is not.
        """
        self._require_enabled()
        if not session.is_fresh:
            raise SessionNotFresh("Sign in once more to change the password.")
        user = await self._users.get(session.user_id)
        email = self._require_own(user.email, user.email_verified)
        hashed = await self._hasher.hash(require_password(password, email=email, app=self._config.rp_name))
        await self._store.transact(self._set, session.user_id, ids.SESSION.raw(session.id), hashed)

    async def _applicant(self, email: str, password: str, name: str | None, address: str | None) -> _Applicant:
        self._require_enabled()
        if not self._config.sign_up:
            raise SignUpClosed("This app makes accounts itself.")
        email, name = require_email(email), require_display_name(name)
        password = require_password(password, email=email, app=self._config.rp_name)
        await self._store.transact(self._limits.sign_up_in, address, email_key(email))
        return _Applicant(email=email, name=name, hashed=await self._hasher.hash(password))

    def _require_enabled(self) -> None:
        if not self._config.passwords:
            raise NotFound("There is nothing here.")

    def _require_own(self, email: str | None, is_verified: bool) -> str:
        """An address that a password may belong to. Raises `CallerNotAllowed`."""
        if email is None:
            raise CallerNotAllowed("A password belongs to an address, and this account has none.")
        if self._config.verify_email and not is_verified:
            raise CallerNotAllowed("Confirm your e-mail address first: a password belongs to one that is yours.")
        return email

    async def _join(
        self,
        tx: Transaction,
        applicant: _Applicant,
        address: str | None,
        user_agent: str | None,
        browser: Browser | None,
    ) -> Session:
        user = await self._users.create_in(tx, email=applicant.email, display_name=applicant.name)
        await queries.store(tx, self._project, user.id, applicant.hashed)
        return await self._start(tx, user.owner_id, address, user_agent, browser)

    async def _join_proved(
        self,
        tx: Transaction,
        applicant: _Applicant,
        address: str | None,
        user_agent: str | None,
        browser: Browser | None,
    ) -> Session:
        user = await self._users.create_in(tx, email=applicant.email, display_name=applicant.name, holds_email=False)
        await prove_email(tx, self._project, user)
        await queries.store(tx, self._project, user.id, applicant.hashed)
        session = await self._start(tx, user.owner_id, address, user_agent, browser)
        await self._limits.succeed_in(tx, Attempt(address=address))
        return session

    async def _start(
        self, tx: Transaction, owner_id: str, address: str | None, user_agent: str | None, browser: Browser | None
    ) -> Session:
        return await self._sessions.start_in(tx, owner_id, SignInMethod.PASSWORD, address, user_agent, browser)

    async def _keep_wish(self, tx: Transaction, applicant: _Applicant, token: str) -> AddressProof:
        """Always writes a row, so that an address with an account costs what another does.

        Whoever holds the address without proof keeps nobody from it.
        """
        holder = await users.by_email(tx, self._project, email_key(applicant.email))
        taken = None if holder is None or holder.email_verified_at is None else holder.email
        data = {"email": applicant.email, "hash": applicant.hashed}
        if applicant.name is not None:
            data["name"] = applicant.name
        await ask(
            tx,
            self._project,
            ChallengeKind.SIGN_UP_LINK,
            token.encode() if taken is None else secrets.token_bytes(32),
            Asked(data=data),
            lifetime=_LINK_LIFETIME,
            browser_hash=None,
        )
        return AddressProof(applicant.email, token) if taken is None else AddressProof(taken, None)

    async def _take_wish(self, tx: Transaction, token: str) -> Asked | None:
        challenge = challenge_of(token)
        return await take(tx, self._project, ChallengeKind.SIGN_UP_LINK, challenge, browser_hash=None)

    async def _look_up(self, tx: Transaction, key: str, browser: Browser | None) -> _Known | None:
        user = await users.by_email(tx, self._project, key)
        if user is None:
            return None
        return _Known(
            user_id=user.id,
            hashed=await queries.find(tx, self._project, user.id),
            knows_browser=browser is not None
            and await sessions.knows_browser(tx, self._project, user.owner_id, browser.hash),
        )

    async def _enter(
        self,
        tx: Transaction,
        known: _Known,
        replacement: str | None,
        attempt: Attempt,
        user_agent: str | None,
        browser: Browser | None,
    ) -> Session:
        user = await users.lock(tx, self._project, known.user_id)
        stored = await queries.find(tx, self._project, known.user_id)
        if user is None or stored is None or stored != known.hashed or user.email_key != attempt.account:
            raise _failed()  # changed, gone or another's since it was checked
        if replacement is not None:
            await queries.rehash(tx, self._project, user.id, stored, replacement)
        session = await self._start(tx, user.owner_id, attempt.address, user_agent, browser)
        await self._limits.succeed_in(tx, attempt)
        return session

    async def _set(self, tx: Transaction, owner_id: str, session_id: bytes, hashed: str) -> None:
        found = require_user(await users.by_owner(tx, self._project, owner_id))
        user = require_user(await users.lock(tx, self._project, found.id))
        await self._sessions.require_in(tx, session_id)
        email = self._require_own(user.email, user.email_verified_at is not None)
        await users.hold_email(tx, self._project, user.id, email_key(email))
        await queries.store(tx, self._project, user.id, hashed)
        await self._sessions.revoke_others_in(tx, owner_id, session_id)
        await announce(tx, self._project, "password.changed", subject=owner_id, owner_id=owner_id)


def _failed() -> SignInFailed:
    return SignInFailed("Address and password do not belong together.")
