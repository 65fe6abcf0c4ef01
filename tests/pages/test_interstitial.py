"""The page for browsers that come from another site: once, only for them, and without anything to run."""

from __future__ import annotations

import pytest

from kavach_core.api.view import View
from kavach_core.pages.interstitial import interstitial

_CROSS = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}


def _view(path: str = "/account", query: str = "", method: str = "GET", **headers: str) -> View:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return View(method=method, path=path, query=query, headers=raw)


def test_a_navigation_from_another_site_without_the_cookie_is_sent_here_once_more() -> None:
    reply = interstitial(_view("/a b/é", 'q="><script>&x=1', **_CROSS), "kv_session")
    assert reply is not None and reply.status == 200
    text = reply.body.decode()
    assert 'content="0;url=/a%20b/%C3%A9?q=%22%3E%3Cscript%3E&amp;x=1"' in text
    assert "<script" not in text
    headers = dict(reply.all_headers())
    assert headers[b"content-security-policy"] == b"default-src 'none'; frame-ancestors 'none'"
    assert headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(
    "view",
    [
        _view(**{**_CROSS, "sec-fetch-site": "same-origin"}),
        _view(**{**_CROSS, "sec-fetch-site": "same-site"}),
        _view(**{**_CROSS, "sec-fetch-site": "none"}),
        _view(**{**_CROSS, "sec-fetch-mode": "cors"}),
        _view(**{**_CROSS, "cookie": "a=b; kv_session=x"}),
        _view(method="POST", **_CROSS),
        _view("//evil.example", **_CROSS),
        _view(),
    ],
    ids=["second time", "sibling", "typed", "fetch", "has the cookie", "post", "leads elsewhere", "no browser"],
)
def test_nobody_else_gets_it(view: View) -> None:
    assert interstitial(view, "kv_session") is None
