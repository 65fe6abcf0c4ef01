"""The two cookies of Kavach's own sign-in: HttpOnly, SameSite=Strict, for the whole site and no other domain."""

from __future__ import annotations

from typing import Final

from kavach_core.capabilities.sessions import Session
from kavach_core.config import Config
from kavach_core.primitives.browser import BROWSER_MAX_AGE, Browser, SetsCookies

Header = tuple[bytes, bytes]

#: Browsers keep no cookie for longer (RFC 6265bis, section 5.5).
_LONGEST: Final = 400 * 24 * 3600


def session_cookie(config: Config, session: Session) -> Header:
    """The header that signs a browser in: a session that was just started, with its token."""
    return _set(config, config.session_cookie, _token_of(session), min(session.expires_in, _LONGEST))


def no_session_cookie(config: Config) -> Header:
    """The header that makes a browser forget its session."""
    return _set(config, config.session_cookie, "", 0)


def set_session_on(response: SetsCookies, config: Config, session: Session | None) -> None:
    """Send the cookie of `session_cookie` with a response of a framework; of `no_session_cookie` for no session."""
    response.set_cookie(
        key=config.session_cookie,
        value="" if session is None else _token_of(session),
        max_age=0 if session is None else min(session.expires_in, _LONGEST),
        path="/",
        secure=config.is_https,
        httponly=True,
        samesite="strict",
    )


def browser_cookie(config: Config, browser: Browser) -> tuple[Header, ...]:
    """The header that gives a new browser its name; nothing for one that has it."""
    return (_set(config, browser.cookie_name, browser.nonce, BROWSER_MAX_AGE),) if browser.is_new else ()


def _token_of(session: Session) -> str:
    if session.token is None:
        raise RuntimeError("Only a session that was just started has its token.")
    return session.token


def _set(config: Config, name: str, value: str, max_age: int) -> Header:
    secure = "; Secure" if config.is_https else ""
    return b"set-cookie", f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}".encode()
