"""Names of counters: a letter for the kind, then what is counted.

What somebody else chooses is hashed whole, so that no two share a counter and nobody can use up another's. Such rows
are forgotten as new ones come in: see `queries.forget_some`.
"""

from __future__ import annotations

import hashlib
import zlib
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from kavach_core.primitives.permissions import find_address
from kavach_core.primitives.text import require_text

_RATE: Final = b"r"
_REFUSED: Final = b"f"
_UNKNOWN: Final = b"u"
_ACCOUNT: Final = b"a"
_ACCOUNT_AT: Final = b"t"
_ACCOUNT_BY: Final = b"w"
_ADDRESS: Final = b"d"
_BEGUN: Final = b"b"
_ASKING: Final = b"q"
_SIGN_UP: Final = b"n"
_MAIL: Final = b"m"

#: Nobody is turned away by these, and decisions count in them: this many at most hold all addresses.
UNKNOWN_BUCKETS: Final = 4096
#: What one customer of a network has in IPv6 (RFC 6177): whoever has one address there has all of them.
_CUSTOMER: Final = 64


def rate(holder: bytes, grant: bytes) -> bytes:
    """The calls allowed by one grant: the permission `grant` as held by an agent or a delegation."""
    return _RATE + holder + grant


def refused(counted: bytes) -> bytes:
    """The refused calls of one agent, or of a token it no longer has."""
    return _REFUSED + counted


def unknown(address: str | None) -> bytes:
    """Credentials of nobody, by the address they came from."""
    return _UNKNOWN + (zlib.crc32((address or "").encode()) % UNKNOWN_BUCKETS).to_bytes(2, "big")


def attempts_at(account: str, address: str | None) -> bytes:
    """Attempts to sign in to one account, whether it exists or not, from one address."""
    return _ACCOUNT_AT + _digest(account, _place(address))


def attempts_by(account: str, browser: bytes) -> bytes:
    """Attempts to sign in to one account from one browser that got into it before."""
    return _ACCOUNT_BY + _digest(account, browser.hex())


def attempts_of(account: str) -> bytes:
    """Attempts to sign in to one account from wherever."""
    return _ACCOUNT + _digest(account)


def attempts_from(address: str) -> bytes:
    """Attempts to sign in from one address, to whatever account."""
    return _ADDRESS + _digest(_place(address))


def begun_from(address: str) -> bytes:
    """Ceremonies begun from one address, which prove nothing yet."""
    return _BEGUN + _digest(_place(address))


def asking(owner_id: str) -> bytes:
    """The questions to one human. Nothing is counted here: who holds it may count them where they are."""
    return _ASKING + _digest(owner_id)


def sign_ups_from(address: str) -> bytes:
    """Accounts asked for from one address."""
    return _SIGN_UP + _digest(_place(address))


def mails_to(mailbox: str, purpose: str) -> bytes:
    """Mails asked for that go to one address for one purpose, whoever asks."""
    return _MAIL + _digest(purpose, mailbox)


def _place(address: str | None) -> str:
    """Where an address is: itself, or in IPv6 the network of its customer. Raises `InvalidInput`."""
    found = find_address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _CUSTOMER), strict=False))
    if found is not None:
        return str(found)
    return "" if address is None else require_text(address, field="address")


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
