"""What pages and assets are sent with, in every framework, and that nothing of a request turns into markup."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncGenerator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from kavach_core.pages import render
from kavach_core.pages.assets import NAMES, assets
from tests.http.frameworks import FRAMEWORKS, MOUNT, Framework
from tests.http.world import OpenWorld, worlds

PAGES: Final = ("/sign-in", "/recover", "/verify-email", "/account")
PACKAGE: Final = Path(__file__).parents[2] / "kavach_core" / "pages"
#: As a browser asks that opens a page.
OPENED: Final = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": "text/html"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.name)
async def open_anywhere(request: pytest.FixtureRequest, sqlite_database: str) -> AsyncGenerator[OpenWorld]:
    """Opens worlds in each framework in turn."""
    async with worlds(request.param, sqlite_database, None) as open_one:
        yield open_one


@pytest.fixture
async def open_world(sqlite_database: str) -> AsyncGenerator[OpenWorld]:
    """Opens worlds in one framework, for what is the same in all."""
    fastapi = next(each for each in FRAMEWORKS if each.name == "fastapi")
    assert isinstance(fastapi, Framework)
    async with worlds(fastapi, sqlite_database, None) as open_one:
        yield open_one


async def test_pages_load_nothing_foreign_are_not_kept_and_tell_nobody_where_they_are(open_anywhere: OpenWorld) -> None:
    world = await open_anywhere()
    browser = await world.browser()
    for path in PAGES:
        page = await world.call("GET", path, browser)
        assert page.status_code == 200, path
        headers = page.headers
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["content-security-policy"] == POLICY
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert headers["referrer-policy"] == ("same-origin" if path in ("/sign-in", "/account") else "no-referrer")
        assert "access-control-allow-origin" not in headers
        assert (await world.call("HEAD", path, browser)).content == b""


async def test_assets_are_asked_for_again_unless_their_version_is_named(open_anywhere: OpenWorld) -> None:
    world = await open_anywhere()
    for name, asset in assets().items():
        plain = await world.call("GET", f"/{name}", headers={"origin": "https://foreign.example"})
        assert (plain.status_code, plain.content) == (200, asset.body)
        assert plain.headers["cache-control"] == "no-cache" and plain.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in plain.headers
        etag = plain.headers["etag"]
        assert re.fullmatch(r'"[0-9a-f]{16}"', etag)
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            same = await world.call("GET", f"/{name}", headers={"if-none-match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag), known
            assert same.headers["cache-control"] == "no-cache"
        changed = await world.call("GET", f"/{name}", headers={"if-none-match": '"other"'})
        assert changed.status_code == 200
        versioned = await world.call("GET", f"/{asset.url}")
        assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
    # An old page must not make a cache keep the new file under the old version.
    assert (await world.call("GET", "/client.js?v=0123456789abcdef")).headers["cache-control"] == "no-cache"
    script = await world.call("GET", "/client.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await world.call("GET", "/style.css")).headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "path, leads_to",
    [
        ("/dashboard", "/dashboard"),
        ("/dashboard?a=1&b=%2F", "/dashboard?a=1&amp;b=%2F"),
        *(
            (bad, "account")
            for bad in ("//evil.example", "https://evil.example", "javascript:alert(1)", "/\\evil.example")
        ),
        *((bad, "account") for bad in ("/%2f/evil.example", "/%5cevil.example", "/\t/evil.example", "", "dashboard")),
        ('/"><script>alert(1)</script>', "/&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
    ],
)
async def test_next_leads_nowhere_else(open_world: OpenWorld, path: str, leads_to: str) -> None:
    world = await open_world()
    page = await world.call("GET", f"/sign-in?next={quote(path, safe='')}")
    assert f'data-next="{leads_to}"' in page.text
    assert "<script>" not in page.text
    signed_in = await world.call("GET", f"/sign-in?next={quote(path, safe='')}", await world.browser())
    assert f'href="{leads_to}">Continue</a>' in signed_in.text


async def test_next_given_twice_counts_for_nothing(open_world: OpenWorld) -> None:
    page = await (await open_world()).call("GET", "/sign-in?next=/a&next=/b")
    assert 'data-next="account"' in page.text


async def test_settings_and_ids_are_only_ever_text(open_world: OpenWorld) -> None:
    world = await open_world(rp_name="<b>&\"'Acme", theme="/static/own.css?a=1&b=2")
    nasty = "<img src=x onerror=alert(1)>"
    for path in PAGES:
        page = await world.call("GET", path, await world.browser(nasty))
        assert "&lt;b&gt;&amp;&#34;&#39;Acme" in page.text and "<b>&" not in page.text
        assert '<link rel="stylesheet" href="/static/own.css?a=1&amp;b=2">' in page.text
        assert nasty not in page.text


async def test_what_the_app_does_not_offer_is_not_on_the_page(open_world: OpenWorld) -> None:
    async def send(mail: object) -> None:
        raise AssertionError("nobody asked for mail")

    bare = await open_world(sign_up=False)
    assert "sign-up" not in (await bare.call("GET", "/sign-in")).text
    assert 'type="password"' not in (await bare.call("GET", "/sign-in")).text
    assert 'id="link-form"' not in (await bare.call("GET", "/recover")).text
    full = await open_world(passwords=True, send_email=send, base_url="http://localhost:8000")
    page = (await full.call("GET", "/sign-in")).text
    assert page.count('type="password"') == 2 and 'id="sign-up"' in page
    assert 'autocomplete="username webauthn"' in page
    assert 'id="link-form"' in (await full.call("GET", "/recover")).text


async def test_no_field_cuts_a_password(open_world: OpenWorld) -> None:
    """A browser cuts what is pasted without a word, and what was set on one page would not be right on another."""
    world = await open_world(passwords=True)
    browser = await world.browser()
    for path, fields in (("/sign-in", 2), ("/verify-email", 1), ("/account", 1)):
        page = (await world.call("GET", path, browser)).text
        found = re.findall(r"<input[^>]*type=\"password\"[^>]*>", page)
        assert len(found) == fields and not any("maxlength" in field for field in found), path


async def test_the_account_page_sends_strangers_to_sign_in_and_back(open_anywhere: OpenWorld) -> None:
    world = await open_anywhere()
    away = await world.call("GET", "/account?tab=2", headers=OPENED)
    assert (away.status_code, away.content) == (303, b"")
    assert away.headers["location"] == "sign-in?next=%2Fapi%2Fkavach%2Faccount%3Ftab%3D2"
    joined = httpx.URL(f"http://localhost{MOUNT}/account").join(away.headers["location"])
    assert joined.path == f"{MOUNT}/sign-in"
    ended = {"cookie": "kv_session=kv_ses_nonsense"}
    assert (await world.call("GET", "/account", ended)).status_code == 303
    agent = await world.agent()
    refused = await world.call("GET", "/account", headers={"authorization": f"Bearer {agent.token}"})
    assert refused.status_code == 403


async def test_a_suspended_human_gets_the_sign_in_page_and_not_the_account(open_world: OpenWorld) -> None:
    world = await open_world()
    browser = await world.browser("sue")
    await world.kavach.owners.suspend("sue")
    assert (await world.call("GET", "/account", browser)).status_code == 303
    assert (await world.call("GET", "/sign-in", browser)).status_code == 200


async def test_the_apps_own_users_see_their_agents_and_no_passkeys(open_world: OpenWorld) -> None:
    async def by_header(view: Any) -> str | None:
        return str(view.header("x-user"))

    world = await open_world(resolve_user=by_header)
    page = (await world.call("GET", "/account", headers={"x-user": "clerk_1"})).text
    assert "clerk_1" in page and 'id="agents"' in page
    assert 'id="passkeys"' not in page and 'id="sign-out"' not in page


async def test_grantable_lists_what_the_app_lets_its_humans_give(open_world: OpenWorld) -> None:
    async def of_owner(owner: str) -> list[str]:
        return [f"read:notes:{owner}"]

    limited = {"resource": "files", "actions": ["read"], "constraints": {"maxCallsPerHour": 5}}
    for grantable, expected in (
        (None, []),
        ([limited], [limited]),
        (of_owner, [{"resource": "notes:alice", "actions": ["read"], "constraints": {}}]),
    ):
        world = await open_world(grantable=grantable)
        assert (await world.call("GET", "/grantable", await world.human())).json() == expected


def test_the_package_holds_nothing_that_the_policy_would_refuse() -> None:
    for template in sorted((PACKAGE / "templates").glob("*.html")):
        text = template.read_text(encoding="utf-8")
        assert _Markup.faults(text) == [], template.name
        assert "|safe" not in text.replace(" ", "") and "autoescape" not in text, template.name
    for name in NAMES:
        text = (PACKAGE / "assets" / name).read_text(encoding="utf-8")
        for refused in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", ".style.", ".toJSON("):
            used = [line for line in text.splitlines() if refused in line and not line.lstrip().startswith(("/*", "*"))]
            assert used == [], (name, refused)
    served = {path.name for path in (PACKAGE / "assets").iterdir()}
    assert served == set(NAMES)


def test_the_look_for_inline_script_finds_it() -> None:
    bad = '<p onclick="a()" style="color:red"></p><script>1</script><style>p{}</style><a href="javascript:1">x</a>'
    assert len(_Markup.faults(bad)) == 5


async def test_without_jinja2_the_pages_say_so_and_the_api_goes_on(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render._environment.cache_clear()
    world = await open_world()
    assert (await world.call("GET", "/sign-in")).status_code == 503
    assert "kavach-asgi[pages]" in caplog.text
    assert (await world.call("GET", "/client.js")).status_code == 200
    assert (await world.call("GET", "/agents", await world.human())).status_code == 200


async def test_from_another_site_the_account_page_is_asked_for_once_more_before_the_sign_in(
    open_world: OpenWorld,
) -> None:
    world = await open_world()
    first = await world.call("GET", "/account?a=1", headers={**OPENED, "sec-fetch-site": "cross-site"})
    assert first.status_code == 200 and 'url=/api/kavach/account?a=1"' in first.text
    assert "script" not in first.text
    second = await world.call("GET", "/account?a=1", headers={**OPENED, "sec-fetch-site": "same-origin"})
    assert second.status_code == 303


class _Markup(HTMLParser):
    """Collects inline script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name.startswith("on") or name == "style" or (value or "").startswith("javascript:"):
                self.found.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and not any(name == "src" for name, _ in attrs)):
            self.found.append(tag)

    @classmethod
    def faults(cls, text: str) -> list[str]:
        """What is inline in some markup."""
        parser = cls()
        parser.feed(text)
        return parser.found
