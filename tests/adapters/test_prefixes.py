"""An app below a prefix: a mount, its server, or a proxy that takes it away. Every link keeps the prefix."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kavach_core.config import Email
from kavach_core.testing_passkeys import SoftAuthenticator
from tests.http.frameworks import FRAMEWORKS, MOUNT
from tests.http.world import ORIGIN, World, worlds


class Case(NamedTuple):
    """An app below a prefix."""

    world: World
    client: httpx.AsyncClient


PAGE = {"accept": "text/html"}
FROM_ELSEWHERE = {**PAGE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
#: What stands before the path when it gets to the server, and the app there.
PLACES: dict[str, tuple[str, Callable[[Any], httpx.ASGITransport]]] = {
    "mounted": ("/sub", lambda app: httpx.ASGITransport(Starlette(routes=[Mount("/sub", app)]))),
    "told by the server": ("/sub", lambda app: httpx.ASGITransport(app, root_path="/sub")),
    "taken away by a proxy": ("", lambda app: httpx.ASGITransport(app, root_path="/sub")),
}


@pytest.fixture
async def mails() -> list[Email]:
    return []


#: Every framework below a mount, and one of them everywhere.
CASES = [(framework, "mounted") for framework in FRAMEWORKS] + [(FRAMEWORKS[0], name) for name in list(PLACES)[1:]]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name} {case[1]}")
async def case(request: pytest.FixtureRequest, sqlite_database: str, mails: list[Email]) -> AsyncGenerator[Case]:
    """An app, and a client of it by the paths that get to its server."""

    async def send(mail: Email) -> None:
        mails.append(mail)

    framework, name = request.param
    prefix, transport = PLACES[name]
    async with worlds(framework, sqlite_database, None) as open_world:
        guard = {"protect": ["/dashboard/:path*"], "login": "/api/kavach/sign-in"}
        world = await open_world(guard=guard, send_email=send, base_url=ORIGIN)
        async with httpx.AsyncClient(transport=transport(world.app), base_url=ORIGIN + prefix) as client:
            yield Case(world, client)


async def test_whoever_is_not_signed_in_gets_to_the_page_and_back(case: Case) -> None:
    place = case.client
    sent = await place.get("/dashboard/a%2Fb?q=%2F", headers=PAGE)
    page, _, back = sent.headers["location"].partition("?next=")
    assert (sent.status_code, page) == (303, f"/sub{MOUNT}/sign-in")
    assert unquote(back) == "/sub/dashboard/a%2Fb?q=%2F"
    opened = await place.get(f"{MOUNT}/sign-in?next={back}", headers=PAGE)
    assert opened.status_code == 200 and 'data-next="/sub/dashboard/a%2Fb?q=%2F"' in opened.text
    again = await place.get("/dashboard/a%2Fb", headers=FROM_ELSEWHERE)
    assert again.status_code == 200 and 'content="0;url=/sub/dashboard/a%2Fb"' in again.text
    account = await place.get(f"{MOUNT}/account", headers=PAGE)
    assert account.headers["location"] == f"sign-in?next=%2Fsub{MOUNT.replace('/', '%2F')}%2Faccount"


async def test_mails_lead_below_the_prefix(case: Case, mails: list[Email]) -> None:
    world, place = case
    page = {"origin": ORIGIN}
    asked = await place.post(f"{MOUNT}/passkey/register/begin", headers=page, json={"email": "ada@example.org"})
    answer = SoftAuthenticator().create(asked.json(), ORIGIN)
    made = await place.post(f"{MOUNT}/passkey/register/finish", headers=page, json=answer)
    await world.kavach.auth.outbox.close()
    assert mails.pop().link.startswith(f"{ORIGIN}/sub{MOUNT}/verify-email#token=")
    key = await world.service("sessions:write")
    handed = await place.post(f"{MOUNT}/users/{made.json()['user']['id']}/recovery", headers=key)
    assert handed.json()["link"].startswith(f"{ORIGIN}/sub{MOUNT}/recover#token=")


async def test_a_prefix_that_the_client_chose_leads_to_no_other_site(sqlite_database: str) -> None:
    async with worlds(FRAMEWORKS[0], sqlite_database, None) as open_world:
        world = await open_world(guard={"protect": ["/dashboard/:path*"], "login": "/login"})
        tenants = Starlette(routes=[Mount("/{tenant:path}", world.app)])
        transport = httpx.ASGITransport(tenants)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            sent = await client.get(f"{ORIGIN}//evil.example/dashboard/x", headers=PAGE)
        assert sent.status_code == 303 and sent.headers["location"] == "/login"
