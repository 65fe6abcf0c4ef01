"""E-mail and password: who gets in, what is told to whom, and what guessing costs."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kavach_core import Kavach
from kavach_core.capabilities.passwords.policy import require_password
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
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, events, select

pytestmark = pytest.mark.usefixtures("cheap_passwords")

EMAIL, SECRET = "ada@example.org", "correct horse battery"


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
        await there.auth.password.sign_in(EMAIL, "guess number two", address="192.0.2.2")
    assert 0 < limited.value.retry_after <= 15 * 60
    for name in ("b", "c"):
        with pytest.raises(SignInFailed):
            await there.auth.password.sign_in(f"{name}@example.org", "guess number one", address="192.0.2.1")
    with pytest.raises(RateLimited):
        await here.auth.password.sign_in("d@example.org", "guess number one", address="192.0.2.1")
    clock.advance("15m")
    with pytest.raises(SignInFailed):
        await here.auth.password.sign_in(EMAIL, "guess number two", address="192.0.2.1")


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
    token = await passwords.ask_to_sign_up(EMAIL, SECRET, name="Ada")
    assert token and await kavach.users.find_by_email(EMAIL) is None
    with pytest.raises(SignInFailed):
        await passwords.sign_in(EMAIL, SECRET)
    session = await passwords.finish_sign_up(token, SECRET)
    assert (await kavach.users.get(session.user_id)).email_verified
    with pytest.raises(ChallengeUnknown):
        await passwords.finish_sign_up(token, SECRET)
    assert await passwords.ask_to_sign_up(EMAIL, SECRET) is None, "the address has an account"
    late = await passwords.ask_to_sign_up("late@example.org", SECRET)
    clock.advance("24h")
    with pytest.raises(ChallengeUnknown):
        await passwords.finish_sign_up(late or "", SECRET)


async def test_nobody_confirms_a_password_that_somebody_else_chose(kavach: Kavach) -> None:
    """The owner of the mailbox answers a mail that a thief asked for: the thief's password must not become theirs."""
    token = await kavach.auth.password.ask_to_sign_up(EMAIL, "the thief's password")
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
