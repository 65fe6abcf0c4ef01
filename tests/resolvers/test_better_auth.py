"""Sessions and tokens that a real better-auth server made (fixtures/better_auth.json), and what it says of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kavach_core.api.hooks import ChecksConfig
from kavach_core.resolvers import better_auth
from kavach_core.resolvers.fetch import FetchFailed
from tests.http.live import live
from tests.resolvers.support import config, recorded, view

MADE = recorded("better_auth")
SECRET = MADE["secret"]
CASES = {"http": "better-auth.session_token", "https": "__Secure-better-auth.session_token"}
ALICE = {name: MADE["cases"][name]["users"]["alice"] for name in CASES}


def cookie(case: str, who: str = "alice") -> tuple[str, str]:
    name = CASES[case]
    return name, MADE["cases"][case]["sessions"][who]["cookies"][name]


async def find_session(token: str) -> str | None:
    """Looks into the rows that the servers left behind."""
    rows = [row for case in MADE["cases"].values() for row in case["rows"]]
    return next((row["userId"] for row in rows if row["token"] == token), None)


def resolver(base_url: str | None = None, **options: Any) -> ChecksConfig:
    given = {"secret": SECRET, **options}
    if "url" not in given:
        given.setdefault("find_session", find_session)
    resolve = better_auth(**given)
    resolve.check_config(config(base_url))
    return resolve


class Server:
    """Answers as the recorded one did, to the cookies it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Response | None = None

    async def get_session(self, request: Request) -> Response:
        self.asked.append(f"{request.url.query} {request.headers['cookie']}")
        for case, name in CASES.items():
            for session in MADE["cases"][case]["sessions"].values():
                if request.headers["cookie"] == f"{name}={session['cookies'][name]}":
                    return self.answer or JSONResponse(session["answer"], session["status"])
        return JSONResponse(None)

    async def jwks(self, request: Request) -> Response:
        self.asked.append("jwks")
        return JSONResponse(MADE["cases"]["https"]["jwks"])


@asynccontextmanager
async def recorded_server() -> AsyncGenerator[tuple[Server, str]]:
    server = Server()
    routes = [Route("/api/auth/get-session", server.get_session), Route("/api/auth/jwks", server.jwks)]
    async with live(Starlette(routes=routes)) as origin:
        yield server, f"{origin}/api/auth"


@pytest.mark.parametrize("case", CASES)
async def test_a_signed_cookie_names_the_user_of_its_session(case: str) -> None:
    assert await resolver()(view(cookie(case))) == ALICE[case]
    assert await resolver()(view(cookie(case, "ended"))) is None


async def test_better_auth_itself_is_asked_about_this_session_and_nothing_else() -> None:
    async with recorded_server() as (server, url):
        resolve = resolver(url=url)
        mine, ended = cookie("https"), cookie("https", "ended")
        assert await resolve(view(mine, ("better-auth.session_data", "x"), ("other", "y"))) == ALICE["https"]
        assert await resolve(view(ended)) is None
        assert await resolve(view(cookie("http"))) == ALICE["http"]
        asked = "disableCookieCache=true&disableRefresh=true"
        assert server.asked[:2] == [f"{asked} {name}={value}" for name, value in (mine, ended)]


async def test_what_is_not_well_signed_is_not_asked_about() -> None:
    async with recorded_server() as (server, url):
        resolve, (name, value) = resolver(url=url), cookie("https")
        token, _, signature = unquote(value).rpartition(".")
        for text in (
            "",
            ".",
            token,
            f"{token}.",
            f"{token}x.{signature}",
            f"{token}.{signature[:-1]}",
            f"{token}.{signature.swapcase()}",
            f".{signature}",
            f"{token}.é",
            "x" * 5000,
        ):
            for written in (text, quote(text, safe="")):
                assert await resolve(view((name, written))) is None
        assert await resolver(url=url, secret="another-secret-of-theirs")(view((name, value))) is None
        assert server.asked == []


async def test_several_secrets_sign() -> None:
    assert await resolver(secret=["newer-0123456789", SECRET])(view(cookie("https"))) == ALICE["https"]


async def test_when_better_auth_cannot_be_asked_nobody_knows() -> None:
    async with recorded_server() as (server, url):
        for answer in (
            Response(status_code=500),
            Response("nonsense"),
            JSONResponse({}),
            JSONResponse({"session": {"token": "another", "userId": "mallory"}, "user": {"id": "mallory"}}),
        ):
            server.answer = answer
            with pytest.raises(FetchFailed):
                await resolver(url=url)(view(cookie("https")))
    with pytest.raises(FetchFailed):
        await resolver(url=url)(view(cookie("https")))


async def test_on_https_only_the_secure_cookie_counts() -> None:
    resolve = resolver("https://app.example")
    assert await resolve(view(cookie("https"))) == ALICE["https"]
    assert await resolve(view(cookie("http"))) is None


async def test_another_name_of_the_cookie_is_a_setting() -> None:
    _, value = cookie("https")
    assert await resolver(cookie="sid")(view(("sid", value))) == ALICE["https"]
    assert await resolver(cookie="sid")(view(cookie("https"))) is None


async def test_of_two_sessions_nobody_can_tell_whose_is_whose() -> None:
    name, mine = cookie("https")
    _, theirs = cookie("http")
    assert await resolver()(view((name, mine), (name, theirs))) is None
    assert await resolver()(view((name, "tossed"), (name, mine))) == ALICE["https"]
    assert await resolver()(view((name, mine), (name, mine))) == ALICE["https"]


async def test_a_token_of_the_jwt_plugin_is_a_bearer() -> None:
    token = MADE["cases"]["https"]["jwt"]
    at = MADE["at"]
    async with recorded_server() as (server, url):
        options = {"url": url, "jwt_plugin": True, "jwt_issuer": "https://app.example"}
        assert await resolver(**options, now=lambda: at)(view(bearer=token)) == ALICE["https"]
        assert server.asked == ["jwks"]
        assert await resolver(**options, now=lambda: at + 961)(view(bearer=token)) is None
        assert await resolver(**{**options, "jwt_issuer": None}, now=lambda: at)(view(bearer=token)) is None
        other = MADE["cases"]["http"]["jwt"]
        assert await resolver(**options, now=lambda: at)(view(bearer=other)) is None


async def test_an_authorization_header_decides_alone() -> None:
    assert await resolver()(view(cookie("https"), bearer=MADE["cases"]["https"]["jwt"])) is None
    async with recorded_server() as (_, url):
        assert await resolver(url=url, jwt_plugin=True)(view(cookie("https"), bearer="x")) is None
