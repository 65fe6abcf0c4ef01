"""One's own passkeys: adding and deleting needs a proof that is a short while old, and nobody locks themselves out."""

from __future__ import annotations

import asyncio

import pytest

from kavach_core import Kavach, Session
from kavach_core.capabilities.passkeys import Passkey
from kavach_core.capabilities.passwords import queries as passwords
from kavach_core.capabilities.sessions import SignInMethod
from kavach_core.errors import LimitReached, NotFound
from kavach_core.primitives import ids
from kavach_core.testing import FrozenClock
from kavach_core.testing_passkeys import BrowserRefused, SoftAuthenticator
from tests.capabilities.support import OpenKavach, count, events, run, select, store_of
from tests.passkeys.support import ORIGIN, Person, code_of, codes_of_many, synced

NOBODY = f"psk_{'0' * 32}"


async def test_somebody_adds_a_passkey_and_signs_in_with_either(person: Person) -> None:
    session = await person.register("ada@example.org")
    phone = synced()
    added = await person.add(session, phone)
    assert added.session is None
    first, second = await person.passkeys.list(session.user_id)
    assert second == added.passkey and (second.device_type.value, second.backed_up) == ("multi_device", True)
    assert [first.name, second.name] == ["Passkey of one device", "Synced passkey"]
    for authenticator in (person.authenticator, phone):
        assert (await Person(person.kavach, authenticator).sign_in()).user_id == session.user_id
    handles = {each.credentials[0].user_handle for each in (person.authenticator, phone)}
    assert len(handles) == 1, "one random handle for all passkeys of a user"
    assert await code_of(person.kavach.sessions.get(session.id)) == "ok", "the session goes on"


async def test_an_authenticator_holds_one_passkey_of_an_account(person: Person) -> None:
    session = await person.register()
    options = await person.begin_addition(session)
    with pytest.raises(BrowserRefused, match="InvalidStateError"):
        person.authenticator.create(options, ORIGIN)


async def test_adding_and_deleting_needs_a_fresh_session(person: Person, clock: FrozenClock) -> None:
    session = await person.register()
    added = await person.add(session)
    options = await person.begin_addition(session)
    clock.advance("299s")
    assert await code_of(person.add(session)) == "ok"
    late = SoftAuthenticator().create(options, ORIGIN)
    clock.advance("301s")
    stale = ["SESSION_NOT_FRESH"] * 2
    attempts = [person.begin_addition(session), person.passkeys.delete(added.passkey.id, session=session)]
    assert [await code_of(attempt) for attempt in attempts] == stale
    assert await code_of(_finish_addition(person, late, session)) == "CHALLENGE_UNKNOWN"
    fresh = await person.verify(session)
    assert fresh.id == session.id and fresh.is_fresh
    assert await code_of(person.add(session)) == "ok"
    assert await code_of(person.passkeys.delete(added.passkey.id, session=session)) == "ok"
    assert "session.refreshed" in await events(person.kavach)


async def test_a_session_that_grows_stale_between_begin_and_finish_adds_nothing(
    open_kavach: OpenKavach, clock: FrozenClock
) -> None:
    person = Person(await open_kavach(fresh_for="2m"))
    session = await person.register()
    body = SoftAuthenticator().create(await person.begin_addition(session), ORIGIN)
    clock.advance("3m")
    assert await code_of(_finish_addition(person, body, session)) == "SESSION_NOT_FRESH"
    assert len(await person.passkeys.list(session.user_id)) == 1


async def test_a_session_that_changed_between_begin_and_finish_adds_nothing(kavach: Kavach) -> None:
    ada, bob = Person(kavach), Person(kavach)
    first, others = await ada.register(), await bob.register()
    again = await ada.sign_in()
    for session in (again, others):
        body = SoftAuthenticator().create(await ada.begin_addition(first), ORIGIN)
        assert await code_of(_finish_addition(ada, body, session)) == "CHALLENGE_UNKNOWN"
        options = await ada.passkeys.begin_verification(session=first, browser=ada.browser)
        proof = ada.authenticator.get(options, ORIGIN)
        finish = ada.passkeys.finish_verification(proof, session=session, browser=ada.browser)
        assert await code_of(finish) == "CHALLENGE_UNKNOWN"
    body = SoftAuthenticator().create(await ada.begin_addition(first), ORIGIN)
    await kavach.sessions.revoke(first.id)
    assert await code_of(_finish_addition(ada, body, first)) == "SESSION_REVOKED"
    assert await count(kavach, "kavach_passkeys") == 2


async def test_a_session_whose_human_changed_between_begin_and_finish_adds_nothing(kavach: Kavach) -> None:
    ada, bob = Person(kavach), Person(kavach)
    session, others = await ada.register(), await bob.register()
    options = await ada.passkeys.begin_verification(session=session, browser=ada.browser)
    body = SoftAuthenticator().create(await ada.begin_addition(session), ORIGIN)
    move = "update kavach_sessions set user_id = $1 where id = $2"
    await run(kavach, move, others.user_id, ids.SESSION.raw(session.id))
    assert await code_of(_finish_addition(ada, body, session)) == "CHALLENGE_UNKNOWN"
    proof = ada.authenticator.get(options, ORIGIN)
    finish = ada.passkeys.finish_verification(proof, session=session, browser=ada.browser)
    assert await code_of(finish) == "CHALLENGE_UNKNOWN"
    assert await count(kavach, "kavach_passkeys") == 2


async def test_nobody_proves_who_they_are_with_anothers_passkey(kavach: Kavach, clock: FrozenClock) -> None:
    ada, bob = Person(kavach), Person(kavach)
    session = await ada.register()
    await bob.register()
    clock.advance("1h")
    options = await ada.passkeys.begin_verification(session=session, browser=ada.browser)
    assert [each["id"] for each in options["allowCredentials"]] == [  # type: ignore[attr-defined]
        passkey.credential_id for passkey in await ada.passkeys.list(session.user_id)
    ]
    body = bob.authenticator.sign(options, ORIGIN, bob.authenticator.credentials[0])
    finish = ada.passkeys.finish_verification(body, session=session, browser=ada.browser)
    assert await code_of(finish) == "PASSKEY_REJECTED"
    assert not (await kavach.sessions.get(session.id)).is_fresh


async def test_a_proof_starts_no_session_and_counts_like_a_sign_in(person: Person, clock: FrozenClock) -> None:
    session = await person.register()
    clock.advance("1h")
    await person.verify(session)
    assert await count(person.kavach, "kavach_sessions") == 1
    (passkey,) = await person.passkeys.list(session.user_id)
    assert passkey.last_used_at == clock.now
    person.authenticator.credentials[0].sign_count = 0
    assert await code_of(person.verify(session)) == "PASSKEY_REJECTED"
    (passkey,) = await person.passkeys.list(session.user_id)
    assert passkey.disabled_at == clock.now


async def test_a_human_of_the_apps_own_auth_has_no_passkeys(person: Person) -> None:
    session = await person.kavach.sessions.create("alice")
    assert await person.passkeys.list("alice") == []
    assert await code_of(person.begin_addition(session)) == "NOT_FOUND"
    assert await code_of(person.verify(session)) == "NOT_FOUND"


async def test_a_passkey_is_renamed_and_deleted_by_its_owner_alone(kavach: Kavach) -> None:
    ada, bob = Person(kavach), Person(kavach)
    session, others = await ada.register(), await bob.register()
    await ada.add(session)
    passkey = (await ada.passkeys.list(session.user_id))[0]
    for foreign in (passkey.id, NOBODY, "agt_1", "x"):
        with pytest.raises(NotFound):
            await bob.passkeys.rename(foreign, "mine", user_id=others.user_id)
        with pytest.raises(NotFound):
            await bob.passkeys.delete(foreign, session=others)
    renamed = await ada.passkeys.rename(passkey.id, "My laptop", user_id=session.user_id)
    assert renamed.name == "My laptop" and renamed == (await ada.passkeys.list(session.user_id))[0]
    for wrong in ("", "a\x00b", "n" * 65):
        assert await code_of(ada.passkeys.rename(passkey.id, wrong, user_id=session.user_id)) == "INVALID_INPUT"
    await ada.passkeys.delete(passkey.id, session=session)
    assert len(await ada.passkeys.list(session.user_id)) == 1
    assert await code_of(ada.sign_in()) == "PASSKEY_UNKNOWN"
    assert (await events(kavach))[-2:] == ["passkey.renamed", "passkey.deleted"]


async def test_the_last_way_in_cannot_be_deleted(open_kavach: OpenKavach) -> None:
    kavach, without_passwords = await open_kavach(passwords=True), await open_kavach()
    person = Person(kavach)
    session = await person.register("ada@example.org")
    (passkey,) = await person.passkeys.list(session.user_id)
    assert await code_of(person.passkeys.delete(passkey.id, session=session)) == "LAST_WAY_IN"
    second = await person.add(session)
    await _disable(kavach, second.passkey)
    assert await code_of(person.passkeys.delete(passkey.id, session=session)) == "LAST_WAY_IN"
    assert await code_of(person.passkeys.delete(second.passkey.id, session=session)) == "ok"
    await _give_password(kavach, session)
    delete = without_passwords.auth.passkey.delete
    assert await code_of(delete(passkey.id, session=session)) == "LAST_WAY_IN", "a password that the app takes no more"
    assert await code_of(person.passkeys.delete(passkey.id, session=session)) == "ok"


async def test_two_who_delete_the_last_two_at_once_leave_one(kavach: Kavach) -> None:
    """Several rounds: in the first, the second connection to the database is still being opened."""
    for _ in range(4):
        person = Person(kavach)
        session = await person.register()
        await person.add(session)
        both = await person.passkeys.list(session.user_id)
        codes = await asyncio.gather(*[code_of(person.passkeys.delete(each.id, session=session)) for each in both])
        assert sorted(codes) == ["LAST_WAY_IN", "ok"]


async def test_an_account_has_at_most_ten_passkeys(kavach: Kavach) -> None:
    person = Person(kavach)
    session = await person.register()
    for _ in range(7):
        await person.add(session)
    bodies = [SoftAuthenticator().create(await person.begin_addition(session), ORIGIN) for _ in range(5)]
    codes = await asyncio.gather(*[code_of(_finish_addition(person, body, session)) for body in bodies])
    assert sorted(codes) == ["LIMIT_REACHED"] * 3 + ["ok"] * 2
    with pytest.raises(LimitReached):
        await person.begin_addition(session)
    assert len(await person.passkeys.list(session.user_id)) == 10


async def test_adding_counts_once_too(person: Person) -> None:
    session = await person.register()
    body = SoftAuthenticator().create(await person.begin_addition(session), ORIGIN)
    codes = await codes_of_many(16, lambda: _finish_addition(person, body, session))
    assert codes == ["CHALLENGE_UNKNOWN"] * 15 + ["ok"]
    assert len(await person.passkeys.list(session.user_id)) == 2


async def test_one_recovery_adds_one_passkey_however_many_are_finished_at_once(kavach: Kavach) -> None:
    """Several rounds: in the first, further connections to the database are still being opened."""
    for _ in range(3):
        person = Person(kavach)
        lost = await person.register()
        assert await additions_of_one_recovery(person, lost) == ["SESSION_REVOKED"] * 5 + ["ok"]
        assert len(await person.passkeys.list(lost.user_id)) == 2
        assert len(await kavach.sessions.list(lost.user_id)) == 2, "the lost one and the new one"


async def test_ten_lost_passkeys_leave_a_way_back(kavach: Kavach) -> None:
    person = Person(kavach)
    lost = await person.register()
    for _ in range(9):
        await person.add(lost)
    assert await code_of(person.begin_addition(lost)) == "LIMIT_REACHED"
    added = await person.add(await recovery_of(kavach, lost))
    assert added.session is not None and len(await person.passkeys.list(lost.user_id)) == 11
    assert await code_of(person.begin_addition(added.session)) == "LIMIT_REACHED"


async def test_who_is_recovering_adds_a_passkey_and_nothing_else(kavach: Kavach, clock: FrozenClock) -> None:
    person = Person(kavach)
    lost = await person.register()
    session = await recovery_of(kavach, lost)
    clock.advance("20m")
    passkey = (await person.passkeys.list(lost.user_id))[0]
    attempts = [
        person.passkeys.delete(passkey.id, session=session),
        person.passkeys.begin_verification(session=session, browser=person.browser),
    ]
    assert [await code_of(attempt) for attempt in attempts] == ["RECOVERY_ONLY"] * 2
    found = SoftAuthenticator()
    added = await person.add(session, found)
    assert added.session is not None and added.session.token and added.session.user_id == lost.user_id
    assert (await kavach.sessions.verify(added.session.token)).valid
    assert await code_of(person.begin_addition(session)) == "SESSION_REVOKED", "the recovery session has ended"
    assert (await Person(kavach, found).sign_in()).user_id == lost.user_id


async def test_a_suspended_user_adds_nothing(person: Person) -> None:
    session = await person.register()
    await person.kavach.owners.suspend(session.user_id)
    assert await code_of(person.begin_addition(session)) == "OWNER_SUSPENDED"


async def test_other_projects_see_nothing(kavach: Kavach, open_kavach: OpenKavach) -> None:
    other = await open_kavach(project="another")
    person = Person(kavach)
    session = await person.register("ada@example.org")
    assert await other.auth.passkey.list(session.user_id) == []
    body = await person.begin_sign_in()
    finish = other.auth.passkey.finish_authentication
    assert await code_of(finish(body, browser=person.browser)) == "CHALLENGE_UNKNOWN"
    stranger = Person(other, person.authenticator)
    assert await code_of(stranger.sign_in()) == "PASSKEY_UNKNOWN"
    assert await code_of(Person(other).register("ada@example.org")) == "ok"


async def _finish_addition(person: Person, body: object, session: Session) -> object:
    return await person.passkeys.finish_addition(body, session=session, browser=person.browser)


async def _disable(kavach: Kavach, passkey: Passkey) -> None:
    raw = ids.PASSKEY.raw(passkey.id)
    assert await run(kavach, "update kavach_passkeys set disabled_at = created_at where id = $1", raw) == 1


async def _give_password(kavach: Kavach, session: Session) -> None:
    rows = await select(kavach, "select id from kavach_users where owner_id = $1", session.user_id)
    await store_of(kavach).transact(passwords.store, kavach.config.project, rows[0][0], "a hash")


async def recovery_of(kavach: Kavach, session: Session) -> Session:
    """A recovery session of the human of a session."""
    start = kavach.sessions.start_in
    return await store_of(kavach).transact(start, session.user_id, SignInMethod.RECOVERY, None, None)


async def additions_of_one_recovery(person: Person, lost: Session) -> list[str]:
    """What becomes of six passkeys that are added at once in one recovery session."""
    session = await recovery_of(person.kavach, lost)
    bodies = [SoftAuthenticator().create(await person.begin_addition(session), ORIGIN) for _ in range(6)]
    return sorted(await asyncio.gather(*[code_of(_finish_addition(person, body, session)) for body in bodies]))
