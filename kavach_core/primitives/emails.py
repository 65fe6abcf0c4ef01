"""E-mail addresses: kept as they were written, compared without regard to case."""

from __future__ import annotations

from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives.text import require_name

#: RFC 5321, section 4.5.3.1.3, without the angle brackets.
_LONGEST: Final = 254


def require_email(text: str, *, field: str = "email") -> str:
    """Return an address as it was written, without spaces around it. Whether it receives mail only mail can tell.

    Raises `InvalidInput` for what has not exactly one `@` with something on both sides, or holds spaces.
    """
    address = require_name(text, field=field, longest=_LONGEST + 2).strip()
    local, at, domain = address.partition("@")
    if not (local and at and domain) or "@" in domain or len(address) > _LONGEST or len(address.split()) != 1:
        raise InvalidInput("This is not an e-mail address.", field=field)
    return address


def email_key(address: str) -> str:
    """The form under which an address belongs to one account only."""
    return address.casefold()
