"""Answers that do not hold: each is one clean `PASSKEY_REJECTED`, says why in the log alone, and changes nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kavach_core import Kavach
from kavach_core.testing_passkeys import SoftAuthenticator, SoftCredential
from tests.capabilities.support import OpenKavach, count, run
from tests.passkeys.support import (
    ORIGIN,
    Json,
    Person,
    changed,
    client_data_of,
    code_of,
    decode,
    encode,
    synced,
    with_client_data,
    without,
)

REJECTED: Final = "PASSKEY_REJECTED"

#: Client data of an answer, and what is in them instead.
CLIENT_DATA: Final[dict[str, dict[str, object]]] = {
    "another origin": {"origin": "https://evil.example"},
    "an origin with a slash": {"origin": f"{ORIGIN}/"},
    "an origin of another scheme": {"origin": "https://localhost:8000"},
    "an origin that ends alike": {"origin": "http://evil-localhost:8000"},
    "a native app's origin": {"origin": "android:apk-key-hash:abc"},
    "no text for an origin": {"origin": 7},
    "a list of origins": {"origin": [ORIGIN]},
    "a frame of another site": {"crossOrigin": True},
    "a frame of another site, named": {"crossOrigin": True, "topOrigin": "https://evil.example"},
    "a page above it alone": {"topOrigin": "https://evil.example"},
    "half a truth about frames": {"crossOrigin": 0},
    "another type": {"type": "payment.get"},
    "more than any browser writes": {"padding": "x" * 70_000},
}

#: Parts of a credential, and what is in them instead, whatever it is for.
PARTS: Final[dict[str, Callable[[Json], object]]] = {
    "a list": lambda body: [body],
    "null": lambda body: None,
    "bytes": lambda body: json.dumps(body).encode(),
    "text": json.dumps,
    "nothing": lambda body: {},
    "no id": lambda body: without(body, "id"),
    "no raw id": lambda body: without(body, "rawId"),
    "no type": lambda body: without(body, "type"),
    "another type": lambda body: changed(body, "type", to="password"),
    "no response": lambda body: without(body, "response"),
    "a list for a response": lambda body: changed(body, "response", to=[]),
    "ids that differ": lambda body: changed(body, "rawId", to=encode(b"x" * 32)),
    "a padded id": lambda body: changed(body, "id", to=body["id"] + "="),
    "an id that is no base64": lambda body: changed(body, "id", to="é"),
    "an empty id": lambda body: changed(changed(body, "id", to=""), "rawId", to=""),
    "no client data": lambda body: without(body, "response", "clientDataJSON"),
    "client data that are a number": lambda body: changed(body, "response", "clientDataJSON", to=7),
    "client data that are a list": lambda body: with_client_data(body, [1]),
    "client data that are no JSON": lambda body: with_client_data(body, b"{"),
    "client data that are no text": lambda body: with_client_data(body, b"\xff\xfe"),
    "client data nested deep": lambda body: with_client_data(body, b'{"challenge":' + b"[" * 40_000),
    "no challenge": lambda body: with_client_data(body, without(client_data_of(body), "challenge")),
    "a challenge that is a list": lambda body: with_client_data(body, {**client_data_of(body), "challenge": []}),
}

REGISTRATIONS: Final[dict[str, Callable[[Json], object]]] = {
    "no attestation": lambda body: without(body, "response", "attestationObject"),
    "an attestation that is a number": lambda body: changed(body, "response", "attestationObject", to=7),
    "an attestation that is no CBOR": lambda body: changed(body, "response", "attestationObject", to="AAAA"),
    "an attestation nested deep": lambda body: changed(
        body, "response", "attestationObject", to=encode(b"\x81" * 45_000)
    ),
    "an attestation of millions": lambda body: changed(body, "response", "attestationObject", to="A" * 10_000_000),
    "an answer to another question": lambda body: with_client_data(
        body, {**client_data_of(body), "type": "webauthn.get"}
    ),
    "an attestation of no kind": lambda body: _attested(body, fmt=7),
    "an unknown attestation": lambda body: _attested(body, fmt="mine"),
    "attestation none with a statement": lambda body: _attested(body, attStmt={"sig": b"x"}),
    "packed with junk": lambda body: _attested(body, fmt="packed", attStmt={"alg": -7, "sig": b"x", "x5c": [b"junk"]}),
    "packed with the wrong types": lambda body: _attested(body, fmt="packed", attStmt={"alg": "x", "sig": 7}),
    "fido-u2f with junk": lambda body: _attested(body, fmt="fido-u2f", attStmt={"sig": b"x", "x5c": [b"junk"]}),
    "tpm with junk": lambda body: _attested(
        body, fmt="tpm", attStmt={"ver": "2.0", "sig": b"x", "alg": -7, "x5c": [b"j"], "pubArea": b"", "certInfo": b""}
    ),
    "authenticator data cut short": lambda body: _attested(body, authData=b"x" * 36),
    "authenticator data with more behind": lambda body: _attested(body, authData=_auth_data(body) + b"\x00"),
}

AUTHENTICATIONS: Final[dict[str, Callable[[Json], object]]] = {
    "no signature": lambda body: without(body, "response", "signature"),
    "a signature that is a list": lambda body: changed(body, "response", "signature", to=[1]),
    "an empty signature": lambda body: changed(body, "response", "signature", to=""),
    "another signature": lambda body: changed(body, "response", "signature", to=encode(b"0" * 70)),
    "a signature with more behind": lambda body: changed(
        body, "response", "signature", to=encode(decode(body["response"]["signature"]) + b"\x00")
    ),
    "no authenticator data": lambda body: without(body, "response", "authenticatorData"),
    "authenticator data cut short": lambda body: changed(body, "response", "authenticatorData", to=encode(b"x" * 36)),
    "no user handle": lambda body: without(body, "response", "userHandle"),
    "a user handle of null": lambda body: changed(body, "response", "userHandle", to=None),
    "an empty user handle": lambda body: changed(body, "response", "userHandle", to=""),
    "a user handle that is no base64": lambda body: changed(body, "response", "userHandle", to="a"),
    "a user handle that is no ASCII": lambda body: changed(body, "response", "userHandle", to="é"),
    "a user handle that is a number": lambda body: changed(body, "response", "userHandle", to=7),
    "another user's handle": lambda body: changed(body, "response", "userHandle", to=encode(b"m" * 32)),
    "an answer to another question": lambda body: with_client_data(
        body, {**client_data_of(body), "type": "webauthn.create"}
    ),
}


@pytest.mark.parametrize("case", [*CLIENT_DATA, *PARTS, *AUTHENTICATIONS])
async def test_no_spoilt_answer_signs_in(visitor: Person, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Client data are spoilt before they are signed: the signature holds, and what it says does not."""
    await visitor.register()
    over = CLIENT_DATA.get(case, {})
    spoil = {**PARTS, **AUTHENTICATIONS}.get(case, lambda body: body)
    body = spoil(await visitor.begin_sign_in(**over))
    with caplog.at_level(logging.WARNING):
        assert await code_of(visitor.finish_sign_in(body)) == REJECTED
    assert await count(visitor.kavach, "kavach_sessions") == 1
    assert await code_of(visitor.sign_in()) == "ok"


@pytest.mark.parametrize("case", [*CLIENT_DATA, *PARTS, *REGISTRATIONS])
async def test_no_spoilt_answer_signs_up(visitor: Person, case: str) -> None:
    options = await visitor.passkeys.begin_registration(browser=visitor.browser)
    spoil = {**PARTS, **REGISTRATIONS}.get(case, lambda body: body)
    body = spoil(visitor.authenticator.create(options, ORIGIN, **CLIENT_DATA.get(case, {})))
    began = time.process_time()
    assert await code_of(visitor.passkeys.finish_registration(body, browser=visitor.browser)) == REJECTED
    assert time.process_time() - began < 0.5
    assert await count(visitor.kavach, "kavach_users") == 0


async def test_why_is_in_the_log_and_nowhere_else(visitor: Person, caplog: pytest.LogCaptureFixture) -> None:
    await visitor.register()
    with pytest.raises(Exception, match="The passkey was not accepted") as refused:
        await visitor.sign_in(origin="https://evil.example\nforged line")
    assert "evil" not in str(refused.value) and refused.value.__cause__ is None
    assert "evil.example\\u000aforged line" in caplog.text


class Flags(NamedTuple):
    """Flags of an authenticator that must not be accepted."""

    uv: bool = True
    up: bool = True
    be: bool = False
    bs: bool = False


@pytest.mark.parametrize(
    "flags", [Flags(uv=False), Flags(up=False), Flags(bs=True), Flags(uv=False, up=False)], ids=str
)
async def test_user_and_backup_flags_are_checked(visitor: Person, flags: Flags) -> None:
    broken = Person(visitor.kavach, SoftAuthenticator(**flags._asdict()))
    assert await code_of(broken.register()) == REJECTED
    await visitor.register()
    for name, value in flags._asdict().items():
        setattr(visitor.authenticator, name, value)
    assert await code_of(visitor.sign_in()) == REJECTED


async def test_old_keys_without_a_pin_may_be_let_in(open_kavach: OpenKavach) -> None:
    person = Person(await open_kavach(user_verification="preferred"), SoftAuthenticator(uv=False))
    assert await code_of(person.register()) == "ok" and await code_of(person.sign_in()) == "ok"
    options = await person.passkeys.begin_authentication(browser=person.browser)
    assert options["userVerification"] == "preferred"


@pytest.mark.parametrize("before", [SoftAuthenticator(), synced()], ids=["single-device", "multi-device"])
async def test_backup_eligibility_never_changes(visitor: Person, before: SoftAuthenticator) -> None:
    person = Person(visitor.kavach, before)
    await person.register()
    before.be, before.bs = not before.be, False
    assert await code_of(person.sign_in()) == REJECTED
    before.be = not before.be
    assert await code_of(person.sign_in()) == "ok"


async def test_backup_state_is_kept_up_to_date(visitor: Person) -> None:
    person = Person(visitor.kavach, SoftAuthenticator(be=True))
    session = await person.register()
    assert not (await person.passkeys.list(session.user_id))[0].backed_up
    person.authenticator.bs = True
    await person.sign_in()
    assert (await person.passkeys.list(session.user_id))[0].backed_up


async def test_another_site_is_refused(visitor: Person) -> None:
    options = await visitor.passkeys.begin_registration(browser=visitor.browser)
    options["rp"] = {"id": "evil.example"}
    body = visitor.authenticator.create(options, "https://evil.example", origin=ORIGIN)
    assert await code_of(visitor.passkeys.finish_registration(body, browser=visitor.browser)) == REJECTED
    visitor.authenticator.credentials.clear()
    await visitor.register()
    visitor.authenticator.credentials[0].rp_id = "evil.example"
    asked = await visitor.passkeys.begin_authentication(browser=visitor.browser)
    body = visitor.authenticator.sign(asked, ORIGIN, visitor.authenticator.credentials[0])
    assert await code_of(visitor.finish_sign_in(body)) == REJECTED


async def test_a_key_is_looked_up_by_the_id_that_is_sent(visitor: Person) -> None:
    """The library does not tie the id to the key: an attacker's signature under a victim's id, and the reverse."""
    victim, thief = visitor, Person(visitor.kavach)
    mine = await victim.register()
    await thief.register()
    theirs, own = victim.authenticator.credentials[0], thief.authenticator.credentials[0]
    for credential_id, handle in ((theirs.id, theirs.user_handle), (own.id, theirs.user_handle)):
        options = await thief.passkeys.begin_authentication(browser=thief.browser)
        forged = SoftCredential(id=credential_id, rp_id=own.rp_id, user_handle=handle, key=own.key, sign_count=9)
        body = thief.authenticator.sign(options, ORIGIN, forged)
        assert await code_of(thief.finish_sign_in(body)) == REJECTED
    assert len(await visitor.kavach.sessions.list(mine.user_id)) == 1


async def test_credential_ids_have_at_most_1023_bytes(visitor: Person) -> None:
    for length, expected in ((1023, "ok"), (1024, REJECTED), (1500, REJECTED)):
        options = await visitor.passkeys.begin_registration(browser=visitor.browser)
        visitor.authenticator.create(options, ORIGIN)
        credential = visitor.authenticator.credentials[-1]
        credential.id = b"i" * length
        body = visitor.authenticator.attest(options, ORIGIN, credential, credential.public_key)
        finish = visitor.passkeys.finish_registration(body, browser=visitor.browser)
        assert await code_of(finish) == expected, length


async def test_the_id_of_the_attestation_is_the_one_that_is_sent(visitor: Person) -> None:
    body = await visitor.begin_registration()
    other = encode(b"another" * 4)
    body = changed(changed(body, "id", to=other), "rawId", to=other)
    assert await code_of(visitor.passkeys.finish_registration(body, browser=visitor.browser)) == REJECTED


def _ec(curve: ec.EllipticCurve, name: int, **over: Any) -> bytes:
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
    return cbor2.dumps({1: 2, 3: over.get("alg", -7), -1: name, -2: over.get("x", x), -3: over.get("y", y)})


def _rsa(bits: int, alg: int = -257) -> bytes:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return cbor2.dumps({1: 3, 3: alg, -1: numbers.n.to_bytes((bits + 7) // 8, "big"), -2: b"\x01\x00\x01"})


def _ed25519(**over: Any) -> bytes:
    raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: raw, **{int(key): value for key, value in over.items()}})


#: A point of order eight, under which an eighth of all messages has a signature that anybody can make.
EIGHTH: Final = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
KEYS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "EdDSA": (_ed25519, "ok"),
    "ES256": (lambda: _ec(ec.SECP256R1(), 1), "ok"),
    "RS256": (lambda: _rsa(2048), "ok"),
    "off its curve": (lambda: _ec(ec.SECP256R1(), 1, y=b"\x01" * 32), REJECTED),
    "an unknown curve": (lambda: _ec(ec.SECP256R1(), 99), REJECTED),
    "another curve than its algorithm's": (lambda: _ec(ec.SECP384R1(), 2), REJECTED),
    "another kind than its algorithm's": (lambda: _ec(ec.SECP256R1(), 1, alg=-257), REJECTED),
    "an algorithm nobody offered": (lambda: _ec(ec.SECP384R1(), 2, alg=-35), REJECTED),
    "RSA with SHA-1": (lambda: _rsa(2048, alg=-65535), REJECTED),
    "RSA of 1024 bits": (lambda: _rsa(1024), REJECTED),
    "RSA of 8 bits": (lambda: cbor2.dumps({1: 3, 3: -257, -1: b"\xff", -2: b"\x03"}), REJECTED),
    "RSA of half a million bits": (
        lambda: cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 45_000, -2: b"\x01\x00\x01"}),
        REJECTED,
    ),
    "Ed25519 cut short": (lambda: _ed25519(**{"-2": b"x" * 31}), REJECTED),
    "Ed25519 of zeros": (lambda: _ed25519(**{"-2": bytes(32)}), REJECTED),
    "Ed25519 of which eight times is nothing": (lambda: _ed25519(**{"-2": bytes.fromhex(EIGHTH)}), REJECTED),
    "Ed25519 off its curve": (lambda: _ed25519(**{"-2": b"\x02" + bytes(31)}), REJECTED),
    "Ed25519 written in another way": (lambda: _ed25519(**{"-2": b"\xf0" + b"\xff" * 30 + b"\x7f"}), REJECTED),
    "no kind": (lambda: cbor2.dumps({3: -7}), REJECTED),
    "no algorithm": (lambda: cbor2.dumps({1: 2}), REJECTED),
    "no point": (lambda: cbor2.dumps({1: 2, 3: -7, -1: 1}), REJECTED),
    "points of the wrong type": (lambda: _ec(ec.SECP256R1(), 1, x="text", y=7), REJECTED),
    "a number": (lambda: cbor2.dumps(7), REJECTED),
    "nothing": (lambda: b"", REJECTED),
    "two keys of one name": (lambda: b"\xa2\x01\x02\x01\x03", REJECTED),
}


@pytest.mark.parametrize("case", KEYS)
async def test_keys_that_could_not_sign_in_are_not_registered(visitor: Person, case: str) -> None:
    make, expected = KEYS[case]
    options = await visitor.passkeys.begin_registration(browser=visitor.browser)
    visitor.authenticator.create(options, ORIGIN)
    body = visitor.authenticator.attest(options, ORIGIN, visitor.authenticator.credentials[-1], make())
    assert await code_of(visitor.passkeys.finish_registration(body, browser=visitor.browser)) == expected


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}), "ok"),
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}) + b"\x00", REJECTED),
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}) + b"zz", REJECTED),
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": {"x": 1}, "authData": data}), REJECTED),
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": {"sig": b"x"}, "authData": data}), REJECTED),
        (lambda data: cbor2.dumps({"fmt": "none", "attStmt": None, "authData": data}), REJECTED),
        (lambda data: cbor2.dumps({"fmt": "none", "authData": data}), REJECTED),
    ],
    ids=["whole", "a byte behind", "text behind", "a statement", "a signature", "no statement", "none at all"],
)
async def test_an_attestation_says_what_it_says_and_ends_there(
    visitor: Person, spoil: Callable[[bytes], bytes], expected: str
) -> None:
    body = await visitor.begin_registration()
    sent = cbor2.loads(decode(body["response"]["attestationObject"]))
    spoilt = changed(body, "response", "attestationObject", to=encode(spoil(sent["authData"])))
    assert await code_of(visitor.passkeys.finish_registration(spoilt, browser=visitor.browser)) == expected


async def test_signatures_of_the_browsers_favourite_algorithm_hold(visitor: Person) -> None:
    """The software authenticator of the tests makes ES256 keys; browsers prefer Ed25519."""
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    options = await visitor.passkeys.begin_registration(browser=visitor.browser)
    visitor.authenticator.create(options, ORIGIN)
    credential = visitor.authenticator.credentials[-1]
    cose = cbor2.dumps({1: 1, 3: -8, -1: 6, -2: raw})
    body = visitor.authenticator.attest(options, ORIGIN, credential, cose)
    await visitor.passkeys.finish_registration(body, browser=visitor.browser)

    class Signer:
        def sign(self, data: bytes, _: ec.ECDSA) -> bytes:
            return key.sign(data)

    credential.key = Signer()  # type: ignore[assignment]
    assert await code_of(visitor.sign_in()) == "ok"


@pytest.mark.parametrize("stored", [b"", b"garbage", cbor2.dumps({1: 2})], ids=["empty", "garbage", "half"])
async def test_a_broken_key_on_record_is_the_servers_fault(
    kavach: Kavach, stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    person = Person(kavach)
    await person.register()
    await run(kavach, "update kavach_passkeys set public_key = $1 where project_id = $2", stored, kavach.config.project)
    assert await code_of(person.sign_in()) == REJECTED
    assert "of a passkey on record cannot be used" in caplog.text


async def test_only_known_transports_are_kept_and_a_million_cost_nothing(visitor: Person) -> None:
    body = await visitor.begin_registration()
    body["response"]["transports"] = [f"t{number}" for number in range(1_000_000)] + ["usb", "internal", "usb", 7]
    began = time.process_time()
    session = await visitor.passkeys.finish_registration(body, browser=visitor.browser)
    assert time.process_time() - began < 0.5
    (passkey,) = await visitor.passkeys.list(session.user_id)
    assert passkey.transports == ("internal", "usb")


@pytest.mark.parametrize(
    ("settings", "accepted", "refused"),
    [
        ({}, ["http://localhost:1", "http://localhost"], ["https://localhost", "http://localhost.evil.example"]),
        (
            {"base_url": "https://app.example", "secret": "s" * 32, "allowed_origins": ["https://www.app.example"]},
            ["https://app.example", "https://www.app.example"],
            ["https://app.example:8443", "http://app.example", "https://evil.app.example", ORIGIN],
        ),
        (
            {
                "base_url": "https://www.app.example",
                "secret": "s" * 32,
                "rp_id": "app.example",
                "allowed_origins": ["https://app.example.org"],
                "app_origins": ["android:apk-key-hash:abc"],
            },
            ["https://www.app.example", "https://app.example.org", "android:apk-key-hash:abc"],
            ["https://app.example", "android:apk-key-hash:abcd"],
        ),
    ],
    ids=["local", "several", "parent, related and native"],
)
async def test_origins_are_those_of_the_configuration(
    open_kavach: OpenKavach, settings: dict[str, Any], accepted: list[str], refused: list[str]
) -> None:
    kavach = await open_kavach(**settings)
    for origin in accepted + refused:
        person = Person(kavach)
        options = await person.passkeys.begin_registration(browser=person.browser)
        host = f"https://{kavach.config.rp_id}"
        body = person.authenticator.create(options, host, origin=origin)
        expected = "ok" if origin in accepted else REJECTED
        finish = person.passkeys.finish_registration
        assert await code_of(finish(body, browser=person.browser)) == expected, origin


def _auth_data(body: Json) -> bytes:
    return bytes(cbor2.loads(decode(body["response"]["attestationObject"]))["authData"])


def _attested(body: Json, **over: object) -> Json:
    attestation = cbor2.loads(decode(body["response"]["attestationObject"])) | over
    return changed(body, "response", "attestationObject", to=encode(cbor2.dumps(attestation)))
