"""The browser behind a ceremony: a random value in a cookie, so that what one browser began no other ends."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol


class SetsCookies(Protocol):
    """A response of any of the frameworks."""

    def set_cookie(
        self,
        *,
        key: str,
        value: str,
        max_age: int,
        path: str,
        secure: bool,
        httponly: bool,
        samesite: Literal["strict"],
    ) -> None:
        """Add a `Set-Cookie` header."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """One browser. Its `nonce` is a secret of the cookie; rows keep only the hash."""

    nonce: str = field(repr=False)
    #: Whether the browser does not have the cookie yet.
    is_new: bool
    cookie_name: str
    secure: bool

    @property
    def hash(self) -> bytes:
        """What a row keeps of it: the SHA-256."""
        return hashlib.sha256(self.nonce.encode("ascii")).digest()

    def set_on(self, response: SetsCookies) -> None:
        """Send the cookie with a response of Starlette, FastAPI, Litestar or Quart, if the browser lacks it."""
        if self.is_new:
            response.set_cookie(
                key=self.cookie_name,
                value=self.nonce,
                max_age=BROWSER_MAX_AGE,
                path="/",
                secure=self.secure,
                httponly=True,
                samesite="strict",
            )


def browser_from(cookies: list[str], *, cookie_name: str, secure: bool) -> Browser:
    """The browser that sent these values of the cookie; a new one unless there is exactly one that can be ours."""
    fitting = [value for value in cookies if _NONCE.fullmatch(value)]
    is_new = len(cookies) != 1 or len(fitting) != 1
    return Browser(
        nonce=secrets.token_urlsafe(32) if is_new else fitting[0],
        is_new=is_new,
        cookie_name=cookie_name,
        secure=secure,
    )


#: A year, in seconds.
BROWSER_MAX_AGE: Final = 365 * 24 * 3600
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
