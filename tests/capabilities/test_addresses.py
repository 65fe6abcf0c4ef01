"""Whose an address is: nobody's who only says so, where mail can prove it; then theirs, whoever said so before."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kavach_core import Kavach, Session
from kavach_core.config import Email
from kavach_core.errors import ChallengeUnknown
from tests.capabilities.support import OpenKavach, events
from tests.passkeys.support import Person, code_of

pytestmark = pytest.mark.usefixtures("cheap_passwords")

EMAIL, SECRET = "ceo@corp.example", "correct horse battery"


async def send(mail: Email) -> None:
    """The mailer of an app. What these tests prove they ask the services for."""


@pytest.fixture
async def kavach(open_kavach: OpenKavach) -> Kavach:
    return await open_kavach(passwords=True, send_email=send, base_url="http://localhost:8000")


async def prove(kavach: Kavach, session: Session) -> None:
    """Answer the mail to the address of a human."""
    proof = await kavach.auth.email.ask(session.user_id)
    assert proof is not None and proof.token is not None
    await kavach.auth.email.confirm(session.user_id, proof.token)


async def address_of(kavach: Kavach, session: Session) -> tuple[str | None, bool]:
    """What is on record of a human's address."""
    user = await kavach.users.get(session.user_id)
    return user.email, user.email_verified


async def test_whoever_says_that_an_address_is_theirs_keeps_nobody_from_it(kavach: Kavach) -> None:
    squatter, owner = await Person(kavach).register(EMAIL), await Person(kavach).register(EMAIL)
    assert await kavach.users.find_by_email(EMAIL) is None
    assert await kavach.auth.recovery.ask_for_link(EMAIL) is None
    await prove(kavach, owner)
    found = await kavach.users.find_by_email(EMAIL)
    assert found is not None and found.id == owner.user_id
    assert await address_of(kavach, squatter) == (EMAIL, False), "it still is no more than what they say"
    proof = await kavach.auth.email.ask(squatter.user_id)
    assert proof == (EMAIL, None), "there is nothing to prove any more, and only the mailbox is told"


async def test_a_proof_takes_an_address_from_an_account_that_never_proved_it(kavach: Kavach) -> None:
    squatter = await kavach.auth.password.sign_up(EMAIL, "the squatter's own")
    assert await code_of(kavach.auth.password.sign_up(EMAIL, SECRET)) == "EMAIL_TAKEN"
    old = await kavach.auth.email.ask(squatter.user_id)
    owner = await Person(kavach).register(EMAIL)
    assert await code_of(kavach.auth.password.set(owner, SECRET)) == "EMAIL_TAKEN"
    await prove(kavach, owner)
    assert await address_of(kavach, squatter) == (None, False)
    assert await code_of(kavach.auth.password.sign_in(EMAIL, "the squatter's own")) == "SIGN_IN_FAILED"
    with pytest.raises(ChallengeUnknown):
        await kavach.auth.email.confirm(squatter.user_id, old.token if old and old.token else "")
    await kavach.auth.password.set(owner, SECRET)
    assert (await kavach.auth.password.sign_in(EMAIL, SECRET)).user_id == owner.user_id
    assert "user.email_lost" in await events(kavach)


async def test_a_sign_up_that_is_answered_by_mail_takes_it_as_well(open_kavach: OpenKavach, kavach: Kavach) -> None:
    """The account was made before the app verified addresses."""
    squatter = await kavach.auth.password.sign_up(EMAIL, "the squatter's own")
    verifying = await open_kavach(passwords=True, verify_email=True, send_email=send, base_url="http://localhost:8000")
    _, token = await verifying.auth.password.ask_to_sign_up(EMAIL, SECRET)
    assert token is not None
    owner = await verifying.auth.password.finish_sign_up(token, SECRET)
    assert owner.user_id != squatter.user_id and await address_of(kavach, owner) == (EMAIL, True)
    assert (await verifying.auth.password.ask_to_sign_up(EMAIL, SECRET)).token is None
    assert await address_of(kavach, squatter) == (None, False)


async def test_of_many_who_prove_one_address_at_once_one_gets_it(kavach: Kavach) -> None:
    people = [await Person(kavach).register(EMAIL) for _ in range(5)]
    proofs = [await kavach.auth.email.ask(person.user_id) for person in people]
    confirming = [
        code_of(kavach.auth.email.confirm(person.user_id, proof.token or ""))
        for person, proof in zip(people, proofs, strict=True)
        if proof is not None
    ]
    assert Counter(await asyncio.gather(*confirming)) == {"ok": 1, "EMAIL_TAKEN": 4}
    assert [await address_of(kavach, person) for person in people].count((EMAIL, True)) == 1


async def test_without_mail_an_address_is_taken_by_who_comes_first(open_kavach: OpenKavach) -> None:
    kavach = await open_kavach(passwords=True)
    await Person(kavach).register(EMAIL)
    assert await code_of(Person(kavach).register(EMAIL.upper())) == "EMAIL_TAKEN"
    assert await code_of(kavach.auth.password.sign_up(EMAIL, SECRET)) == "EMAIL_TAKEN"


async def test_a_mailbox_is_not_flooded(kavach: Kavach) -> None:
    """Whoever signs up again and again with the address of another."""
    people = [await Person(kavach).register(EMAIL) for _ in range(11)]
    codes = [await code_of(kavach.auth.email.ask(person.user_id)) for person in people]
    assert codes == ["ok"] * 10 + ["RATE_LIMITED"]
    assert await code_of(kavach.auth.recovery.ask_for_link(EMAIL)) == "ok", "the owner's way back is another matter"
