"""Ids: a prefix that tells the kind and a UUIDv7, 16 bytes inside and hexadecimal outside.

They sort by time: the 12 bits after the milliseconds hold the fraction of one (RFC 9562, section 6.2, method 3), and a
sequence after them keeps the order of ids made at one moment. Knowing an id gives no rights.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Final, cast

from kavach_core.errors import InvalidInput, NotFound
from kavach_core.primitives.text import require_clean


class IdSource:
    """Makes UUIDv7 values that never go backwards within this process; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = 0
        self._sequence = 0

    def new(self, at: int) -> bytes:
        """A new id for the moment `at`, in microseconds; for an earlier one than before, the time stands still."""
        with self._lock:
            if at > self._at:
                self._at, self._sequence = at, 0
            else:
                self._sequence += 1
                if self._sequence > 0xFFFF:
                    self._at, self._sequence = self._at + 1, 0
            return _assemble(self._at, self._sequence)


def _assemble(at: int, sequence: int) -> bytes:
    milliseconds, micros = divmod(at, 1000)
    fraction = micros * 4096 // 1000
    random = secrets.randbits(46)
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | sequence << 46 | random
    return value.to_bytes(16, "big")


def earliest(at: int) -> bytes:
    """The smallest id that can be made at the moment `at`; a bound for reading by time."""
    milliseconds, micros = divmod(max(at, 0), 1000)
    value = milliseconds << 80 | 0x7 << 76 | (micros * 4096 // 1000) << 64 | 0b10 << 62
    return value.to_bytes(16, "big")


def moment(raw: bytes) -> int:
    """The time an id was made at, in microseconds."""
    milliseconds = int.from_bytes(raw[:6], "big")
    fraction = int.from_bytes(raw[6:8], "big") & 0xFFF
    return milliseconds * 1000 + -(-fraction * 1000 // 4096)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of id: its prefix, and the way in and out of text."""

    prefix: str
    noun: str

    def text(self, raw: bytes) -> str:
        """The public form."""
        return f"{self.prefix}_{raw.hex()}"

    def optional(self, raw: bytes | None) -> str | None:
        """The public form of an id that may be missing."""
        return None if raw is None else self.text(raw)

    def raw(self, text: str, *, field: str = "id") -> bytes:
        """The 16 bytes of a public id.

        Raises `InvalidInput` for control characters and surrogates, `NotFound` for anything else that cannot be an
        id of this kind: what cannot exist and what does not exist look alike.
        """
        raw = self._read(text, field)
        if raw is None:
            raise NotFound(f"There is no such {self.noun}.")
        return raw

    def mark(self, text: str, *, field: str) -> bytes:
        """The 16 bytes of an id that only marks a place in a list, whether such a thing exists or not.

        Raises `InvalidInput` for what cannot be an id of this kind.
        """
        raw = self._read(text, field)
        if raw is None:
            raise InvalidInput(f"This cannot be the id of one {self.noun}.", field=field)
        return raw

    def _read(self, text: str, field: str) -> bytes | None:
        require_clean(text, field=field, longest=_LONGEST)
        head, _, body = text.partition("_")
        fits = head == self.prefix and len(body) == _HEX_DIGITS and set(body) <= _HEX
        return bytes.fromhex(body) if fits else None


def of(thing: object, *, field: str) -> str:
    """The id of a thing that has one, or the text that is one. Raises `InvalidInput`."""
    found = thing if isinstance(thing, str) else getattr(thing, "id", None)
    return require_clean(cast("str", found), field=field, longest=_LONGEST)


_LONGEST: Final = 512
_HEX_DIGITS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")

AGENT: Final = Kind("agt", "agent")
DELEGATION: Final = Kind("dlg", "delegation")
AUDIT: Final = Kind("aud", "audit entry")
SESSION: Final = Kind("ses", "session")
KEY: Final = Kind("key", "API key")
EVENT: Final = Kind("evt", "event")
USER: Final = Kind("usr", "user")
PASSKEY: Final = Kind("psk", "passkey")
BUDGET: Final = Kind("bdg", "budget")
APPROVAL: Final = Kind("apr", "approval")
