"""E-mail addresses: kept as they were written, and compared only as far as one mailbox surely is the other."""

from __future__ import annotations

import unicodedata
from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives.hosts import ascii_host
from kavach_core.primitives.text import require_name

#: RFC 5321, section 4.5.3.1.3, without the angle brackets.
_LONGEST: Final = 254
#: Nothing but A to Z: what else has a lower case may be another mailbox, and `ß` has no upper one.
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def require_email(text: str, *, field: str = "email") -> str:
    """Return an address as it was written, without spaces around it. Whether it receives mail only mail can tell.

    Raises `InvalidInput` for what has not exactly one `@` with something on both sides, a domain that can be one, or
    holds spaces.
    """
    address = require_name(text, field=field, longest=_LONGEST + 2).strip()
    local, at, domain = address.partition("@")
    if not (local and at and domain) or "@" in domain or len(address) > _LONGEST or len(address.split()) != 1:
        raise InvalidInput("This is not an e-mail address.", field=field)
    if ascii_host(domain) is None:
        raise InvalidInput("This is not an e-mail address: there can be no such domain.", field=field)
    return address


def email_key(address: str) -> str:
    """The form under which an address belongs to one account only.

    The local part is lowered before it is composed (NFC): the Kelvin sign composes to `K`, and is no `k`. Whoever is
    found by this form is written to as they wrote their address, never as somebody else did.
    """
    local, _, domain = address.partition("@")
    return f"{unicodedata.normalize('NFC', local.translate(_LOWER))}@{_ascii(domain)}"


def mailable(address: str) -> str:
    """The address for a mailer: its domain in ASCII, so that every mailer sends to the host that was compared."""
    local, _, domain = address.partition("@")
    return address if domain.isascii() else f"{local}@{_ascii(domain)}"


def _ascii(domain: str) -> str:
    return ascii_host(domain) or domain
