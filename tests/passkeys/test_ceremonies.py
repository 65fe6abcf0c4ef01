"""Signing up and in: an answer counts once, in time, for what was asked and in the browser that asked."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from kavach_core import Kavach
from kavach_core.errors import ConfigurationError, EmailTaken, InvalidInput, PasskeyUnknown, RateLimited, SignUpClosed
from kavach_core.testing import FrozenClock
from kavach_core.testing_passkeys import BrowserRefused, SoftAuthenticator
from tests.capabilities.support import OpenKavach, count, dump, events
from tests.passkeys.support import ORIGIN, Person, changed, code_of, codes_of_many, new_browser, synced

RACERS = 16


async def test_a_passkey_makes_an_account_and_signs_in_to_it(person: Person, clock: FrozenClock) -> None:
    made = await person.register("Ada@Example.org")
    assert made.token and made.is_fresh and made.method.value == "passkey"
    user = await person.kavach.users.get(made.user_id)
    assert (user.email, user.email_verified, user.id[:4]) == ("Ada@Example.org", False, "usr_")
    clock.advance("1m")
    again = await person.passkeys.finish_authentication(
        await person.begin_sign_in(), browser=person.browser, address="192.0.2.1", user_agent="Browser"
    )
    assert again.user_id == made.user_id and again.token not in (None, made.token)
    assert (again.address, again.user_agent) == ("192.0.2.1", "Browser")
    (passkey,) = await person.passkeys.list(made.user_id)
    assert (passkey.last_used_at, passkey.device_type.value, passkey.disabled_at) == (clock.now, "single_device", None)
    assert await events(person.kavach) == [
        "user.created",
        "passkey.added",
        "user.signed_in",
        "session.created",
        "user.signed_in",
        "session.created",
    ]


async def test_nobody_needs_an_address(person: Person) -> None:
    session = await person.register()
    user = await person.kavach.users.get(session.user_id)
    assert user.email is None and (await person.sign_in()).user_id == user.id
    assert (await Person(person.kavach).register()).user_id != user.id


async def test_what_browsers_are_asked_for(visitor: Person) -> None:
    made = await visitor.passkeys.begin_registration(email="a@b.example", display_name="Ada", browser=visitor.browser)
    assert made["rp"] == {"id": "localhost", "name": "Kavach"} and made["attestation"] == "none"
    assert made["user"]["name"] == "a@b.example" and made["user"]["displayName"] == "Ada"  # type: ignore[index]
    assert made["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert [each["alg"] for each in made["pubKeyCredParams"]] == [-8, -7, -257]  # type: ignore[attr-defined]
    asked = await visitor.passkeys.begin_authentication(browser=visitor.browser)
    assert asked["allowCredentials"] == [] and asked["rpId"] == "localhost" and asked["timeout"] == 300_000
    assert asked["userVerification"] == "required" and len(str(asked["challenge"])) == 43


async def test_no_secret_of_a_ceremony_is_stored(person: Person) -> None:
    session = await person.register("ada@example.org")
    options = await person.passkeys.begin_authentication(browser=person.browser)
    stored = await dump(person.kavach)
    for secret in (person.browser.nonce, str(options["challenge"]), session.token or "-"):
        assert secret not in stored


async def test_an_answer_counts_once(kavach: Kavach) -> None:
    """A synced passkey never counts, so nothing but the challenge tells a replay from the first time."""
    person = Person(kavach, synced())
    registration = await person.begin_registration()
    first = await person.passkeys.finish_registration(registration, browser=person.browser)
    attempts = [await code_of(person.passkeys.finish_registration(registration, browser=person.browser))]
    body = await person.begin_sign_in()
    assert (await person.finish_sign_in(body)).user_id == first.user_id
    attempts += [await code_of(person.finish_sign_in(body)) for _ in range(2)]
    assert attempts == ["CHALLENGE_UNKNOWN"] * 3
    assert await count(kavach, "kavach_users") == 1 and await count(kavach, "kavach_sessions") == 2


async def test_of_many_at_once_exactly_one_succeeds(kavach: Kavach) -> None:
    person = Person(kavach, synced())
    registration = await person.begin_registration()
    one = ["CHALLENGE_UNKNOWN"] * (RACERS - 1) + ["ok"]
    finish = person.passkeys.finish_registration
    assert await codes_of_many(RACERS, lambda: finish(registration, browser=person.browser)) == one
    body = await person.begin_sign_in()
    assert await codes_of_many(RACERS, lambda: person.finish_sign_in(body)) == one
    assert await count(kavach, "kavach_users") == 1 and await count(kavach, "kavach_sessions") == 2


async def test_a_challenge_ends_after_five_minutes(person: Person, clock: FrozenClock) -> None:
    registration = await person.begin_registration()
    clock.advance("5m")
    finish = person.passkeys.finish_registration
    assert await code_of(finish(registration, browser=person.browser)) == "CHALLENGE_UNKNOWN"
    await person.register()
    body = await person.begin_sign_in()
    clock.advance("299s")
    assert await code_of(person.finish_sign_in(body)) == "ok"
    body = await person.begin_sign_in()
    clock.advance("300s")
    assert await code_of(person.finish_sign_in(body)) == "CHALLENGE_UNKNOWN"


async def test_expired_challenges_are_deleted_as_new_ones_come(person: Person, clock: FrozenClock) -> None:
    for _ in range(3):
        await person.passkeys.begin_authentication(browser=person.browser)
    clock.advance("5m")
    await person.passkeys.begin_authentication(browser=person.browser)
    assert await count(person.kavach, "kavach_challenges") == 1


async def test_what_one_browser_began_no_other_ends(person: Person) -> None:
    await person.register()
    body = await person.begin_sign_in()
    elsewhere = person.passkeys.finish_authentication(body, browser=new_browser())
    assert await code_of(elsewhere) == "CHALLENGE_UNKNOWN"
    assert await code_of(person.finish_sign_in(body)) == "CHALLENGE_UNKNOWN", "the attempt used it up"


async def test_a_browser_keeps_its_name_and_may_have_several_ceremonies(person: Person) -> None:
    """A second tab, or autofill beside a button."""
    await person.register()
    bodies = [await person.begin_sign_in() for _ in range(3)]
    known = replace(person.browser, is_new=False)
    for body in bodies:
        assert (await person.passkeys.finish_authentication(body, browser=known)).token


async def test_a_challenge_answers_nothing_but_what_it_was_made_for(person: Person) -> None:
    """Client data say what they are for, so the kind is forged too: only the row can tell."""
    session = await person.register()
    passkeys, browser = person.passkeys, person.browser
    sign_in = await passkeys.begin_authentication(browser=browser)
    verification = await passkeys.begin_verification(session=session, browser=browser)
    addition = await passkeys.begin_addition(session=session, browser=browser)
    registration = await passkeys.begin_registration(browser=browser)
    get, create = person.authenticator.get, SoftAuthenticator().create
    attempts = [
        passkeys.finish_authentication(get(verification, ORIGIN), browser=browser),
        passkeys.finish_verification(get(sign_in, ORIGIN), session=session, browser=browser),
        passkeys.finish_registration(create(addition, ORIGIN), browser=browser),
        passkeys.finish_addition(create(registration, ORIGIN), session=session, browser=browser),
    ]
    assert [await code_of(attempt) for attempt in attempts] == ["CHALLENGE_UNKNOWN"] * 4


async def test_a_failed_answer_uses_its_challenge_up(person: Person) -> None:
    await person.register()
    options = await person.passkeys.begin_authentication(browser=person.browser)
    person.authenticator.uv = False
    bad = person.authenticator.get(options, ORIGIN)
    person.authenticator.uv = True
    good = person.authenticator.get(options, ORIGIN)
    assert await code_of(person.finish_sign_in(bad)) == "PASSKEY_REJECTED"
    assert await code_of(person.finish_sign_in(good)) == "CHALLENGE_UNKNOWN"


async def test_signing_up_never_leads_into_an_account_that_exists(kavach: Kavach) -> None:
    owner, thief = Person(kavach), Person(kavach)
    late = await thief.begin_registration("ada@example.org")
    mine = await owner.register("Ada@example.org")
    with pytest.raises(EmailTaken):
        await thief.passkeys.begin_registration(email="ADA@EXAMPLE.ORG", browser=thief.browser)
    with pytest.raises(EmailTaken):
        await thief.passkeys.finish_registration(late, browser=thief.browser)
    assert len(await owner.passkeys.list(mine.user_id)) == 1
    assert await count(kavach, "kavach_users") == 1 and await count(kavach, "kavach_passkeys") == 1
    with pytest.raises(PasskeyUnknown):
        await thief.sign_in()


async def test_of_many_who_want_one_address_exactly_one_gets_it(kavach: Kavach) -> None:
    people = [Person(kavach) for _ in range(RACERS)]
    bodies = [await each.begin_registration("ada@example.org") for each in people]
    attempts = [p.passkeys.finish_registration(b, browser=p.browser) for p, b in zip(people, bodies, strict=True)]
    codes = await asyncio.gather(*[code_of(attempt) for attempt in attempts])
    assert sorted(codes) == ["EMAIL_TAKEN"] * (RACERS - 1) + ["ok"]
    assert await count(kavach, "kavach_passkeys") == 1


async def test_a_passkey_belongs_to_one_account(kavach: Kavach) -> None:
    owner, thief = Person(kavach), Person(kavach)
    await owner.register()
    (credential,) = owner.authenticator.credentials
    options = await thief.passkeys.begin_registration(browser=thief.browser)
    body = thief.authenticator.attest(options, ORIGIN, credential, credential.public_key)
    assert await code_of(thief.passkeys.finish_registration(body, browser=thief.browser)) == "CONFLICT"
    assert await count(kavach, "kavach_users") == 1


async def test_an_unknown_passkey_is_told_so_that_its_browser_can_forget_it(person: Person) -> None:
    stranger = Person(person.kavach, SoftAuthenticator())
    session = await stranger.register()
    await stranger.add(session)
    (first, _) = await stranger.passkeys.list(session.user_id)
    await stranger.passkeys.delete(first.id, session=session)
    with pytest.raises(PasskeyUnknown) as unknown:
        await stranger.sign_in()
    await person.register()
    person.authenticator.uv = False
    with pytest.raises(InvalidInput) as rejected:
        await person.sign_in()
    assert unknown.value.message == rejected.value.message


async def test_a_suspended_user_signs_in_nowhere(person: Person) -> None:
    session = await person.register()
    await person.kavach.owners.suspend(session.user_id)
    assert await code_of(person.sign_in()) == "OWNER_SUSPENDED"
    await person.kavach.owners.resume(session.user_id)
    assert await code_of(person.sign_in()) == "ok"


async def test_a_renamed_user_signs_in_as_who_they_are_now(person: Person) -> None:
    session = await person.register()
    await person.kavach.owners.rename(session.user_id, "ada")
    assert (await person.sign_in()).user_id == "ada"
    assert len(await person.passkeys.list("ada")) == 1


async def test_an_app_may_close_the_door(open_kavach: OpenKavach) -> None:
    person, closed = Person(await open_kavach()), await open_kavach(sign_up=False)
    body = await person.begin_registration()
    await person.register()
    with pytest.raises(SignUpClosed):
        await closed.auth.passkey.begin_registration(browser=person.browser)
    with pytest.raises(SignUpClosed):
        await closed.auth.passkey.finish_registration(body, browser=person.browser)
    person.passkeys = closed.auth.passkey
    assert (await person.sign_in()).token


async def test_attempts_are_counted_by_address(open_kavach: OpenKavach) -> None:
    kavach, other = await open_kavach(attempts_per_address=3), await open_kavach(attempts_per_address=3)
    person = Person(kavach)
    await person.register()
    body = changed(await person.begin_sign_in(), "response", "signature", to="AAAA")
    for passkeys, code in (
        (kavach.auth.passkey, "PASSKEY_REJECTED"),
        (other.auth.passkey, "CHALLENGE_UNKNOWN"),
        (kavach.auth.passkey, "CHALLENGE_UNKNOWN"),
        (other.auth.passkey, "RATE_LIMITED"),
    ):
        attempt = passkeys.finish_authentication(body, browser=person.browser, address="192.0.2.1")
        assert await code_of(attempt) == code
    body = await person.begin_sign_in()
    with pytest.raises(RateLimited):
        await other.auth.passkey.finish_authentication(body, browser=person.browser, address="192.0.2.1")
    assert (await other.auth.passkey.finish_authentication(body, browser=person.browser, address="192.0.2.2")).token


async def test_whoever_signs_in_takes_nothing_from_those_who_share_the_address(open_kavach: OpenKavach) -> None:
    person = Person(await open_kavach(attempts_per_address=2))
    await person.register()
    finish = person.passkeys.finish_authentication
    for _ in range(4):
        assert await finish(await person.begin_sign_in(), browser=person.browser, address="192.0.2.1")


async def test_looking_for_addresses_is_counted_too(open_kavach: OpenKavach) -> None:
    person = Person(await open_kavach(attempts_per_address=3))
    await person.register("ada@example.org")
    begin = person.passkeys.begin_registration
    codes = [
        await code_of(begin(email="ada@example.org", browser=person.browser, address="192.0.2.1")) for _ in range(4)
    ]
    assert codes == ["EMAIL_TAKEN"] * 3 + ["RATE_LIMITED"]


async def test_nobody_fills_the_table_of_challenges(open_kavach: OpenKavach) -> None:
    person = Person(await open_kavach(attempts_per_address=1))
    begin = person.passkeys.begin_authentication
    codes = [await code_of(begin(browser=person.browser, address="192.0.2.1")) for _ in range(11)]
    assert codes == ["ok"] * 10 + ["RATE_LIMITED"]


async def test_an_address_is_no_home_for_passkeys(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(base_url="http://127.0.0.1:8000")
    for attempt in (kavach.auth.passkey.begin_registration, kavach.auth.passkey.begin_authentication):
        with pytest.raises(ConfigurationError, match="localhost"):
            await attempt(browser=new_browser())


async def test_without_the_library_the_first_use_says_what_to_install(
    visitor: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "webauthn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "webauthn", None)
    for begin in (visitor.passkeys.begin_registration, visitor.passkeys.begin_authentication):
        with pytest.raises(ConfigurationError, match=r"kavach-asgi\[passkeys\]"):
            await begin(browser=visitor.browser)


@pytest.mark.parametrize("email", ["", "ada", "@example.org", "a@b@c", "a b@example.org", "a\x00@b.example"])
async def test_what_is_no_address_signs_nobody_up(visitor: Person, email: str) -> None:
    with pytest.raises(InvalidInput):
        await visitor.passkeys.begin_registration(email=email, browser=visitor.browser)


async def test_the_authenticator_of_the_tests_refuses_what_browsers_refuse(visitor: Person) -> None:
    session = await visitor.register()
    options = await visitor.passkeys.begin_authentication(browser=visitor.browser)
    for refused, name in (
        (lambda: visitor.authenticator.get(options, "https://app.example"), "SecurityError"),
        (lambda: SoftAuthenticator().get(options, ORIGIN), "NotAllowedError"),
    ):
        with pytest.raises(BrowserRefused, match=name):
            refused()
    addition = await visitor.begin_addition(session)
    with pytest.raises(BrowserRefused, match="InvalidStateError"):
        visitor.authenticator.create(addition, ORIGIN)
