"""Which passwords are taken: long enough, not a well-known one, nothing else (NIST SP 800-63B-4, section 3.1.1.2)."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives.text import require_text

SHORTEST: Final = 8
#: No password is cut off; this only bounds what is hashed.
LONGEST: Final = 1024

#: What is tried first against every account, compared without case and without digits and signs at its end.
_LIST: Final = "well_known.txt"
_SEQUENCES: Final = ("01234567890123456789", "98765432109876543210")


def require_password(password: str, *, email: str, app: str) -> str:
    """Return a new password as it is stored and compared: Unicode, normalised (NFC).

    Raises `InvalidInput` if it is shorter than 8 or longer than 1,024 characters, or the first that others would try.
    """
    password = normalised(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(f"A password has {SHORTEST} to {LONGEST} characters.", field="password")
    if _is_obvious(password.casefold(), email.casefold(), app.casefold()):
        raise InvalidInput("This password is among the first that others would try.", field="password")
    return password


def normalised(password: str) -> str:
    """The one form of a password, however the keyboard composed it.

    Raises `InvalidInput` for what is no text, and for lone surrogates.
    """
    try:
        require_text(password, field="password").encode()
    except UnicodeEncodeError:
        raise InvalidInput("This password holds characters that are none.", field="password") from None
    return unicodedata.normalize("NFC", password)


def _is_obvious(password: str, email: str, app: str) -> bool:
    stem = password.rstrip("0123456789!.?*#$_-")
    own = {email, email.partition("@")[0], app}
    return (
        len(set(password)) <= 2
        or any(password in sequence for sequence in _SEQUENCES)
        or not _well_known().isdisjoint({password, stem})
        or not own.isdisjoint({password, stem})
    )


@cache
def _well_known() -> frozenset[str]:
    return frozenset((files(__package__ or "") / _LIST).read_text(encoding="utf-8").split())
