"""E-mail and password: who gets in, what is told to whom, and what guessing costs."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from pwdlib import PasswordHash

from kavach_core import Kavach
from kavach_core.capabilities.passwords import hashing
from kavach_core.capabilities.passwords.hashing import Hasher
from kavach_core.capabilities.passwords.policy import require_password
from kavach_core.config import Email
from kavach_core.errors import (
    ChallengeUnknown,
    ConfigurationError,
    EmailTaken,
    InvalidInput,
    NotFound,
    RateLimited,
    SessionNotFresh,
    SignInFailed,
    SignUpClosed,
)
from kavach_core.primitives.browser import Browser, browser_from
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, events, select
from tests.passkeys.support import Person, code_of

pytestmark = pytest.mark.usefixtures("cheap_passwords")

EMAIL, SECRET = "ada@example.org", "correct horse battery"


def browser(name: str) -> Browser:
    """A browser that has the cookie already."""
    return browser_from([name.ljust(43, "_")], cookie_name="kv_browser", secure=False)


@pytest.fixture
async def kavach(open_kavach: OpenKavach) -> Kavach:
    return await open_kavach(passwords=True)


async def test_signing_up_and_in(kavach: Kavach) -> None:
    first = await kavach.auth.password.sign_up(EMAIL, SECRET, name="Ada")
    user = await kavach.users.get(first.user_id)
    assert (user.email, user.display_name, user.email_verified) == (EMAIL, "Ada", False)
    again = await kavach.auth.password.sign_in("ADA@Example.org ", SECRET, user_agent="tests")
    assert again.user_id == first.user_id and again.token != first.token and again.is_fresh
    assert await kavach.sessions.verify(again.token or "")
    assert await events(kavach) == ["user.created", "session.created", "session.created"]


async def test_every_failure_looks_alike(kavach: Kavach) -> None:
    session = await kavach.auth.password.sign_up(EMAIL, SECRET)
    await kavach.auth.password.sign_up("eve@example.org", SECRET)
    await kavach.owners.suspend((await kavach.users.find_by_email("eve@example.org")).id)  # type: ignore[union-attr]
    told = set[str]()
    for email, password in (
        (EMAIL, "another horse battery"),
        ("nobody@example.org", SECRET),
        ("eve@example.org", SECRET),
        (EMAIL, ""),
    ):
        with pytest.raises(SignInFailed) as failed:
            await kavach.auth.password.sign_in(email, password)
        told.add(str(failed.value))
    assert len(told) == 1 and await kavach.sessions.verify(session.token or "")


async def test_a_taken_address_is_refused_and_leads_nowhere(kavach: Kavach) -> None:
    await kavach.auth.password.sign_up(EMAIL, SECRET)
    with pytest.raises(EmailTaken):
        await kavach.auth.password.sign_up(EMAIL.upper(), "a password of the thief")
    with pytest.raises(SignInFailed):
        await kavach.auth.password.sign_in(EMAIL, "a password of the thief")


async def test_of_many_who_want_one_address_at_once_one_gets_it(kavach: Kavach) -> None:
    asked = [kavach.auth.password.sign_up(EMAIL, f"password of number {n}") for n in range(5)]
    outcomes = Counter(type(outcome).__name__ for outcome in await asyncio.gather(*asked, return_exceptions=True))
    assert outcomes == {"Session": 1, "EmailTaken": 4}


async def test_guessing_is_limited_in_the_database_per_account_and_per_address(
    open_kavach: OpenKavach, clock: FrozenClock
) -> None:
    here = await open_kavach(passwords=True, attempts_per_account=3, attempts_per_address=5)
    there = await open_kavach(passwords=True, attempts_per_account=3, attempts_per_address=5)
    for kavach in (here, there, here):
        with pytest.raises(SignInFailed):
            await kavach.auth.password.sign_in(EMAIL, "guess number one", address="192.0.2.1")
    with pytest.raises(RateLimited) as limited:
        await there.auth.password.sign_in(EMAIL, "guess number two", address="192.0.2.1")
    assert 0 < limited.value.retry_after <= 15 * 60
    for name in ("b", "c"):
        with pytest.raises(SignInFailed):
            await there.auth.password.sign_in(f"{name}@example.org", "guess number one", address="192.0.2.1")
    with pytest.raises(RateLimited):
        await here.auth.password.sign_in("d@example.org", "guess number one", address="192.0.2.1")
    clock.advance("15m")
    with pytest.raises(SignInFailed):
        await here.auth.password.sign_in(EMAIL, "guess number two", address="192.0.2.1")


async def test_a_stranger_shuts_no_owner_out(open_kavach: OpenKavach) -> None:
    """Neither with guesses nor by signing up, and not from many addresses where the owner's browser was before."""
    kavach = await open_kavach(passwords=True, attempts_per_account=2, attempts_per_address=100)
    passwords = kavach.auth.password
    home, elsewhere = browser("home"), browser("elsewhere")
    await passwords.sign_up(EMAIL, SECRET, browser=home, address="198.51.100.7")

    async def guess(address: str, times: int = 2, by: Browser | None = None) -> str:
        return [await code_of(passwords.sign_in(EMAIL, "a guess", address=address, browser=by)) for _ in range(times)][
            -1
        ]

    with pytest.raises(EmailTaken):
        await passwords.sign_up(EMAIL, "another password", address="203.0.113.1")
    assert await guess("203.0.113.1", 3) == "RATE_LIMITED"
    assert await passwords.sign_in(EMAIL, SECRET, address="198.51.100.7")
    for number in range(2, 11):
        assert await guess(f"203.0.113.{number}") == "SIGN_IN_FAILED"
    assert await guess("203.0.113.99", 3) == "RATE_LIMITED", "all places together have an end"
    assert await code_of(passwords.sign_in(EMAIL, SECRET, address="198.51.100.7", browser=elsewhere)) == "RATE_LIMITED"
    assert await passwords.sign_in(EMAIL, SECRET, address="198.51.100.7", browser=home)
    assert await guess("198.51.100.7", 3, by=home) == "RATE_LIMITED", "that browser has an end too"


async def test_whoever_gets_in_has_all_attempts_again(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(passwords=True, attempts_per_account=3)
    await kavach.auth.password.sign_up(EMAIL, SECRET)
    for _ in range(3):
        with pytest.raises(SignInFailed):
            await kavach.auth.password.sign_in(EMAIL, "not quite this one")
        assert await kavach.auth.password.sign_in(EMAIL, SECRET)


async def test_a_new_password_needs_a_fresh_session_and_ends_the_others(kavach: Kavach, clock: FrozenClock) -> None:
    old = await kavach.auth.password.sign_up(EMAIL, SECRET)
    clock.advance("11m")
    with pytest.raises(SessionNotFresh):
        await kavach.auth.password.set(await kavach.sessions.get(old.id), "a better password")
    fresh = await kavach.auth.password.sign_in(EMAIL, SECRET)
    await kavach.auth.password.set(fresh, "a better password")
    assert not await kavach.sessions.verify(old.token or "") and await kavach.sessions.verify(fresh.token or "")
    with pytest.raises(SignInFailed):
        await kavach.auth.password.sign_in(EMAIL, SECRET)
    assert await kavach.auth.password.sign_in(EMAIL, "a better password")


async def test_with_mail_the_account_is_made_when_the_mail_is_answered(kavach: Kavach, clock: FrozenClock) -> None:
    passwords = kavach.auth.password
    _, token = await passwords.ask_to_sign_up(EMAIL, SECRET, name="Ada")
    assert token and await kavach.users.find_by_email(EMAIL) is None
    with pytest.raises(SignInFailed):
        await passwords.sign_in(EMAIL, SECRET)
    session = await passwords.finish_sign_up(token, SECRET)
    assert (await kavach.users.get(session.user_id)).email_verified
    with pytest.raises(ChallengeUnknown):
        await passwords.finish_sign_up(token, SECRET)
    assert (await passwords.ask_to_sign_up(EMAIL, SECRET)).token is None, "the address has an account"
    _, late = await passwords.ask_to_sign_up("late@example.org", SECRET)
    clock.advance("24h")
    with pytest.raises(ChallengeUnknown):
        await passwords.finish_sign_up(late or "", SECRET)


async def test_nobody_confirms_a_password_that_somebody_else_chose(kavach: Kavach) -> None:
    """The owner of the mailbox answers a mail that a thief asked for: the thief's password must not become theirs."""
    _, token = await kavach.auth.password.ask_to_sign_up(EMAIL, "the thief's password")
    with pytest.raises(SignInFailed):
        await kavach.auth.password.finish_sign_up(token or "", "what its owner would type")
    with pytest.raises(ChallengeUnknown):
        await kavach.auth.password.finish_sign_up(token or "", "the thief's password")
    assert await kavach.users.find_by_email(EMAIL) is None


async def test_without_the_setting_there_is_nothing(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach()
    with pytest.raises(NotFound):
        await kavach.auth.password.sign_up(EMAIL, SECRET)
    with pytest.raises(NotFound):
        await kavach.auth.password.sign_in(EMAIL, SECRET)
    with pytest.raises(SignUpClosed):
        await (await open_kavach(passwords=True, sign_up=False)).auth.password.sign_up(EMAIL, SECRET)
    with pytest.raises(ConfigurationError):
        await open_kavach(passwords=True, verify_email=True)


async def test_a_password_belongs_to_an_address_that_is_proved_where_addresses_are(open_kavach: OpenKavach) -> None:
    """Else whoever signs up with a passkey and another's address would sign in by that address."""

    async def send(mail: Email) -> None: ...

    kavach = await open_kavach(passwords=True, verify_email=True, send_email=send, base_url="http://localhost:8000")
    session = await Person(kavach).register(EMAIL)
    assert await code_of(kavach.auth.password.set(session, SECRET)) == "CALLER_NOT_ALLOWED"
    proof = await kavach.auth.email.ask(session.user_id)
    assert proof is not None and proof.token is not None
    await kavach.auth.email.confirm(session.user_id, proof.token)
    await kavach.auth.password.set(session, SECRET)
    assert (await kavach.auth.password.sign_in(EMAIL, SECRET)).user_id == session.user_id


async def test_a_recovery_sets_no_password(kavach: Kavach) -> None:
    codes = await kavach.auth.recovery.issue_codes(await kavach.auth.password.sign_up(EMAIL, SECRET))
    recovering = await kavach.auth.recovery.use_code(codes[0])
    assert await code_of(kavach.auth.password.set(recovering, "another horse")) == "RECOVERY_ONLY"
    assert await code_of(kavach.auth.recovery.issue_codes(recovering)) == "RECOVERY_ONLY"


async def test_the_first_sign_in_of_a_process_tells_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made once is made whoever comes first, so that its time is nobody's."""
    made = list[str]()
    monkeypatch.setattr(hashing, "_nobodys", lambda: made.append("made") or PasswordHash.recommended().hash("nobody"))
    await Hasher().verify(SECRET, PasswordHash.recommended().hash(SECRET))
    assert made == ["made"]


async def test_no_password_is_stored_or_announced(kavach: Kavach) -> None:
    await kavach.auth.password.sign_up(EMAIL, SECRET)
    await kavach.auth.password.ask_to_sign_up("b@example.org", SECRET)
    stored = await select(kavach, "select hash from kavach_passwords")
    stored += await select(kavach, "select data from kavach_challenges")
    stored += await select(kavach, "select data from kavach_events")
    assert stored and SECRET not in repr(stored)
    assert "$argon2id$" in repr(stored)


@pytest.mark.parametrize(
    "password",
    [
        *("short", "password", "Password1", "passw0rd!", "12345678", "98765432", "aaaaaaaa", "abababab", "qwertyuiop"),
        *("ada@example.org", "Ada@Example.org1", "kavach!!", "x" * 1025, "lone \ud800 surrogate"),
    ],
)
def test_what_others_would_try_first_is_no_password(password: str) -> None:
    with pytest.raises(InvalidInput):
        require_password(password, email=EMAIL, app="Kavach")


@pytest.mark.parametrize(
    "password", ["eight ch", "nothing but lower case", "ünïcödé", "x1" * 40 + "y", "パスワードです。"]
)
def test_nothing_is_asked_of_a_password_but_length(password: str) -> None:
    assert require_password(f"{password}....", email=EMAIL, app="Kavach")
