"""The one place that knows joserfc: key sets, signed tokens (RFC 7515) and encrypted ones (RFC 7516). No I/O.

Resolvers import it when they are made, so that nothing else needs the package.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, thumbprint
from joserfc.jws import JWSRegistry

Claims = Mapping[str, object]

#: Keys of these kinds may verify; a symmetric key in a public document is none.
_PUBLIC: Final[dict[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_PUBLIC_PARTS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})
_SMALLEST_RSA: Final = 2048
_MOST_KEYS: Final = 64
#: The longest token that is looked at, and the longest header.
_LONGEST: Final = 64 * 1024
_LONGEST_HEADER: Final = 4096
#: Media types of a token that says who somebody is: a plain one, and an access token (RFC 9068).
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})


class _Registry(JWSRegistry):
    """Without joserfc's warning for `EdDSA`: issuers will say it for years before they say `Ed25519` (RFC 9864)."""

    max_header_length = _LONGEST_HEADER

    def get_alg(self, name: str) -> Any:
        """The algorithm, if it is allowed."""
        return self.algorithms["EdDSA"] if name == "EdDSA" in (self.allowed or ()) else super().get_alg(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """One key of a set, with what the set says about it."""

    kid: str | None
    alg: str | None
    key: Key

    def is_for(self, alg: str) -> bool:
        """Whether the set lets this key verify this algorithm."""
        return self.alg is None or self.alg == alg or {self.alg, alg} == {"EdDSA", "Ed25519"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an unverified token says about itself. Where its key is (`jku`, `x5u`) is not read."""

    alg: str
    kid: str | None


def import_keys(document: object) -> tuple[PublicKey, ...]:
    """Return the keys of a JWK Set (RFC 7517) that can verify signatures; those not understood are left out.

    Raises ValueError for what is no set.
    """
    listed = cast("Mapping[str, object]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("This is no JWK Set.")
    found = (_import_key(each) for each in cast("list[object]", listed)[:_MOST_KEYS])
    return tuple(key for key in found if key is not None)


def header_of(token: str) -> Header | None:
    """Return the header of a compact token, or None if it is none, too long, critical in some way, or of other use."""
    segment, dot, _ = token.partition(".")
    if not dot or len(token) > _LONGEST or len(segment) > _LONGEST_HEADER:
        return None
    try:
        found: object = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, Base64Error, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    header = cast("Mapping[str, object]", found)
    alg, kid, typ = (header.get(name) for name in ("alg", "kid", "typ"))
    if not isinstance(alg, str) or "crit" in header or not (typ is None or str(typ).lower() in _TYPES):
        return None
    return Header(alg=alg, kid=kid) if isinstance(kid, str | None) else None


def verify(token: str, keys: Sequence[PublicKey], alg: str) -> Claims | None:
    """Return the claims of a token that one of these keys signed with this very algorithm, or None."""
    registry = _Registry(algorithms=[alg], strict_check_header=False)
    for key in keys:
        if key.is_for(alg):
            try:
                return jwt.decode(token, key.key, registry=registry).claims
            except (JoseError, ValueError, TypeError, RecursionError):
                continue
    return None


def decrypt(token: str, key: bytes, enc: str) -> Claims | None:
    """Return the claims of a token encrypted directly with this key (`dir`) and this very method, or None."""
    try:
        opened = jwe.decrypt_compact(token, OctKey.import_key(key), algorithms=["dir", enc])
        claims: object = json.loads(opened.plaintext or b"")
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    return cast("Claims", claims) if isinstance(claims, dict) else None


def key_id(key: bytes) -> str:
    """The SHA-512 thumbprint of a symmetric key (RFC 7638)."""
    k = urlsafe_b64encode(key).rstrip(b"=").decode("ascii")
    return thumbprint({"kty": "oct", "k": k}, "sha512")


def _import_key(value: object) -> PublicKey | None:
    if not isinstance(value, dict):
        return None
    given = cast("dict[str, Any]", value)
    kty, operations = given.get("kty"), given.get("key_ops", ["verify"])
    kind = _PUBLIC.get(kty) if isinstance(kty, str) else None
    may_verify = isinstance(operations, list) and "verify" in operations
    if kind is None or given.get("use", "sig") != "sig" or not may_verify:
        return None
    try:
        key = kind.import_key({name: given[name] for name in _PUBLIC_PARTS & given.keys()})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    public = key.public_key
    if isinstance(public, RSAPublicKey) and public.key_size < _SMALLEST_RSA:
        return None
    kid, alg = given.get("kid"), given.get("alg")
    return PublicKey(kid=kid if isinstance(kid, str) else None, alg=alg if isinstance(alg, str) else None, key=key)
