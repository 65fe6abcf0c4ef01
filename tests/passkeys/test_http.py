"""The ceremonies over HTTP: cookies for browsers and tokens for programs, and no page of another site has a say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from kavach_core import Session
from kavach_core.config import Email
from kavach_core.testing import FrozenClock
from kavach_core.testing_passkeys import SoftAuthenticator
from tests.http import app_starlette
from tests.http.ceremonies import passkeys_of, recovering
from tests.http.frameworks import MOUNT, Framework
from tests.http.world import ORIGIN, OpenWorld, World, bearer, error_of, worlds

STARLETTE = Framework(name="starlette", build=app_starlette.build)
REFUSED = (403, "ORIGIN_REFUSED")
BEGINS = ["/passkey/register/begin", "/passkey/sign-in/begin"]
FINISHES = ["/passkey/register/finish", "/passkey/sign-in/finish"]


@pytest.fixture
async def open_world(sqlite_database: str, clock: FrozenClock) -> AsyncGenerator[OpenWorld]:
    async with worlds(STARLETTE, sqlite_database, clock) as open_one:
        yield open_one


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world()


class Page:
    """A page of the app in a browser that keeps its cookies, beside an authenticator."""

    def __init__(self, world: World, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.authenticator = SoftAuthenticator()
        transport = httpx.ASGITransport(app=world.app, client=("192.0.2.1", 40_000))
        headers = {"origin": origin, "user-agent": "Browser"}
        self.client = httpx.AsyncClient(transport=transport, base_url=origin, headers=headers)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.client.post(MOUNT + path, json=body)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(MOUNT + path)

    async def register(self, **who: str) -> httpx.Response:
        options = (await self.post("/passkey/register/begin", who)).json()
        return await self.post("/passkey/register/finish", self.authenticator.create(options, self.origin))

    async def sign_in(self) -> httpx.Response:
        options = (await self.post("/passkey/sign-in/begin")).json()
        return await self.post("/passkey/sign-in/finish", self.authenticator.get(options, self.origin))

    async def verify(self) -> httpx.Response:
        options = (await self.post("/passkey/verify/begin")).json()
        return await self.post("/passkey/verify/finish", self.authenticator.get(options, self.origin))

    async def add(self, authenticator: SoftAuthenticator) -> httpx.Response:
        options = (await self.post("/passkeys/begin")).json()
        return await self.post("/passkeys/finish", authenticator.create(options, self.origin))


async def test_a_browser_signs_up_in_and_out_by_cookies_alone(world: World) -> None:
    page = Page(world)
    made = await page.register(email="ada@example.org", displayName="Ada")
    assert made.status_code == 201 and "kv_ses_" not in made.text
    cookie = re.sub(r"kv_ses_\w+", "TOKEN", made.headers["set-cookie"])
    assert cookie == "kv_session=TOKEN; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"
    user, session = made.json()["user"], made.json()["session"]
    assert user == {
        "id": session["userId"],
        "email": "ada@example.org",
        "emailVerified": False,
        "name": "Ada",
        "createdAt": session["createdAt"],
    }
    assert (session["token"], session["method"], session["isFresh"], session["user"]) == ("", "passkey", True, user)
    assert (session["address"], session["userAgent"]) == ("192.0.2.1", "Browser")
    assert (await page.get("/session")).json() == session
    old = page.client.cookies["kv_session"]
    signed_in = await page.sign_in()
    assert signed_in.status_code == 200 and page.client.cookies["kv_session"] != old
    assert signed_in.json()["session"]["id"] != session["id"]
    assert (await page.post("/sign-out")).status_code == 204
    assert error_of(await page.get("/session")) == (401, "UNAUTHENTICATED")


async def test_a_program_gets_the_token_in_the_body(world: World) -> None:
    page = Page(world)
    del page.client.headers["origin"]
    made = (await page.register()).json()
    page.client.cookies.clear()
    answer = await world.call("GET", "/session", bearer(made["session"]["token"]))
    assert answer.json()["token"] == made["session"]["token"] and answer.json()["user"] == made["user"]


async def test_the_name_of_a_browser_is_set_once(world: World) -> None:
    page = Page(world)
    first = await page.post("/passkey/sign-in/begin")
    assert re.fullmatch(
        r"kv_browser=[\w-]{43}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict", first.headers["set-cookie"]
    )
    assert "set-cookie" not in (await page.post("/passkey/register/begin", {})).headers
    await page.register()
    page.client.cookies.delete("kv_browser")
    options = (await page.post("/passkey/sign-in/begin")).json()
    page.client.cookies.delete("kv_browser")
    finish = await page.post("/passkey/sign-in/finish", page.authenticator.get(options, ORIGIN))
    assert error_of(finish) == (400, "CHALLENGE_UNKNOWN")


async def test_on_https_the_cookies_are_locked_to_the_host(open_world: OpenWorld) -> None:
    page = Page(await open_world(base_url="https://app.example", secret="s" * 32), "https://app.example")
    made = await page.register()
    assert made.headers["set-cookie"].startswith("__Host-kv_session=") and "; Secure" in made.headers["set-cookie"]
    assert "__Host-kv_browser" in page.client.cookies


@pytest.mark.parametrize("path", BEGINS + FINISHES)
async def test_no_page_of_another_site_begins_or_ends_a_ceremony(world: World, path: str) -> None:
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    ):
        assert error_of(await world.call("POST", path, headers, json={})) == REFUSED, headers
    for headers in ({}, {"origin": ORIGIN}, {"sec-fetch-site": "same-origin"}):
        answer = await world.call("POST", path, headers, json={})
        assert answer.status_code in (200, 400) and "ORIGIN" not in answer.text, headers


@pytest.mark.parametrize("path", BEGINS + FINISHES)
async def test_a_form_of_any_page_is_no_json(world: World, path: str) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = await world.call("POST", path, {"origin": ORIGIN, "content-type": media_type}, content=b"{}")
        assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_odd_bodies_are_a_clean_400_and_large_ones_413(world: World) -> None:
    as_json = {"content-type": "application/json"}
    human = await world.human()
    for path in [*FINISHES, "/passkey/verify/finish", "/passkeys/finish"]:
        for body in ("[]", "null", "7", '"text"', "{", "", "{}", '{"id":7,"rawId":7,"type":7,"response":7}'):
            answer = await world.call("POST", path, human, content=body, headers=as_json)
            assert error_of(answer) == (400, "INVALID_INPUT"), body
        deep = '{"id":"A","rawId":"A","type":"public-key","response":{"clientDataJSON":' + "[" * 300 + "]" * 300 + "}}"
        answer = await world.call("POST", path, human, content=deep, headers=as_json)
        assert error_of(answer) == (400, "PASSKEY_REJECTED")
        large = json.dumps({"id": "A", "response": {"transports": ["usb"] * 20_000}})
        answer = await world.call("POST", path, human, content=large, headers=as_json)
        assert error_of(answer) == (413, "BODY_TOO_LARGE")


async def test_a_page_on_an_address_is_told_where_to_go(world: World) -> None:
    for path in BEGINS:
        answer = await world.call("POST", path, {"origin": "http://127.0.0.1:8000"}, json={})
        assert error_of(answer) == (400, "INVALID_INPUT") and "localhost" in answer.json()["error"]["message"]


async def test_a_taken_address_is_409_and_a_closed_door_403(open_world: OpenWorld) -> None:
    world, closed = await open_world(), await open_world(sign_up=False)
    await Page(world).register(email="ada@example.org")
    answer = await Page(world).post("/passkey/register/begin", {"email": "ADA@example.org"})
    assert error_of(answer) == (409, "EMAIL_TAKEN")
    for path, body in (("begin", {}), ("finish", {"id": "A", "rawId": "A", "type": "public-key", "response": {}})):
        answer = await Page(closed).post(f"/passkey/register/{path}", body)
        assert error_of(answer) == (403, "SIGN_UP_CLOSED")


class Mailbox(list[Email]):
    """Everything an app mailed."""

    async def send(self, mail: Email) -> None:
        self.append(mail)

    async def of(self, world: World) -> list[tuple[str, str]]:
        """Purpose and address of what was mailed since."""
        await world.kavach.auth.outbox.close()
        sent, self[:] = [(mail.purpose, mail.to) for mail in self], []
        return sent


async def verified(world: World, mailbox: Mailbox, email: str) -> Page:
    """Somebody who signed up and answered the mail to their address."""
    page = Page(world)
    await page.register(email=email)
    await world.kavach.auth.outbox.close()
    token = mailbox.pop().link.partition("#token=")[2]
    assert (await page.post("/verify-email", {"token": token})).json()["emailVerified"]
    return page


async def test_a_way_back_is_mailed_to_the_address_on_record_and_to_no_other(open_world: OpenWorld) -> None:
    """Folding `ß` to `ss`, or mailing to what the one who asks has typed, hands the account over."""
    mailbox = Mailbox()
    world = await open_world(send_email=mailbox.send, base_url=ORIGIN)
    await verified(world, mailbox, "alice@strasse.example")
    await verified(world, mailbox, "bob@straße.example")
    for asked, mailed in (
        ("ALICE@Strasse.example", [("recovery", "alice@strasse.example")]),
        ("alice@straße.example", []),
        ("Bob@STRAßE.example", [("recovery", "bob@xn--strae-oqa.example")]),
        ("bob@strasse.example", []),
    ):
        assert (await Page(world).post("/recovery/link", {"email": asked})).status_code == 202
        assert await mailbox.of(world) == mailed, asked


async def test_signing_in_again_ends_the_session_that_the_browser_had_and_no_other(world: World) -> None:
    """A copy of the old cookie would outlive it for a month, and nobody else could use it (OWASP ASVS 7.2.4)."""
    page, elsewhere = Page(world), Page(world)
    await page.register()
    elsewhere.authenticator = page.authenticator
    await elsewhere.sign_in()
    copied = Page(world)
    copied.client.cookies = httpx.Cookies(page.client.cookies)
    await page.sign_in()
    assert [(await each.get("/session")).status_code for each in (page, elsewhere, copied)] == [200, 200, 401]
    assert len((await page.get("/sessions")).json()) == 2
    program = {"cookie": "; ".join(f"{name}={value}" for name, value in page.client.cookies.items())}
    (code, *_) = await world.kavach.auth.recovery.issue_codes(await _session_of(world, page))
    used = await world.call("POST", "/recovery/use", program, json={"code": code})
    assert used.status_code == 200 and (await page.get("/session")).status_code == 200, (
        "a program may go on with its token"
    )


async def test_signing_in_ends_a_recovery_that_the_browser_had_begun(world: World) -> None:
    page = Page(world)
    await page.register()
    (code, *_) = await world.kavach.auth.recovery.issue_codes(await _session_of(world, page))
    await page.post("/recovery/use", {"code": code})
    copied = Page(world)
    copied.client.cookies = httpx.Cookies(page.client.cookies)
    assert (await copied.post("/passkeys/begin")).status_code == 200
    assert (await page.sign_in()).status_code == 200 and (await page.get("/session")).status_code == 200
    assert (await copied.post("/passkeys/begin")).status_code == 401


async def _session_of(world: World, page: Page) -> Session:
    return await world.kavach.sessions.get((await page.get("/session")).json()["id"])


async def test_who_has_an_account_is_told_where_they_signed_up_and_not_where_the_one_who_asks_says(
    open_world: OpenWorld, cheap_passwords: None
) -> None:
    """Only its owner may learn that an account exists, and a local part may be another one in another case."""
    mailbox = Mailbox()
    world = await open_world(send_email=mailbox.send, base_url=ORIGIN, passwords=True, verify_email=True)
    await verified(world, mailbox, "Ada@Example.org")
    asked = {"email": " aDA@example.ORG ", "password": "correct horse battery"}
    assert (await Page(world).post("/sign-up/email", asked)).status_code == 202
    assert await mailbox.of(world) == [("account_exists", "Ada@Example.org")]
    page = Page(world)
    await page.register(email="ADA@example.org")
    assert await mailbox.of(world) == [("account_exists", "Ada@Example.org")]
    assert (await page.post("/verify-email/send", {})).status_code == 202
    assert await mailbox.of(world) == [("account_exists", "Ada@Example.org")]


async def test_with_a_mailer_signing_up_with_a_passkey_never_tells_who_is_known(open_world: OpenWorld) -> None:
    mailbox = Mailbox()
    world = await open_world(send_email=mailbox.send, base_url=ORIGIN)
    await verified(world, mailbox, "ada@example.org")
    begun, made = list[httpx.Response](), list[httpx.Response]()
    for email in ("ada@example.org", "nobody@example.org"):
        page = Page(world)
        begun.append(await page.post("/passkey/register/begin", {"email": email}))
        made.append(await page.register(email=email))
    assert [answer.status_code for answer in begun] == [200] * 2 and [answer.status_code for answer in made] == [
        201
    ] * 2
    assert [answer.json()["user"]["emailVerified"] for answer in made] == [False] * 2
    assert await mailbox.of(world) == [("account_exists", "ada@example.org"), ("verify_email", "nobody@example.org")]


async def test_attempts_from_one_address_are_limited(open_world: OpenWorld) -> None:
    page = Page(await open_world(attempts_per_address=2))
    await page.register()
    assert [(await page.sign_in()).status_code for _ in range(3)] == [200] * 3
    page.authenticator.credentials[0].user_handle = b"another's"
    assert [(await page.sign_in()).status_code for _ in range(3)] == [400, 400, 429]


async def test_a_stale_session_proves_itself_and_goes_on(world: World, clock: FrozenClock) -> None:
    page = Page(world)
    made = (await page.register()).json()
    phone = SoftAuthenticator(be=True, bs=True, counter=False)
    added = await page.add(phone)
    assert added.status_code == 201 and "set-cookie" not in added.headers
    assert (await page.get("/passkeys")).json()[1] == added.json()
    clock.advance("11m")
    assert error_of(await page.post("/passkeys/begin")) == (403, "SESSION_NOT_FRESH")
    path = f"{MOUNT}/passkeys/{added.json()['id']}"
    assert error_of(await page.client.delete(path)) == (403, "SESSION_NOT_FRESH")
    assert not (await page.get("/session")).json()["isFresh"]
    proven = await page.verify()
    assert proven.status_code == 200 and "set-cookie" not in proven.headers
    assert proven.json()["isFresh"] and proven.json()["id"] == made["session"]["id"]
    assert (await page.client.patch(path, json={"name": "Phone"})).json()["name"] == "Phone"
    assert (await page.client.delete(path)).status_code == 204
    (last,) = (await page.get("/passkeys")).json()
    assert error_of(await page.client.delete(f"{MOUNT}/passkeys/{last['id']}")) == (409, "LAST_WAY_IN")


async def test_a_passkey_on_the_wire(world: World) -> None:
    page = Page(world)
    await page.register()
    (passkey,) = (await page.get("/passkeys")).json()
    (credential,) = page.authenticator.credentials
    assert passkey == {
        "id": passkey["id"],
        "name": "Passkey of one device",
        "credentialId": page.authenticator.get({"rpId": credential.rp_id, "challenge": "AAAA"}, ORIGIN)["id"],
        "createdAt": "2030-01-01T12:00:00.000Z",
        "lastUsedAt": None,
        "deviceType": "single_device",
        "backedUp": False,
        "transports": ["internal"],
        "disabledAt": None,
    }


async def test_who_is_recovering_can_only_add_a_passkey(world: World) -> None:
    await passkeys_of(world.kavach, "alice")
    token = (await recovering(world.kavach, "alice"))["authorization"].removeprefix("Bearer ")
    page = Page(world)
    page.client.cookies.set("kv_session", token)
    assert error_of(await page.get("/session")) == (401, "UNAUTHENTICATED")
    assert error_of(await page.post("/passkey/verify/begin")) == (401, "UNAUTHENTICATED")
    assert len((await page.get("/passkeys")).json()) == 2
    assert (await world.visit("GET", "/me", {"cookie": f"kv_session={token}"})).status_code == 401
    page.client.headers["origin"] = "https://evil.example"
    assert error_of(await page.post("/passkeys/begin")) == REFUSED
    page.client.headers["origin"] = ORIGIN
    added = await page.add(SoftAuthenticator())
    assert added.status_code == 201 and "kv_ses_" not in added.text
    assert added.json()["user"]["id"] == added.json()["session"]["userId"] == "alice"
    assert (await page.get("/session")).json()["id"] == added.json()["session"]["id"]


async def test_two_session_cookies_are_nobody_who_could_be_either(world: World) -> None:
    """A sibling domain's cookie beside one's own: a recovery session of its making must not collect one's passkey."""
    for owner in ("alice", "mallory"):
        await passkeys_of(world.kavach, owner)
    mine = (await world.browser("alice"))["cookie"]
    tossed = [(await recovering(world.kavach, "mallory"))["authorization"].removeprefix("Bearer ") for _ in range(2)]
    headers = {"cookie": f"{mine}; kv_session={tossed[0]}", "origin": ORIGIN}
    (first, *_) = (await world.call("GET", "/passkeys", headers)).json()
    assert first["id"] in {each.id for each in await world.kavach.auth.passkey.list("alice")}
    headers = {"cookie": "; ".join(f"kv_session={token}" for token in tossed), "origin": ORIGIN}
    assert error_of(await world.call("GET", "/passkeys", headers)) == (401, "UNAUTHENTICATED")


async def test_related_origins_are_told_at_the_root(open_world: OpenWorld) -> None:
    world = await open_world(
        base_url="https://app.example", secret="s" * 32, allowed_origins=["https://app.example.org"]
    )
    answer = await world.client.get("/.well-known/webauthn")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"origins": ["https://app.example", "https://app.example.org"]}
