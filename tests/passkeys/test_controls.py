"""Negative controls: what the tests of replays, races and counters catch, shown on variants that do it wrong."""

from __future__ import annotations

import copy

import pytest

from kavach_core import Kavach, Session
from kavach_core.capabilities.challenges import Asked, ChallengeKind
from kavach_core.capabilities.passkeys import AddedPasskey, Passkeys, exchange, queries, records, verify
from kavach_core.capabilities.passkeys.ceremony import read_authentication
from kavach_core.capabilities.passkeys.model import NewCredential
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.service import require_user
from kavach_core.primitives.browser import Browser
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction
from kavach_core.testing_passkeys import SoftAuthenticator
from tests.capabilities.support import Home, count, opener, store_of
from tests.passkeys.support import Person, code_of, codes_of_many, new_browser, synced
from tests.passkeys.test_management import additions_of_one_recovery


async def test_a_challenge_that_is_only_read_is_answered_again(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signed cookie amounts to: a copied request signs in for as long as it holds."""

    async def look(
        tx: Transaction, project: str, kind: ChallengeKind, challenge: bytes, *, browser_hash: bytes | None
    ) -> Asked | None:
        return Asked()

    person = Person(kavach, synced())
    await person.register()
    body = await person.begin_sign_in()
    monkeypatch.setattr(exchange, "take", look)
    assert [await code_of(person.finish_sign_in(body)) for _ in range(3)] == ["ok"] * 3


class VerifyFirst(Passkeys):
    """Verifies, and deletes the challenge with the sign-in, without asking whether it was still there."""

    async def finish_authentication(
        self, body: object, *, browser: Browser, address: str | None = None, user_agent: str | None = None
    ) -> Session:
        answer = read_authentication(body)
        found = await self._store.read(queries.by_credential, self._project, answer.credential_id)
        proof = await self._proofs.check(answer, found)
        await self._store.transact(self._forget)
        return await self._store.transact(self._sign_in, proof, address, user_agent, browser)

    async def _forget(self, tx: Transaction) -> None:
        await tx.execute("delete from kavach_challenges where project_id = $1", self._project)


async def test_verifying_before_the_challenge_is_taken_lets_a_race_in(kavach: Kavach) -> None:
    person = Person(kavach, synced())
    await person.register()
    person.passkeys = VerifyFirst(
        Runtime(store_of(kavach), kavach.config), kavach.users, kavach.sessions, kavach.limits
    )
    body = await person.begin_sign_in()
    assert (await codes_of_many(16, lambda: person.finish_sign_in(body))).count("ok") > 1
    elsewhere = person.passkeys.finish_authentication(body, browser=new_browser())
    assert await code_of(elsewhere) == "ok", "and so does any other browser"


class LookFirst(Passkeys):
    """Asks whether the recovery is still going on before it takes the lock on its human."""

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
        await self._sessions.require_in(tx, session_id, recovering=True)
        user = require_user(await users.lock(tx, self._project, asked.user_id or b""))
        row = await records.add(tx, self._project, user, credential, recovering=True)
        await self._sessions.revoke_in(tx, session_id)
        session = await self._start(tx, user, row, address, user_agent, browser)
        return AddedPasskey(passkey=queries.to_model(row), session=session)


async def test_looking_before_the_lock_lets_one_recovery_add_several(postgres_home: Home) -> None:
    """On PostgreSQL; on SQLite only one writes at a time."""
    async with opener(database=postgres_home.database, project=postgres_home.project) as open_one:
        kavach = await open_one()
        codes = list[str]()
        for _ in range(3):
            person = Person(kavach)
            lost = await person.register()
            runtime = Runtime(store_of(kavach), kavach.config)
            person.passkeys = LookFirst(runtime, kavach.users, kavach.sessions, kavach.limits)
            codes = max(codes, await additions_of_one_recovery(person, lost), key=lambda found: found.count("ok"))
        assert codes.count("ok") > 1


async def test_without_our_checks_the_library_lets_it_pass(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of another site, a key nobody can use, an id of 1,500 bytes: each is accepted by the library alone."""
    monkeypatch.setattr(verify, "_check_page", lambda answer, config: None)
    person = Person(kavach)
    await person.register()
    assert await code_of(person.sign_in(crossOrigin=True, topOrigin="https://evil.example")) == "ok"
    monkeypatch.setattr(verify, "_check_key", lambda key: None)
    options = await person.passkeys.begin_registration(browser=person.browser)
    body = person.authenticator.create(options, "http://localhost:8000")
    credential = person.authenticator.credentials[-1]
    off_curve = credential.public_key[:-32] + b"\x01" * 32
    body = person.authenticator.attest(options, "http://localhost:8000", credential, off_curve)
    assert await code_of(person.passkeys.finish_registration(body, browser=person.browser)) == "ok"
    assert await code_of(person.sign_in()) == "PASSKEY_REJECTED", "its owner can never sign in"
    assert await count(kavach, "kavach_users") == 2


async def test_without_the_compared_count_a_copy_signs_in(kavach: Kavach) -> None:
    """A counter says nothing about a synced passkey: this is why the clone of a single device is what is refused."""
    person = Person(kavach, SoftAuthenticator(be=True, bs=True))
    await person.register()
    clone = Person(kavach, copy.deepcopy(person.authenticator))
    for _ in range(2):
        await person.sign_in()
    assert await code_of(clone.sign_in()) == "ok"
