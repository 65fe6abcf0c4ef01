"""What a request presents: a bearer in its one `Authorization` header, or session cookies. Nothing is verified here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kavach_core.api.view import View
from kavach_core.errors import Unauthenticated
from kavach_core.primitives.reasons import Reason

#: A browser that sends more different ones is being played with.
_MOST_COOKIES: Final = 4


def bearer_of(view: View) -> str | None:
    """The bearer token of a request, or None without an `Authorization` header (RFC 6750, section 2.1).

    Raises `Unauthenticated` for two headers, another scheme, or anything but exactly one token.
    """
    headers = view.all("authorization")
    if not headers:
        return None
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token or not token.isascii() or len(token.split()) != 1:
        raise bad_credential(Reason.MALFORMED_CREDENTIAL)
    return token.strip(" ")


def presented(view: View) -> str | None:
    """The bearer token of a request as `bearer_of` reads it, with an empty one in place of what is no token."""
    try:
        return bearer_of(view)
    except Unauthenticated:
        return ""


def session_cookies(view: View, name: str) -> Sequence[str]:
    """The session cookies of a request; none of too many, of which some would not be looked at."""
    found = view.cookies(name)
    return found if len(found) <= _MOST_COOKIES else ()


def bad_credential(reason: Reason) -> Unauthenticated:
    """The error for a credential that does not hold."""
    return Unauthenticated(reason.sentence, reason=reason.value)
