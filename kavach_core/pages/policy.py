"""The headers that pages and their assets are sent with: what a browser may load, tell on and keep."""

from __future__ import annotations

from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

HTML: Final = b"text/html; charset=utf-8"

#: Scripts and styles from this origin alone, none inline, and no text that turns into script. Forms are the scripts' to
#: send: before those are there, or without, a browser would put what was typed into the address, and so into logs.
_PAGE: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
#: For a page that loads nothing at all.
_BARE: Final = b"default-src 'none'; frame-ancestors 'none'"
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")


def page_headers(*, url_is_secret: bool = False) -> Headers:
    """The headers of a page; one whose URL may carry a token tells it to nobody."""
    referrer = b"no-referrer" if url_is_secret else b"same-origin"
    return ((b"content-security-policy", _PAGE), (b"referrer-policy", referrer), _NO_SNIFF)


def bare_headers() -> Headers:
    """The headers of a page without script, style or anything else to load."""
    return ((b"content-security-policy", _BARE), (b"referrer-policy", b"same-origin"), _NO_SNIFF)


def asset_headers(etag: str, *, is_versioned: bool) -> Headers:
    """The headers of an asset: kept for ever under its version, else asked for again each time."""
    keep = b"public, max-age=31536000, immutable" if is_versioned else b"no-cache"
    return ((b"cache-control", keep), (b"etag", etag.encode()), _NO_SNIFF)
