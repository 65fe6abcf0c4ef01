"""What a browser gets that comes from another site without its session: a page that sends it here once more.

A `SameSite=Strict` cookie stays behind when a link on another site is followed. The second request comes from this very
page, so it brings the cookie; it says `Sec-Fetch-Site: same-origin`, so there is no third one.
"""

from __future__ import annotations

from html import escape
from typing import Final

from kavach_core.api.operation import Reply
from kavach_core.api.view import View
from kavach_core.pages.policy import HTML, bare_headers

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0;url={url}">
<title>One moment</title>
</head>
<body><p><a href="{url}">Continue</a></p></body>
</html>
"""


def interstitial(view: View, cookie_name: str) -> Reply | None:
    """The page for a browser that opens this URL from another site and shows no such cookie; None for all others."""
    if view.method != "GET" or view.is_websocket or view.cookies(cookie_name):
        return None
    told = [view.all(f"sec-fetch-{what}") for what in ("site", "mode", "dest")]
    if told not in ([["cross-site"], ["navigate"], ["document"]], [["cross-site"], ["navigate"], []]):
        return None
    target = view.way_back
    if target is None:
        return None
    body = _PAGE.format(url=escape(target)).encode()
    return Reply(status=200, body=body, content_type=HTML, headers=bare_headers())
