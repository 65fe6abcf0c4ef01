"""Back into an account: codes, links and proofs of addresses, each used once, and none past the passkey."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from kavach_core import Kavach
from kavach_core.capabilities.recovery.model import digest_of
from kavach_core.config import Email
from kavach_core.errors import (
    ChallengeUnknown,
    InvalidInput,
    NotFound,
    OwnerSuspended,
    RateLimited,
    SessionNotFresh,
    SignInFailed,
)
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, events, select

pytestmark = pytest.mark.usefixtures("cheap_passwords")

EMAIL, SECRET = "ada@example.org", "correct horse battery"


@pytest.fixture
async def kavach(open_kavach: OpenKavach) -> Kavach:
    return await open_kavach(passwords=True)


async def verified(kavach: Kavach, email: str = EMAIL) -> str:
    """The id of a user who proved their address."""
    user_id = (await kavach.auth.password.sign_up(email, SECRET)).user_id
    asked = await kavach.auth.email.ask(user_id)
    assert asked is not None and asked[0] == email
    assert (await kavach.auth.email.confirm(user_id, asked[1])).email_verified
    return user_id


async def test_a_code_opens_a_session_that_is_no_sign_in(kavach: Kavach) -> None:
    session = await kavach.auth.password.sign_up(EMAIL, SECRET)
    codes = await kavach.auth.recovery.issue_codes(session)
    assert len(set(codes)) == 10 and await kavach.auth.recovery.codes_left(session.user_id) == 10
    recovering = await kavach.auth.recovery.use_code(codes[3].lower().replace("-", " "))
    token = recovering.token or ""
    assert recovering.user_id == session.user_id
    assert (await kavach.sessions.verify(token)).valid is False
    assert (await kavach.sessions.verify_recovery(token)).valid
    assert not (await kavach.sessions.verify_recovery(session.token or "")).valid
    with pytest.raises(SignInFailed):
        await kavach.auth.recovery.use_code(codes[3])
    assert await kavach.auth.recovery.codes_left(session.user_id) == 9
    assert "recovery.used" in await events(kavach)


async def test_of_16_who_use_one_code_at_once_one_gets_in(kavach: Kavach) -> None:
    codes = await kavach.auth.recovery.issue_codes(await kavach.auth.password.sign_up(EMAIL, SECRET))
    using = [kavach.auth.recovery.use_code(codes[0]) for _ in range(16)]
    outcomes = Counter(type(outcome).__name__ for outcome in await asyncio.gather(*using, return_exceptions=True))
    assert outcomes == {"Session": 1, "SignInFailed": 15}


async def test_new_codes_end_the_old_ones_and_need_a_fresh_session(kavach: Kavach, clock: FrozenClock) -> None:
    session = await kavach.auth.password.sign_up(EMAIL, SECRET)
    old = await kavach.auth.recovery.issue_codes(session)
    new = await kavach.auth.recovery.issue_codes(session)
    with pytest.raises(SignInFailed):
        await kavach.auth.recovery.use_code(old[0])
    assert await kavach.auth.recovery.use_code(new[0])
    clock.advance("11m")
    with pytest.raises(SessionNotFresh):
        await kavach.auth.recovery.issue_codes(await kavach.sessions.get(session.id))


async def test_codes_are_stored_hashed_and_odd_ones_are_refused_before_any_query(kavach: Kavach) -> None:
    codes = await kavach.auth.recovery.issue_codes(await kavach.auth.password.sign_up(EMAIL, SECRET))
    stored = repr(await select(kavach, "select hash from kavach_recovery_codes"))
    assert not any(code in stored for code in codes)
    for odd in ("", "ABCD", "x" * 5000, codes[0] + "A", "é" * 24):
        with pytest.raises(InvalidInput):
            digest_of(odd)


async def test_guessing_codes_is_limited_per_address(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(attempts_per_address=3)
    guess = "-".join(["AAAA"] * 6)
    for _ in range(3):
        with pytest.raises(SignInFailed):
            await kavach.auth.recovery.use_code(guess, address="192.0.2.1")
    with pytest.raises(RateLimited):
        await kavach.auth.recovery.use_code(guess, address="192.0.2.1")


async def test_a_mailed_link_works_once_for_ten_minutes_and_for_verified_addresses_only(
    kavach: Kavach, clock: FrozenClock
) -> None:
    recovery = kavach.auth.recovery
    user_id = await verified(kavach)
    await kavach.auth.password.sign_up("unproven@example.org", SECRET)
    assert await recovery.ask_for_link("unproven@example.org") is None
    assert await recovery.ask_for_link("nobody@example.org") is None
    address, token = await recovery.ask_for_link("ADA@example.org") or ("", "")
    session = await recovery.use_link(token)
    assert address == EMAIL, "as its owner wrote it"
    assert session.user_id == user_id and not await kavach.sessions.verify(session.token or "")
    with pytest.raises(ChallengeUnknown):
        await recovery.use_link(token)
    _, late = await recovery.ask_for_link(EMAIL) or ("", "")
    clock.advance("10m")
    with pytest.raises(ChallengeUnknown):
        await recovery.use_link(late)
    for odd in ("", "\ud800", "x" * 5000):
        with pytest.raises(ChallengeUnknown):
            await recovery.use_link(odd)


async def test_an_administrators_link_works_for_a_day_and_not_for_the_suspended(
    kavach: Kavach, clock: FrozenClock
) -> None:
    user_id = (await kavach.auth.password.sign_up(EMAIL, SECRET)).user_id
    link = await kavach.auth.recovery.issue_link(user_id)
    assert link.token not in repr(link)
    clock.advance("23h")
    assert (await kavach.auth.recovery.use_link(link.token)).user_id == user_id
    second = await kavach.auth.recovery.issue_link(user_id)
    await kavach.owners.suspend(user_id)
    with pytest.raises(OwnerSuspended):
        await kavach.auth.recovery.use_link(second.token)
    with pytest.raises(NotFound):
        await kavach.auth.recovery.issue_link("usr_nobody")


async def test_a_proof_of_an_address_serves_its_own_user_alone(kavach: Kavach) -> None:
    ada = (await kavach.auth.password.sign_up(EMAIL, SECRET)).user_id
    eve = (await kavach.auth.password.sign_up("eve@example.org", SECRET)).user_id
    _, token = await kavach.auth.email.ask(ada) or ("", "")
    with pytest.raises(ChallengeUnknown):
        await kavach.auth.email.confirm(eve, token)
    with pytest.raises(ChallengeUnknown):
        await kavach.auth.email.confirm(ada, token)
    _, token = await kavach.auth.email.ask(ada) or ("", "")
    assert (await kavach.auth.email.confirm(ada, token)).email_verified
    assert await kavach.auth.email.ask(ada) is None


async def test_a_renamed_owner_still_signs_in(kavach: Kavach) -> None:
    session = await kavach.auth.password.sign_up(EMAIL, SECRET)
    await kavach.owners.rename(session.user_id, "emp-17")
    assert (await kavach.sessions.verify(session.token or "")).user_id == "emp-17"  # type: ignore[union-attr]
    assert (await kavach.auth.password.sign_in(EMAIL, SECRET)).user_id == "emp-17"


async def test_mail_goes_out_behind_the_answer_and_a_failing_mailer_is_logged_without_the_link(
    open_kavach: OpenKavach, caplog: pytest.LogCaptureFixture
) -> None:
    sent = list[str]()

    async def send(mail: Email) -> None:
        if mail.to == "broken@example.org":
            raise ConnectionError("no mail to broken@example.org with #secret")
        sent.append(mail.to)

    kavach = await open_kavach(send_email=send, base_url="http://localhost:8000")
    for to in (EMAIL, "broken@example.org"):
        kavach.auth.outbox.post(Email(to=to, purpose="recovery", link="http://localhost:8000/recover#secret"))
    assert sent == []
    await kavach.close()
    assert sent == [EMAIL] and "ConnectionError" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize("given", [None, 5, b"x" * 24, ["x"], {}])
async def test_a_password_code_or_token_that_is_no_text_is_the_caller_s_mistake(kavach: Kavach, given: Any) -> None:
    """An app's own route may pass on what a body holds, or does not."""
    auth, session = kavach.auth, await kavach.auth.password.sign_up(EMAIL, SECRET)
    for call, field in (
        (auth.password.sign_up("b@example.org", given), "password"),
        (auth.password.ask_to_sign_up("b@example.org", given), "password"),
        (auth.password.sign_in(EMAIL, given), "password"),
        (auth.password.set(session, given), "password"),
        (auth.password.finish_sign_up(given, SECRET), "token"),
        (auth.recovery.use_code(given), "code"),
        (auth.recovery.use_link(given), "token"),
        (auth.email.confirm(session.user_id, given), "token"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await call
        assert refused.value.field == field
