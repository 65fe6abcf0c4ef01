"""Passwords and recovery over HTTP: what is told, which cookie is set, and that foreign pages get nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from kavach_core.config import Email
from tests.http.conftest import ONE_FRAMEWORK
from tests.http.world import ORIGIN, OpenWorld, World, bearer, error_of

pytestmark = pytest.mark.usefixtures("cheap_passwords")

ACCOUNT = {"email": "ada@example.org", "password": "correct horse battery"}
PAGE = {"origin": ORIGIN}


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    return await open_world(grantable=["*:*"], passwords=True)


async def test_a_program_gets_the_token_and_a_browser_only_the_cookie(world: World) -> None:
    program = await world.call("POST", "/sign-up/email", json={**ACCOUNT, "name": "Ada"})
    assert program.status_code == 201
    body = program.json()
    assert body["user"]["email"] == ACCOUNT["email"] and body["user"]["name"] == "Ada"
    assert body["session"]["userId"] == body["user"]["id"] and body["session"]["token"].startswith("kv_ses_")
    page = await world.call("POST", "/sign-in/email", PAGE, json=ACCOUNT)
    assert page.status_code == 200 and page.json()["session"]["token"] == ""
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("kv_session=kv_ses_") and "HttpOnly; SameSite=Strict" in cookie and "Path=/;" in cookie
    signed_in = {**PAGE, "cookie": cookie.partition(";")[0]}
    session = await world.call("GET", "/session", signed_in)
    assert session.json()["token"] == "" and session.json()["user"]["email"] == ACCOUNT["email"]
    signed_out = await world.call("POST", "/sign-out", signed_in)
    assert signed_out.status_code == 204 and "Max-Age=0" in signed_out.headers["set-cookie"]
    assert error_of(await world.call("GET", "/session", signed_in)) == (401, "UNAUTHENTICATED")


async def test_failures_look_alike_and_a_taken_address_is_told_at_sign_up_alone(world: World) -> None:
    await world.call("POST", "/sign-up/email", json=ACCOUNT)
    assert error_of(await world.call("POST", "/sign-up/email", json=ACCOUNT)) == (409, "EMAIL_TAKEN")
    wrong = await world.call("POST", "/sign-in/email", json={**ACCOUNT, "password": "another password"})
    unknown = await world.call("POST", "/sign-in/email", json={**ACCOUNT, "email": "nobody@example.org"})
    assert error_of(wrong) == error_of(unknown) == (401, "SIGN_IN_FAILED") and wrong.content == unknown.content
    assert "set-cookie" not in wrong.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_no_foreign_page_signs_a_browser_in(world: World, headers: dict[str, str]) -> None:
    await world.call("POST", "/sign-up/email", json=ACCOUNT)
    answer = await world.call("POST", "/sign-in/email", headers, json=ACCOUNT)
    assert error_of(answer) == (403, "ORIGIN_REFUSED") and "set-cookie" not in answer.headers


async def test_a_form_of_the_own_site_is_no_sign_in_either(world: World) -> None:
    for content, kind in (("{}", "text/plain"), ("email=a", "application/x-www-form-urlencoded")):
        answer = await world.call("POST", "/sign-in/email", {**PAGE, "content-type": kind}, content=content)
        assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


@ONE_FRAMEWORK
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.org"},
        {"email": 5, "password": "x" * 10},
        {"email": "no address", "password": "x1y2z3w4"},
        {"email": "a@b@c", "password": "x1y2z3w4"},
        {"email": "a\u0000@b", "password": "x1y2z3w4"},
        {"email": "a@b", "password": "short"},
        {"email": "a@b", "password": "password"},
        {"email": "a@b", "password": "x1y2z3w4", "admin": True},
    ],
)
async def test_bad_input_makes_no_account(world: World, body: Any) -> None:
    assert error_of(await world.call("POST", "/sign-up/email", json=body)) == (400, "INVALID_INPUT")
    assert await world.kavach.users.find_by_email("a@b") is None


async def test_guesses_are_answered_429(open_world: OpenWorld) -> None:
    world = await open_world(passwords=True, attempts_per_account=2)
    for expected in ((401, "SIGN_IN_FAILED"), (401, "SIGN_IN_FAILED"), (429, "RATE_LIMITED")):
        assert error_of(await world.call("POST", "/sign-in/email", json=ACCOUNT)) == expected


async def test_with_a_mailer_sign_up_answers_alike_and_the_mail_makes_the_account(open_world: OpenWorld) -> None:
    sent = list[Email]()

    async def send(mail: Email) -> None:
        sent.append(mail)

    world = await open_world(passwords=True, verify_email=True, send_email=send, base_url="http://localhost:8000")
    first = await world.call("POST", "/sign-up/email", json=ACCOUNT)
    await world.kavach.auth.outbox.close()
    page, _, token = sent[0].link.partition("#sign-up=")
    assert page == "http://localhost:8000/api/kavach/verify-email" and token
    wrong = {"token": token, "password": "another password"}
    assert error_of(await world.call("POST", "/sign-up/confirm", json=wrong)) == (401, "SIGN_IN_FAILED")
    again = await world.call("POST", "/sign-up/email", json=ACCOUNT)
    await world.kavach.auth.outbox.close()
    token = sent[1].link.partition("#sign-up=")[2]
    made = await world.call("POST", "/sign-up/confirm", json={"token": token, "password": ACCOUNT["password"]})
    assert made.status_code == 201 and made.json()["user"]["emailVerified"] is True
    taken = await world.call("POST", "/sign-up/email", json=ACCOUNT)
    await world.kavach.auth.outbox.close()
    assert [mail.purpose for mail in sent] == ["verify_email", "verify_email", "account_exists"]
    assert first.status_code == again.status_code == taken.status_code == 202
    assert first.content == again.content == taken.content
    described = (await world.call("GET", "/openapi.json")).json()["paths"]["/sign-up/email"]["post"]["responses"]
    told = described["202"]["content"]["application/json"]["schema"]["properties"]
    assert first.json().keys() == told.keys() and "201" in described
    assert {name for name, _ in first.headers.items()} == {name for name, _ in taken.headers.items()}


async def test_a_recovery_session_opens_nothing_but_the_passkeys(world: World) -> None:
    made = (await world.call("POST", "/sign-up/email", json=ACCOUNT)).json()
    human = bearer(made["session"]["token"])
    codes = (await world.call("POST", "/recovery/codes", human)).json()["codes"]
    assert (await world.call("GET", "/recovery", human)).json() == {"codesLeft": 10, "emailLink": False}
    used = await world.call("POST", "/recovery/use", json={"code": codes[0]})
    assert used.status_code == 200 and used.json()["session"]["method"] == "recovery"
    recovering = bearer(used.json()["session"]["token"])
    for method, path in (
        *(("GET", path) for path in ("/session", "/agents", "/sessions", "/audit", "/recovery")),
        *(("POST", path) for path in ("/sign-out", "/recovery/codes", "/passkey/verify/begin")),
    ):
        assert error_of(await world.call(method, path, recovering)) == (401, "RECOVERY_ONLY"), path
    assert (await world.call("GET", "/passkeys", recovering)).json() == []
    assert (await world.call("POST", "/passkeys/begin", recovering)).json()["challenge"]
    assert error_of(await world.call("POST", "/recovery/use", json={"code": codes[0]})) == (401, "SIGN_IN_FAILED")


async def test_asking_for_a_recovery_link_never_tells_who_is_known(open_world: OpenWorld) -> None:
    sent = list[Email]()

    async def send(mail: Email) -> None:
        sent.append(mail)

    world = await open_world(passwords=True, send_email=send, base_url="http://localhost:8000")
    human = bearer((await world.call("POST", "/sign-up/email", json=ACCOUNT)).json()["session"]["token"])
    unproven = await world.call("POST", "/recovery/link", json={"email": ACCOUNT["email"]})
    assert (await world.call("POST", "/verify-email/send", human)).status_code == 202
    await world.kavach.auth.outbox.close()
    # One was mailed at sign-up, one when it was asked for; the newer one is used.
    _, mail = sent
    proof = {"token": mail.link.partition("#token=")[2]}
    assert (await world.call("POST", "/verify-email", human, json=proof)).json()["emailVerified"] is True
    known = await world.call("POST", "/recovery/link", json={"email": ACCOUNT["email"].upper()})
    unknown = await world.call("POST", "/recovery/link", json={"email": "nobody@example.org"})
    assert known.content == unknown.content == unproven.content
    assert known.status_code == unknown.status_code == unproven.status_code == 202
    await world.kavach.auth.outbox.close()
    assert [mail.purpose for mail in sent] == ["verify_email", "verify_email", "recovery"]
    link = {"token": sent[2].link.partition("/recover#token=")[2]}
    assert (await world.call("POST", "/recovery/link/use", json=link)).json()["session"]["method"] == "recovery"
    assert error_of(await world.call("POST", "/recovery/link/use", json=link)) == (400, "CHALLENGE_UNKNOWN")


async def test_an_administrator_hands_out_a_link(world: World) -> None:
    user = (await world.call("POST", "/sign-up/email", json=ACCOUNT)).json()["user"]
    service = await world.service("sessions:write")
    made = await world.call("POST", f"/users/{user['id']}/recovery", service)
    assert made.status_code == 201
    token = made.json()["link"].partition("/api/kavach/recover#token=")[2]
    assert (await world.call("POST", "/recovery/link/use", json={"token": token})).status_code == 200
