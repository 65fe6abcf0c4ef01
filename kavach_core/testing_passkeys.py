"""For the tests of an app: an authenticator and its browser in software, for signing up and in without either.

Needs what the extra `passkeys` installs. It does what it is told, a broken authenticator's part too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["BrowserRefused", "SoftAuthenticator", "SoftCredential"]

#: Flags of authenticator data (WebAuthn, section 6.1).
_UP, _UV, _BE, _BS, _AT = 1, 4, 8, 16, 64
_ES256: Final = -7


class BrowserRefused(Exception):
    """The browser makes no answer. `name` is that of the DOMException a page would see."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(slots=True, kw_only=True)
class SoftCredential:
    """A passkey as its authenticator keeps it."""

    id: bytes
    rp_id: str
    user_handle: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    sign_count: int = 0

    @property
    def public_key(self) -> bytes:
        """The key as it is registered (RFC 9053, section 7.1.1)."""
        numbers = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        return cbor2.dumps({1: 2, 3: _ES256, -1: 1, -2: x, -3: y})


@dataclass(slots=True, kw_only=True)
class SoftAuthenticator:
    """Answers the JSON of the begin routes as a browser would, with ES256 keys.

    `be=True, bs=True, counter=False` plays a synced passkey. A test may change any of it between two answers.
    """

    #: Whether the user was verified, and present.
    uv: bool = True
    up: bool = True
    #: Whether its passkeys may be copied to other devices, and are.
    be: bool = False
    bs: bool = False
    #: Whether it counts its signatures.
    counter: bool = True
    aaguid: bytes = bytes(16)
    transports: tuple[str, ...] = ("internal",)
    credentials: list[SoftCredential] = field(default_factory=list[SoftCredential])

    def create(self, options: Mapping[str, Any], origin: str, /, **client_data: object) -> dict[str, Any]:
        """Make a passkey, as `navigator.credentials.create` does.

        `client_data` is put over the client data (`crossOrigin=True`, `origin=...`). Raises `BrowserRefused`.
        """
        rp_id = options["rp"]["id"]
        _check_site(rp_id, origin)
        self._check_excluded(options, rp_id)
        credential = SoftCredential(
            id=secrets.token_bytes(32),
            rp_id=rp_id,
            user_handle=_decode(options["user"]["id"]),
            key=ec.generate_private_key(ec.SECP256R1()),
        )
        self.credentials = [each for each in self.credentials if not _same_account(each, credential)] + [credential]
        return self.attest(options, origin, credential, credential.public_key, **client_data)

    def attest(
        self,
        options: Mapping[str, Any],
        origin: str,
        credential: SoftCredential,
        public_key: bytes,
        /,
        **client_data: object,
    ) -> dict[str, Any]:
        """The answer that registers a credential under this public key, whatever both are."""
        data = self._authenticator_data(credential, _AT) + self.aaguid
        data += len(credential.id).to_bytes(2, "big") + credential.id + public_key
        response = {
            "clientDataJSON": _client_data("webauthn.create", options, origin, client_data),
            "attestationObject": _encode(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": list(self.transports),
        }
        return _answer(credential, response)

    def get(self, options: Mapping[str, Any], origin: str, /, index: int = -1, **client_data: object) -> dict[str, Any]:
        """Sign with a passkey, as `navigator.credentials.get` does: the newest that may be used, or another by index.

        `client_data` is put over the client data (`crossOrigin=True`). Raises `BrowserRefused`.
        """
        rp_id = options["rpId"]
        _check_site(rp_id, origin)
        allowed = {_decode(each["id"]) for each in options.get("allowCredentials", ())}
        usable = [each for each in self.credentials if each.rp_id == rp_id and (not allowed or each.id in allowed)]
        if not usable:
            raise BrowserRefused("NotAllowedError")
        return self.sign(options, origin, usable[index], **client_data)

    def sign(
        self, options: Mapping[str, Any], origin: str, credential: SoftCredential, /, **client_data: object
    ) -> dict[str, Any]:
        """The answer that a credential signs, whoever asked for whichever."""
        credential.sign_count += self.counter
        told = _client_data("webauthn.get", options, origin, client_data)
        data = self._authenticator_data(credential, 0)
        signed = data + hashlib.sha256(_decode(told)).digest()
        response = {
            "clientDataJSON": told,
            "authenticatorData": _encode(data),
            "signature": _encode(credential.key.sign(signed, ec.ECDSA(SHA256()))),
            "userHandle": _encode(credential.user_handle),
        }
        return _answer(credential, response)

    def _authenticator_data(self, credential: SoftCredential, flags: int) -> bytes:
        flags |= self.up * _UP | self.uv * _UV | self.be * _BE | self.bs * _BS
        rp_hash = hashlib.sha256(credential.rp_id.encode()).digest()
        return rp_hash + bytes([flags]) + credential.sign_count.to_bytes(4, "big")

    def _check_excluded(self, options: Mapping[str, Any], rp_id: str) -> None:
        excluded = {_decode(each["id"]) for each in options.get("excludeCredentials", ())}
        if any(each.id in excluded and each.rp_id == rp_id for each in self.credentials):
            raise BrowserRefused("InvalidStateError")


def _check_site(rp_id: str, origin: str) -> None:
    host = urlsplit(origin).hostname or ""
    if host != rp_id and not host.endswith(f".{rp_id}"):
        raise BrowserRefused("SecurityError")


def _same_account(one: SoftCredential, other: SoftCredential) -> bool:
    """An authenticator keeps one passkey for an account: a new one takes the place of the old."""
    return (one.rp_id, one.user_handle) == (other.rp_id, other.user_handle)


def _client_data(kind: str, options: Mapping[str, Any], origin: str, over: Mapping[str, object]) -> str:
    told = {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False, **over}
    return _encode(json.dumps(told, separators=(",", ":")).encode())


def _answer(credential: SoftCredential, response: dict[str, Any]) -> dict[str, Any]:
    credential_id = _encode(credential.id)
    return {
        "id": credential_id,
        "rawId": credential_id,
        "type": "public-key",
        "response": response,
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
    }


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
