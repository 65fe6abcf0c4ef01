"""The passkey ceremonies: what a browser is asked for, and what its answer leads to.

Each has two halves. The first keeps a challenge for the browser that asked. The second uses that challenge up in a
transaction of its own, verifies the answer outside of any, and writes what follows in another. Nothing in an answer
decides whose account is meant: only the session, the challenge and the verified passkey do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kavach_core.capabilities.challenges import Asked, ChallengeKind
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.limits import Attempt, Limits
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.passkeys import queries, records
from kavach_core.capabilities.passkeys.ceremony import (
    creation_options,
    decode,
    encode,
    read_authentication,
    read_registration,
    request_options,
)
from kavach_core.capabilities.passkeys.exchange import Exchange
from kavach_core.capabilities.passkeys.model import AddedPasskey, NewCredential, Options, Passkey
from kavach_core.capabilities.passkeys.proofs import Proof, Proofs
from kavach_core.capabilities.passkeys.queries import PasskeyRow
from kavach_core.capabilities.passkeys.verify import prepare, verify_registration
from kavach_core.capabilities.sessions import Session, Sessions, SignInMethod
from kavach_core.capabilities.users import Users
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.capabilities.users.service import new_handle, require_display_name, require_user
from kavach_core.errors import ChallengeUnknown, EmailTaken, NotFound, SignUpClosed
from kavach_core.primitives import ids
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.emails import email_key, require_email
from kavach_core.primitives.text import require_name
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_LONGEST_NAME: Final = 64


class Passkeys:
    """Passkeys of the humans who sign in here.

    `browser` is what `kv.browser(request)` gives: a ceremony is finished by the browser that began it, or not at all.
    Every method that takes an answer (`body`, the JSON of the credential) raises `ChallengeUnknown` for one that was
    given before, too late or to something else, and `PasskeyRejected` for one that does not hold.
    """

    def __init__(self, runtime: Runtime, users_: Users, sessions: Sessions, limits: Limits) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._config = runtime.config
        self._users = users_
        self._sessions = sessions
        self._limits = limits
        self._exchange = Exchange(runtime, limits)
        self._proofs = Proofs(runtime)

    async def begin_registration(
        self, *, email: str | None = None, display_name: str | None = None, browser: Browser, address: str | None = None
    ) -> Options:
        """Ask for the first passkey of a new account.

        Where the app sends mail, the address is only what the account says until a mail to it was answered, and
        nothing tells whether it has another account. Elsewhere it is taken at once.

        Raises `EmailTaken` for an address that has an account, `SignUpClosed`, `RateLimited` and `InvalidInput`.
        """
        await self._prepare_sign_up()
        handle = new_handle()
        given = {
            "email": None if email is None else require_email(email),
            "name": require_display_name(display_name),
            "handle": encode(handle),
        }
        asked = Asked(data={name: value for name, value in given.items() if value is not None})
        challenge = await self._store.transact(self._begin_registration, asked, browser, address)
        if challenge is None:
            raise EmailTaken("There is an account with this address: sign in first.")
        name = given["email"] or given["name"] or self._config.rp_name
        return creation_options(
            self._config,
            challenge=challenge,
            handle=handle,
            name=name,
            display_name=given["name"] or name,
            exclude=(),
        )

    async def finish_registration(
        self, body: object, *, browser: Browser, address: str | None = None, user_agent: str | None = None
    ) -> Session:
        """Make the account and its first passkey, and sign in to it.

        Raises `EmailTaken`, `SignUpClosed`, and `Conflict` for a passkey that is on record already.
        """
        await self._prepare_sign_up()
        answer = read_registration(body)
        asked = await self._exchange.take(ChallengeKind.PASSKEY_REGISTRATION, answer, browser=browser)
        credential = verify_registration(answer, self._config)
        return await self._store.transact(self._register, asked, credential, address, user_agent, browser)

    async def begin_authentication(self, *, browser: Browser, address: str | None = None) -> Options:
        """Ask for any passkey of this site, by button or by autofill. Raises `RateLimited`."""
        await prepare(self._config)
        challenge = await self._store.transact(self._begin_authentication, browser, address)
        return request_options(self._config, challenge=challenge)

    async def finish_authentication(
        self, body: object, *, browser: Browser, address: str | None = None, user_agent: str | None = None
    ) -> Session:
        """Sign in: start a session. Raises `PasskeyUnknown`, `OwnerSuspended` and `RateLimited`."""
        await prepare(self._config)
        answer = read_authentication(body)
        kind = ChallengeKind.PASSKEY_AUTHENTICATION
        _, found = await self._exchange.take_signed(kind, answer, browser=browser, address=address)
        proof = await self._proofs.check(answer, found)
        return await self._store.transact(self._sign_in, proof, address, user_agent, browser)

    async def begin_verification(self, *, session: Session, browser: Browser, address: str | None = None) -> Options:
        """Ask the human of a session to prove once more who they are. Raises `NotFound` if they have no passkey."""
        await prepare(self._config)
        session_id = ids.SESSION.raw(session.id)
        challenge, rows = await self._store.transact(self._begin_verification, session_id, browser, address)
        return request_options(self._config, challenge=challenge, allow=_named(rows))

    async def finish_verification(self, body: object, *, session: Session, browser: Browser) -> Session:
        """Make the session fresh again; it keeps its token."""
        await prepare(self._config)
        answer = read_authentication(body)
        asked, found = await self._exchange.take_signed(ChallengeKind.PASSKEY_VERIFICATION, answer, browser=browser)
        session_id = _same_session(asked, session)
        proof = await self._proofs.check(answer, found, of_user=asked.user_id)
        return await self._store.transact(self._refresh, session_id, proof)

    async def begin_addition(self, *, session: Session, browser: Browser, address: str | None = None) -> Options:
        """Ask for another passkey for the human of a fresh session, or of a recovery session.

        Raises `SessionNotFresh`, and `LimitReached` for somebody with ten passkeys who has not lost them.
        """
        await prepare(self._config)
        session_id = ids.SESSION.raw(session.id)
        challenge, user, rows = await self._store.transact(self._begin_addition, session_id, browser, address)
        name = user.email or user.display_name or self._config.rp_name
        return creation_options(
            self._config,
            challenge=challenge,
            handle=user.handle,
            name=name,
            display_name=user.display_name or name,
            exclude=_named(rows),
        )

    async def finish_addition(
        self,
        body: object,
        *,
        session: Session,
        browser: Browser,
        address: str | None = None,
        user_agent: str | None = None,
    ) -> AddedPasskey:
        """Add the passkey. Who was recovering is signed in by it: the recovery session ends and a full one begins.

        Raises `SessionNotFresh`, `LimitReached`, and `Conflict` for a passkey that is on record already.
        """
        await prepare(self._config)
        answer = read_registration(body)
        asked = await self._exchange.take(ChallengeKind.PASSKEY_ADDITION, answer, browser=browser)
        session_id = _same_session(asked, session)
        credential = verify_registration(answer, self._config)
        return await self._store.transact(self._add, asked, session_id, credential, address, user_agent, browser)

    async def list(self, user_id: str) -> Sequence[Passkey]:
        """Return the passkeys of a human, oldest first; none for one whom the app signs in its own way."""
        return await self._store.read(self._list, require_owner_id(user_id, field="userId"))

    async def rename(self, passkey_id: str, name: str, *, user_id: str) -> Passkey:
        """Give one of a human's passkeys another name. Raises `NotFound`."""
        clean = require_name(name, field="name", longest=_LONGEST_NAME)
        owner_id = require_owner_id(user_id, field="userId")
        return await self._store.transact(self._rename, ids.PASSKEY.raw(passkey_id), clean, owner_id)

    async def delete(self, passkey_id: str, *, session: Session) -> None:
        """Delete a passkey of the human of a fresh session.

        Raises `NotFound`, `SessionNotFresh`, and `LastWayIn` if they could not sign in without it.
        """
        await self._store.transact(self._delete, ids.PASSKEY.raw(passkey_id), ids.SESSION.raw(session.id))

    async def _prepare_sign_up(self) -> None:
        if not self._config.sign_up:
            raise SignUpClosed("People cannot make themselves an account here.")
        await prepare(self._config)

    async def _begin_registration(
        self, tx: Transaction, asked: Asked, browser: Browser, address: str | None
    ) -> bytes | None:
        """The challenge; None for an address that is taken, which counts, because it may be a search for accounts."""
        await self._limits.sign_up_in(tx, address)
        email = asked.data.get("email")
        if email is not None and self._holds_email and await users.by_email(tx, self._project, email_key(email)):
            return None
        kind = ChallengeKind.PASSKEY_REGISTRATION
        return await self._exchange.ask_in(tx, kind, asked, browser=browser, address=address)

    async def _register(
        self,
        tx: Transaction,
        asked: Asked,
        credential: NewCredential,
        address: str | None,
        user_agent: str | None,
        browser: Browser,
    ) -> Session:
        data = asked.data
        user = await self._users.create_in(
            tx,
            email=data.get("email"),
            display_name=data.get("name"),
            handle=decode(data["handle"]),
            holds_email=self._holds_email,
        )
        row = await records.add(tx, self._project, user, credential)
        return await self._start(tx, user, row, address, user_agent, browser)

    async def _begin_authentication(self, tx: Transaction, browser: Browser, address: str | None) -> bytes:
        kind = ChallengeKind.PASSKEY_AUTHENTICATION
        return await self._exchange.ask_in(tx, kind, Asked(), browser=browser, address=address)

    async def _sign_in(
        self, tx: Transaction, proof: Proof, address: str | None, user_agent: str | None, browser: Browser
    ) -> Session:
        user = await self._proofs.note_in(tx, proof)
        session = await self._start(tx, user, proof.row, address, user_agent, browser)
        await self._limits.succeed_in(tx, Attempt(address=address))
        return session

    async def _start(
        self,
        tx: Transaction,
        user: UserRow,
        row: PasskeyRow,
        address: str | None,
        user_agent: str | None,
        browser: Browser,
    ) -> Session:
        data = {"method": SignInMethod.PASSKEY.value, "passkeyId": ids.PASSKEY.text(row.id)}
        owner_id = user.owner_id
        await announce(tx, self._project, "user.signed_in", subject=owner_id, owner_id=owner_id, data=data)
        return await self._sessions.start_in(tx, owner_id, SignInMethod.PASSKEY, address, user_agent, browser)

    async def _begin_verification(
        self, tx: Transaction, session_id: bytes, browser: Browser, address: str | None
    ) -> tuple[bytes, Sequence[PasskeyRow]]:
        session = await self._sessions.require_in(tx, session_id, fresh=False)
        user = await self._user_of(tx, session)
        rows = [row for row in await queries.of_user(tx, self._project, user.id) if row.disabled_at is None]
        if not rows:
            raise NotFound("This account has no passkey.")
        asked = Asked(user_id=user.id, session_id=session_id)
        kind = ChallengeKind.PASSKEY_VERIFICATION
        return await self._exchange.ask_in(tx, kind, asked, browser=browser, address=address), rows

    async def _refresh(self, tx: Transaction, session_id: bytes, proof: Proof) -> Session:
        session = await self._sessions.require_in(tx, session_id, fresh=False)
        user = await self._proofs.note_in(tx, proof)
        if user.owner_id != session.user_id:
            raise _changed()
        data = {"passkeyId": ids.PASSKEY.text(proof.row.id)}
        await announce(tx, self._project, "session.refreshed", subject=session.id, owner_id=user.owner_id, data=data)
        return await self._sessions.refresh_in(tx, session_id)

    async def _begin_addition(
        self, tx: Transaction, session_id: bytes, browser: Browser, address: str | None
    ) -> tuple[bytes, UserRow, Sequence[PasskeyRow]]:
        session = await self._sessions.require_in(tx, session_id, recovering=True)
        user = await self._user_of(tx, session)
        rows = await records.require_room(tx, self._project, user, recovering=_is_recovery(session))
        asked = Asked(user_id=user.id, session_id=session_id)
        kind = ChallengeKind.PASSKEY_ADDITION
        challenge = await self._exchange.ask_in(tx, kind, asked, browser=browser, address=address)
        return challenge, user, rows

    async def _add(
        self,
        tx: Transaction,
        asked: Asked,
        session_id: bytes,
        credential: NewCredential,
        address: str | None,
        user_agent: str | None,
        browser: Browser,
    ) -> AddedPasskey:
        # The lock comes before the look: of several additions in one recovery session only the first finds it alive.
        locked = None if asked.user_id is None else await users.lock(tx, self._project, asked.user_id)
        user = require_user(locked)
        session = await self._sessions.require_in(tx, session_id, recovering=True)
        if user.owner_id != session.user_id:
            raise _changed()
        row = await records.add(tx, self._project, user, credential, recovering=_is_recovery(session))
        started = None
        if _is_recovery(session):
            await self._sessions.revoke_in(tx, session_id)
            started = await self._start(tx, user, row, address, user_agent, browser)
        return AddedPasskey(passkey=queries.to_model(row), session=started)

    async def _list(self, tx: Transaction, user_id: str) -> Sequence[Passkey]:
        user = await users.by_owner(tx, self._project, user_id)
        rows = [] if user is None else await queries.of_user(tx, self._project, user.id)
        return [queries.to_model(row) for row in rows]

    async def _rename(self, tx: Transaction, passkey_id: bytes, name: str, user_id: str) -> Passkey:
        user = await users.by_owner(tx, self._project, user_id)
        row = None
        if user is not None and await queries.rename(tx, self._project, passkey_id, user.id, name):
            row = await queries.find(tx, self._project, passkey_id, user.id)
        if user is None or row is None:
            raise NotFound("There is no such passkey.")
        await records.announce_passkey(tx, self._project, "passkey.renamed", row, user, name=name)
        return queries.to_model(row)

    async def _delete(self, tx: Transaction, passkey_id: bytes, session_id: bytes) -> None:
        session = await self._sessions.require_in(tx, session_id)
        user = await self._user_of(tx, session)
        await records.delete(tx, self._project, user, passkey_id, with_passwords=self._config.passwords)

    @property
    def _holds_email(self) -> bool:
        """Whether an address is taken before it is proved. Where mail can prove it, none is."""
        return self._config.send_email is None

    async def _user_of(self, tx: Transaction, session: Session) -> UserRow:
        return require_user(await users.by_owner(tx, self._project, session.user_id))


def _same_session(asked: Asked, session: Session) -> bytes:
    """The session a ceremony was begun in, if this is it."""
    session_id = ids.SESSION.raw(session.id)
    if asked.session_id != session_id:
        raise _changed()
    return session_id


def _is_recovery(session: Session) -> bool:
    return session.method is SignInMethod.RECOVERY


def _changed() -> ChallengeUnknown:
    return ChallengeUnknown("This was begun in another session: begin again.")


def _named(rows: Sequence[PasskeyRow]) -> Sequence[tuple[bytes, tuple[str, ...]]]:
    return [(row.credential_id, row.transport_names) for row in rows]
