"""Names of counters: a letter for the kind, then what is counted. Attacker-chosen parts are hashed into few buckets."""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

_RATE: Final = b"r"
_REFUSED: Final = b"f"
_UNKNOWN: Final = b"u"
_ACCOUNT: Final = b"a"
_ADDRESS: Final = b"d"
_BEGUN: Final = b"b"
_ASKING: Final = b"q"

#: Addresses are chosen by whoever sends; this many counters at most hold them all.
UNKNOWN_BUCKETS: Final = 4096


def rate(holder: bytes, grant: bytes) -> bytes:
    """The calls allowed by one grant: the permission `grant` as held by an agent or a delegation."""
    return _RATE + holder + grant


def refused(counted: bytes) -> bytes:
    """The refused calls of one agent, or of a token it no longer has."""
    return _REFUSED + counted


def unknown(address: str | None) -> bytes:
    """Credentials of nobody, by the address they came from."""
    return _UNKNOWN + (zlib.crc32((address or "").encode()) % UNKNOWN_BUCKETS).to_bytes(2, "big")


def attempts_of(account: str) -> bytes:
    """Attempts to sign in to one account, whether it exists or not. Hashed whole: two accounts share no counter."""
    return _ACCOUNT + hashlib.sha256(account.encode("utf-8", "surrogatepass")).digest()


def attempts_from(address: str) -> bytes:
    """Attempts to sign in from one address, to whatever account."""
    return _ADDRESS + (zlib.crc32(address.encode()) % UNKNOWN_BUCKETS).to_bytes(2, "big")


def begun_from(address: str) -> bytes:
    """Ceremonies begun from one address, which prove nothing yet."""
    return _BEGUN + (zlib.crc32(address.encode()) % UNKNOWN_BUCKETS).to_bytes(2, "big")


def asking(agent_id: bytes) -> bytes:
    """The questions of one agent to its human. Nothing is counted here: who holds it may count them where they are."""
    return _ASKING + agent_id
