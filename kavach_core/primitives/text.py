"""Text from outside: what an identifier may hold, and how free text is made safe to store.

One NUL or lone surrogate fails a whole database batch, so nothing unclean gets that far.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, cast

from kavach_core.errors import InvalidInput

_DEEPEST: Final = 64
_REFUSED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Spaces, what has no width, and what only changes another character.
_UNSEEN: Final = frozenset({"Zs", "Cf", "Mn", "Me"})
#: Letters and symbols that are drawn as nothing (Unicode, Default_Ignorable_Code_Point), and the empty braille cell.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: Turn the reading direction of what follows (UAX 9): a name would show as another.
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_clean(text: str) -> bool:
    """Whether the text has no control characters, line separators or surrogates."""
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(character) in _REFUSED for character in text)


def require_text(text: str, *, field: str) -> str:
    """Return a text as it is. Raises `InvalidInput` for what is none."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not all type-checked
        raise InvalidInput("This must be a string.", field=field)
    return text


def require_clean(text: str, *, field: str, longest: int = 255) -> str:
    """Return an identifier or name as it is.

    Raises `InvalidInput` if it is empty, too long (in characters), or has control characters or surrogates.
    """
    require_text(text, field=field)
    if not text or len(text) > longest:
        raise InvalidInput(f"This must have 1 to {longest} characters.", field=field)
    if not is_clean(text):
        raise InvalidInput("Control characters and surrogates are not accepted here.", field=field)
    return text


def require_name(text: str, *, field: str, longest: int = 255) -> str:
    """Return a name that people will read: as `require_clean`, with something to be seen and in one direction.

    Raises `InvalidInput`.
    """
    require_clean(text, field=field, longest=longest)
    if not _reads(text):
        raise InvalidInput("This must show something, and in one direction.", field=field)
    return text


def _reads(text: str) -> bool:
    if text.isascii():
        return not text.isspace()
    return _TURNING.isdisjoint(text) and not all(map(_is_unseen, text))


def _is_unseen(character: str) -> bool:
    return character in _BLANK or unicodedata.category(character) in _UNSEEN


def escape(text: str, *, longest: int, field: str = "text") -> str:
    """Free text made safe to store and show: unclean and turning characters as `\\uXXXX`, cut to `longest`.

    Raises `InvalidInput` for what is no text.
    """
    require_text(text, field=field)
    if not (text.isascii() and text.isprintable()):
        text = "".join(_escaped(character) for character in text[:longest])
    return text[:longest]


def _escaped(character: str) -> str:
    is_refused = character in _TURNING or unicodedata.category(character) in _REFUSED
    return f"\\u{ord(character):04x}" if is_refused else character


def require_shallow(value: object, *, field: str, room: int = _DEEPEST) -> None:
    """Refuse lists and objects that are nested so deep that reading them back could overflow a stack.

    Raises `InvalidInput`.
    """
    if isinstance(value, Mapping):
        inner = cast("Iterable[object]", value.values())
    elif isinstance(value, list | tuple):
        inner = cast("Iterable[object]", value)
    else:
        return
    if room == 0:
        raise InvalidInput(f"This is nested more than {_DEEPEST} deep.", field=field)
    for each in inner:
        require_shallow(each, field=field, room=room - 1)


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and only ASCII: equal values give equal text, and any database stores it.

    Raises `InvalidInput` for what JSON cannot hold, NaN and infinities included.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput("This cannot be written as JSON.") from None


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
