"""Opaque bearer tokens in GitHub's manner: `kv_agt_` + 43 base62 characters + 6 of checksum.

The body carries 256 random bits. The checksum (CRC-32 in base62) lets a scanner tell a real token from a look-alike and
lets the server refuse a mistyped one without a query. Only the SHA-256 of a token is stored: from 112 bits of entropy a
plain digest is enough (OWASP ASVS 6.5.2).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: What every token looks like, for secret scanners.
PATTERN: Final = "kv_(agt|ses|live|test)_[0-9A-Za-z]{49}"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY: Final = 43
_CHECKSUM: Final = 6
#: Every two digits of base62: a checksum is read with every call.
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]


class TokenKind(StrEnum):
    """What a token stands for, as its prefix tells."""

    AGENT = "kv_agt_"
    SESSION = "kv_ses_"
    LIVE_KEY = "kv_live_"
    TEST_KEY = "kv_test_"


_SHAPE: Final = re.compile(PATTERN)
#: By what the pattern finds in the middle of a prefix.
_KINDS: Final = {kind.split("_")[1]: kind for kind in TokenKind}


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token, to be shown once, and the digest to be stored."""

    token: str
    digest: bytes

    def __repr__(self) -> str:
        return "Minted(token=<hidden>)"


def mint(kind: TokenKind) -> Minted:
    """Make a token of this kind from 256 random bits."""
    unchecked = kind + _base62(secrets.randbits(256), _BODY)
    token = unchecked + _checksum(unchecked)
    return Minted(token, digest(token))


def digest(token: str) -> bytes:
    """What is stored and looked up: the SHA-256 of the token."""
    return hashlib.sha256(token.encode("ascii")).digest()


def kind_of(token: object) -> TokenKind | None:
    """The kind of a well-formed token with a right checksum, or None for anything else. Asks no database."""
    if not isinstance(token, str):  # a header that is not there is None
        return None
    found = _SHAPE.fullmatch(token)
    if found is None or token[-_CHECKSUM:] != _checksum(token[:-_CHECKSUM]):
        return None
    return _KINDS[found[1]]


def is_ours(token: str) -> bool:
    """Whether a bearer claims to be one of ours, rightly or not."""
    return token.startswith("kv_")


def _checksum(unchecked: str) -> str:
    return _base62(zlib.crc32(unchecked.encode("ascii")), _CHECKSUM)


def _base62(number: int, width: int) -> str:
    pairs: list[str] = []
    for _ in range((width + 1) // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs)[-width:]
