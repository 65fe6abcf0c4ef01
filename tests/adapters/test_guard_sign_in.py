"""`/dashboard/:path*` for people: signed in by Kavach they pass, by a link from elsewhere too; others are sent on."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from kavach_core.testing_passkeys import SoftAuthenticator
from tests.http.world import ORIGIN, Headers, OpenWorld, World, error_of

PAGE = {"accept": "text/html,application/xhtml+xml;q=0.9"}
#: What a browser adds when somebody follows a link on another site.
FROM_ELSEWHERE = {**PAGE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
PATH = "/dashboard/reports?year=2026&q=<b>"


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world(guard={"protect": ["/dashboard/:path*"], "login": "/login"}, passwords=True)


async def signed_in(world: World) -> Headers:
    """The cookie of somebody who made a passkey over HTTP, as their browser keeps it."""
    page = {"origin": ORIGIN}
    asked = await world.call("POST", "/passkey/register/begin", page, json={"email": "ada@example.org"})
    page["cookie"] = asked.headers["set-cookie"].partition(";")[0]
    answer = SoftAuthenticator().create(asked.json(), ORIGIN)
    made = await world.call("POST", "/passkey/register/finish", page, json=answer)
    assert made.status_code == 201, made.text
    return {"cookie": made.headers["set-cookie"].partition(";")[0]}


async def test_a_passkey_opens_the_dashboard_and_signing_out_closes_it(world: World) -> None:
    ada = await signed_in(world)
    inside = await world.visit("GET", "/dashboard/x", {**PAGE, **ada})
    assert inside.status_code == 200 and inside.json()["kind"] == "human" and inside.json()["id"].startswith("usr_")
    assert (await world.call("POST", "/sign-out", {**ada, "origin": ORIGIN})).status_code == 204
    outside = await world.visit("GET", "/dashboard/x", {**PAGE, **ada})
    assert (outside.status_code, outside.headers["location"]) == (303, "/login?next=%2Fdashboard%2Fx")


async def test_browsers_are_sent_to_sign_in_and_back_and_programs_get_401(world: World) -> None:
    sent = await world.visit("GET", PATH, PAGE)
    assert sent.status_code == 303
    login, _, back = sent.headers["location"].partition("?next=")
    assert login == "/login" and unquote(back).startswith("/dashboard/reports?year=2026")
    assert error_of(await world.visit("GET", PATH)) == (401, "UNAUTHENTICATED")
    assert error_of(await world.visit("POST", PATH, PAGE)) == (401, "UNAUTHENTICATED")


async def test_a_link_on_another_site_finds_the_session_that_stayed_behind(world: World) -> None:
    first = await world.visit("GET", PATH, FROM_ELSEWHERE)
    assert first.status_code == 200 and first.headers["content-type"].startswith("text/html")
    assert first.headers["cache-control"] == "no-store"
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert (
        "<script" not in first.text and "<b>" not in first.text and 'content="0;url=/dashboard/reports?' in first.text
    )
    # The page sends the browser here once more; that request comes from this site and brings the cookie.
    second = {**FROM_ELSEWHERE, "sec-fetch-site": "same-origin"}
    assert (await world.visit("GET", PATH, {**second, **await signed_in(world)})).status_code == 200
    assert (await world.visit("GET", PATH, second)).status_code == 303, "who is not signed in is sent on: no loop"


@pytest.mark.parametrize(
    "change",
    [
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-mode": "cors"},
        {"sec-fetch-site": "same-site"},
        {"accept": "application/json"},
        {"authorization": "Bearer kv_ses_x"},
        {"cookie": "kv_session=kv_ses_ended"},
    ],
    ids=str,
)
async def test_nobody_else_gets_that_page(world: World, change: dict[str, Any]) -> None:
    answer = await world.visit("GET", PATH, {**FROM_ELSEWHERE, **change})
    assert answer.status_code in (303, 401) and "http-equiv" not in answer.text


async def test_a_recovery_session_is_nobody(world: World) -> None:
    ada = await signed_in(world)
    codes = (await world.call("POST", "/recovery/codes", {**ada, "origin": ORIGIN})).json()["codes"]
    used = await world.call("POST", "/recovery/use", {"origin": ORIGIN}, json={"code": codes[0]})
    recovering = {"cookie": used.headers["set-cookie"].partition(";")[0]}
    assert (await world.visit("GET", PATH, {**PAGE, **recovering})).status_code == 303
    assert error_of(await world.visit("GET", "/whoami", recovering))[0] == 401
