"""The cryptography of a ceremony, and every check that the library leaves to its caller.

The only module that imports `webauthn`, and only when it is used. All it raises comes out as one `PasskeyRejected`: the
library lets builtin exceptions through for many malformed answers. What was wrong is in the log and nowhere else.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from kavach_core.capabilities.passkeys.ceremony import ALGORITHMS, Answer, decode, rejected
from kavach_core.capabilities.passkeys.ed25519 import is_strong
from kavach_core.capabilities.passkeys.model import Assertion, DeviceType, NewCredential
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError, PasskeyRejected
from kavach_core.primitives.permissions import find_address
from kavach_core.primitives.text import escape

if TYPE_CHECKING:
    from webauthn.helpers.structs import CredentialDeviceType

T = TypeVar("T")

_RSA_BITS: Final = range(2048, 8192 + 1)

_log = logging.getLogger("kavach")


async def prepare(config: Config) -> None:
    """Make sure that passkeys can be used at all, before the first is asked for.

    Raises `ConfigurationError` without the library, and for a site whose host no browser takes for passkeys.
    """
    if find_address(config.rp_id) is not None:
        raise ConfigurationError(
            f"Browsers make no passkeys for an address such as {config.rp_id}: use a host name, "
            "on one's own machine localhost."
        )
    if "webauthn.helpers" not in sys.modules:
        # A quarter of a second, once.
        await asyncio.to_thread(_load)


def verify_registration(answer: Answer, config: Config) -> NewCredential:
    """Verify the answer to a registration (WebAuthn, section 7.1). Raises `PasskeyRejected`."""
    _check_page(answer, config)
    return _guarded(lambda: _registration(answer, config))


def verify_authentication(answer: Answer, public_key: bytes, config: Config) -> Assertion:
    """Verify a signature by the key of a passkey on record (WebAuthn, section 7.2). Raises `PasskeyRejected`.

    The counter is only read: to compare it is for later, because here the signature may still be anybody's.
    """
    _check_page(answer, config)
    try:
        return _guarded(lambda: _authentication(answer, public_key, config))
    except PasskeyRejected:
        _note_broken(public_key)
        raise


def reject(reason: str) -> PasskeyRejected:
    """The error for an answer that does not hold; the log alone learns why."""
    _log.warning("passkey rejected: %s", escape(reason, longest=300))
    return rejected()


def _load() -> None:
    try:
        importlib.import_module("webauthn.helpers")
    except ImportError as error:
        raise ConfigurationError("Passkeys need a library: pip install 'kavach-asgi[passkeys]'.") from error


def _check_page(answer: Answer, config: Config) -> None:
    """The library compares the origin alone, and accepts answers made in a frame of another site."""
    if answer.is_embedded:
        raise reject("it was made in a frame of another site")
    if not config.allows_ceremony(answer.origin):
        raise reject(f"it was made on {answer.origin}")


def _guarded(verify: Callable[[], T]) -> T:
    """Run what touches the library and bytes from outside."""
    try:
        return verify()
    except PasskeyRejected:
        raise
    except Exception as error:
        raise reject(f"{type(error).__name__}: {error}") from None


def _registration(answer: Answer, config: Config) -> NewCredential:
    from webauthn import verify_registration_response
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    verified = verify_registration_response(
        credential=answer.sent,
        expected_challenge=answer.challenge,
        expected_rp_id=config.rp_id,
        expected_origin=[answer.origin],
        require_user_verification=config.user_verification == "required",
        supported_pub_key_algs=[COSEAlgorithmIdentifier(algorithm) for algorithm in ALGORITHMS],
    )
    if verified.credential_id != answer.credential_id:
        raise reject("the credential id is not the one that was sent")
    _check_attestation(decode(answer.sent["response"]["attestationObject"]))
    _check_key(verified.credential_public_key)
    return NewCredential(
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        aaguid=verified.aaguid,
        device_type=_device_type(verified.credential_device_type),
        backed_up=verified.credential_backed_up,
        transports=answer.transports,
    )


def _authentication(answer: Answer, public_key: bytes, config: Config) -> Assertion:
    from webauthn import verify_authentication_response

    verified = verify_authentication_response(
        credential=answer.sent,
        expected_challenge=answer.challenge,
        expected_rp_id=config.rp_id,
        expected_origin=[answer.origin],
        credential_public_key=public_key,
        credential_current_sign_count=0,
        require_user_verification=config.user_verification == "required",
    )
    return Assertion(
        sign_count=verified.new_sign_count,
        device_type=_device_type(verified.credential_device_type),
        backed_up=verified.credential_backed_up,
    )


def _check_attestation(sent: bytes) -> None:
    """The library reads past bytes behind the object, and past what a statement of `none` states (WebAuthn, 8.7)."""
    import cbor2

    attestation = cbor2.loads(sent)
    if attestation["fmt"] == "none" and attestation.get("attStmt") != {}:
        raise reject("an attestation of none states something")
    with suppress(cbor2.CBORDecodeError):
        cbor2.loads(sent[:-1])
        # Only what has bytes behind its end is still whole without the last one.
        raise reject("there are bytes behind the attestation")


def _check_key(public_key: bytes) -> None:
    """The library keeps keys it cannot use: off their curve, of another kind than their algorithm, or far too short.

    And one that anybody can: see `is_strong`.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography

    decoded = decode_credential_public_key(public_key)
    match int(decoded.alg), decoded_public_key_to_cryptography(decoded):
        case -8, Ed25519PublicKey() as key if is_strong(key.public_bytes_raw()):
            return
        case -7, EllipticCurvePublicKey() as key if isinstance(key.curve, SECP256R1):
            return
        case -257, RSAPublicKey() as key if key.key_size in _RSA_BITS:
            return
        case algorithm, key:
            raise reject(f"a key that is no key of algorithm {algorithm}: {type(key).__name__}")


def _note_broken(public_key: bytes) -> None:
    """Tell in the log if not the answer was at fault but the key on record."""
    try:
        _check_key(public_key)
    except Exception:
        _log.exception("the public key of a passkey on record cannot be used")


def _device_type(told: CredentialDeviceType) -> DeviceType:
    return DeviceType(told.value)
