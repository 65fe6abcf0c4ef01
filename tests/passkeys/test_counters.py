"""Signature counters: a copy of a key that cannot be copied is refused for good; synced passkeys count as they like."""

from __future__ import annotations

import asyncio
import copy

import pytest

from kavach_core import Kavach
from kavach_core.capabilities.passkeys.model import Assertion, DeviceType
from kavach_core.capabilities.passkeys.policy import Verdict, judge
from kavach_core.testing_passkeys import SoftAuthenticator
from tests.capabilities.support import count, events, run, select
from tests.passkeys.support import ORIGIN, Person, code_of

SINGLE, MULTI = DeviceType.SINGLE_DEVICE, DeviceType.MULTI_DEVICE

JUDGED = [
    (SINGLE, 0, 0, Verdict.ACCEPTED),
    (SINGLE, 0, 1, Verdict.ACCEPTED),
    (SINGLE, 7, 8, Verdict.ACCEPTED),
    (SINGLE, 7, 7, Verdict.CLONED),
    (SINGLE, 7, 6, Verdict.CLONED),
    (SINGLE, 7, 0, Verdict.CLONED),
    (MULTI, 0, 0, Verdict.ACCEPTED),
    (MULTI, 50, 51, Verdict.ACCEPTED),
    (MULTI, 50, 50, Verdict.COUNT_REGRESSED),
    (MULTI, 50, 0, Verdict.COUNT_REGRESSED),
]


@pytest.mark.parametrize(("device", "stored", "presented", "verdict"), JUDGED)
def test_counts_are_judged_by_what_the_passkey_is(
    device: DeviceType, stored: int, presented: int, verdict: Verdict
) -> None:
    assert _judged(device, stored, presented) is verdict
    assert verdict.accepts == (verdict is not Verdict.CLONED)


def test_what_is_wrong_with_the_passkey_comes_before_its_count() -> None:
    assert _judged(SINGLE, 7, 6, handle=b"other") is Verdict.WRONG_USER
    assert _judged(SINGLE, 7, 6, handle=None) is Verdict.WRONG_USER
    assert _judged(SINGLE, 7, 6, handle=None, required=False) is Verdict.CLONED
    assert _judged(SINGLE, 7, 8, handle=b"other", required=False) is Verdict.WRONG_USER
    assert _judged(SINGLE, 7, 6, device=MULTI) is Verdict.DEVICE_TYPE_CHANGED
    assert _judged(SINGLE, 7, 6, disabled=True) is Verdict.DISABLED
    assert _judged(SINGLE, 7, 8, disabled=True) is Verdict.DISABLED


async def test_a_cloned_key_is_refused_and_disabled(person: Person) -> None:
    session = await person.register()
    clone = Person(person.kavach, copy.deepcopy(person.authenticator))
    for _ in range(2):
        await person.sign_in()
    assert await code_of(clone.sign_in()) == "PASSKEY_REJECTED"
    (passkey,) = await person.passkeys.list(session.user_id)
    assert passkey.disabled_at is not None
    assert (await events(person.kavach))[-1] == "passkey.disabled"
    for _ in range(3):
        assert await code_of(person.sign_in()) == "PASSKEY_REJECTED", "nobody can tell which of the two is the copy"
    assert (await events(person.kavach)).count("passkey.disabled") == 1
    assert await count(person.kavach, "kavach_sessions") == 3


async def test_a_forged_answer_with_a_low_count_disables_nothing(person: Person) -> None:
    """The count is looked at after the signature: else anybody could disable a passkey whose id they know."""
    session = await person.register()
    await person.sign_in()
    thief = Person(person.kavach)
    await thief.begin_registration()
    own, theirs = thief.authenticator.credentials[0], person.authenticator.credentials[0]
    own.id, own.user_handle = theirs.id, theirs.user_handle
    options = await thief.passkeys.begin_authentication(browser=thief.browser)
    thief.authenticator.counter = False
    assert await code_of(thief.finish_sign_in(thief.authenticator.sign(options, ORIGIN, own))) == "PASSKEY_REJECTED"
    (passkey,) = await person.passkeys.list(session.user_id)
    assert passkey.disabled_at is None and await code_of(person.sign_in()) == "ok"


async def test_a_synced_passkey_whose_count_falls_is_noted_and_let_in(kavach: Kavach) -> None:
    """One password manager sends 50 and another client 0: refusing would lock its owner out for ever."""
    person = Person(kavach, SoftAuthenticator(be=True, bs=True))
    session = await person.register()
    credential = person.authenticator.credentials[0]
    for sign_count, stored in ((49, 50), (-1, 0), (0, 1)):
        credential.sign_count = sign_count
        assert (await person.sign_in()).user_id == session.user_id
        assert (await select(kavach, "select sign_count from kavach_passkeys where credential_id = $1", credential.id))[
            0
        ][0] == stored
    assert (await events(kavach)).count("passkey.count_regressed") == 1


async def test_two_uses_judged_by_one_count_are_one_too_many(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read count 0 and both signatures hold; the second to be noted finds another count on record."""
    await person.register()
    bodies = [await person.begin_sign_in() for _ in range(2)]
    checked = asyncio.Barrier(2)
    check = person.passkeys._proofs.check

    async def check_together(*answer: object, **more: object) -> object:
        proof = await check(*answer, **more)  # type: ignore[arg-type]
        await checked.wait()
        return proof

    monkeypatch.setattr(person.passkeys._proofs, "check", check_together)
    codes = await asyncio.gather(*[code_of(person.finish_sign_in(body)) for body in bodies])
    assert sorted(codes) == ["PASSKEY_REJECTED", "ok"]
    monkeypatch.setattr(person.passkeys._proofs, "check", check)
    assert await code_of(person.sign_in()) == "ok", "nothing was disabled"


async def test_a_passkey_that_is_disabled_meanwhile_signs_nobody_in(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await person.register()
    body = await person.begin_sign_in()
    check = person.passkeys._proofs.check

    async def check_and_disable(*answer: object, **more: object) -> object:
        proof = await check(*answer, **more)  # type: ignore[arg-type]
        await run(person.kavach, "update kavach_passkeys set disabled_at = created_at where id = $1", proof.row.id)
        return proof

    monkeypatch.setattr(person.passkeys._proofs, "check", check_and_disable)
    assert await code_of(person.finish_sign_in(body)) == "PASSKEY_REJECTED"


def _judged(
    stored_device: DeviceType,
    stored: int,
    presented: int,
    *,
    handle: bytes | None = b"mine",
    required: bool = True,
    device: DeviceType | None = None,
    disabled: bool = False,
) -> Verdict:
    return judge(
        Assertion(sign_count=presented, device_type=device or stored_device, backed_up=False),
        presented_handle=handle,
        expected_handle=b"mine",
        handle_required=required,
        device_type=stored_device,
        is_disabled=disabled,
        stored_count=stored,
    )
