"""Recovery codes and links as values."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives.text import require_text

#: Codes of one set.
CODES: Final = 10
#: 120 random bits: from 112 on a plain digest is enough at rest (OWASP ASVS 6.5.2).
_CODE_BYTES: Final = 15
_CODE_LENGTH: Final = 24
_GROUP: Final = 4
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLink:
    """A link that gives its holder a recovery session, once. `token` is a secret."""

    token: str = field(repr=False)
    expires_at: datetime


def new_codes() -> list[str]:
    """Ten new codes, in groups of four, to be written down."""
    return [_grouped(base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()) for _ in range(CODES)]


def digest_of(code: str) -> bytes:
    """What is stored of a code, however it was typed: spaces, dashes and case do not matter. Raises `InvalidInput`."""
    plain = "".join(filter(str.isalnum, require_text(code, field="code")[:_LONGEST])).upper()
    if len(plain) != _CODE_LENGTH or not plain.isascii():
        raise InvalidInput("This is not a recovery code.", field="code")
    return hashlib.sha256(plain.encode("ascii")).digest()


def _grouped(text: str) -> str:
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
