"""The adapters hold no logic: every operation and every error comes back byte for byte the same from each framework."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from kavach_core import lazy_kavach
from kavach_core.testing import FrozenClock
from tests.adapters.asgi import request, socket
from tests.http.examples import EXAMPLES, make_cast
from tests.http.frameworks import FRAMEWORKS, MOUNT, Framework
from tests.http.world import NO_AGENT, ORIGIN, World, bearer, worlds

_NAMES = re.compile(
    r"(?:agt|dlg|aud|ses|key|usr|psk|bdg|apr)_[0-9a-f]{32}|kv_(?:agt|ses|live|test)_\w{49}"
    r'|(?<=["=])[\w-]{43}(?=[";])|(?:[A-Z2-7]{4}-){5}[A-Z2-7]{4}'
)
_CHANCE = re.compile(r'("(?:durationMs|writer|hint)"):("[^"]*"|[0-9.]+)')
#: What the framework or the length of an id decides.
_NOT_OURS = {"content-length", "date", "transfer-encoding"}


FirstAnswers = Callable[[], Awaitable[list["Answer"]]]


class Answer(NamedTuple):
    """One answer, without what chance decides."""

    asked: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


@pytest.fixture(scope="module")
def first_answers(tmp_path_factory: pytest.TempPathFactory) -> FirstAnswers:
    """What the first framework answers, which the others are held to; asked once."""
    known: list[Answer] = []

    async def ask() -> list[Answer]:
        known[:] = known or await _transcript(FRAMEWORKS[0], tmp_path_factory.mktemp("first"))
        return known

    return ask


@pytest.mark.parametrize("other", FRAMEWORKS[1:], ids=lambda framework: framework.name)
async def test_every_answer_is_the_same_in_every_framework(
    other: Framework, first_answers: FirstAnswers, tmp_path: Path
) -> None:
    first = await first_answers()
    assert len(first) > 4 * len(EXAMPLES)
    assert {answer.status for answer in first} >= {200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 415}
    for ours, theirs in zip(first, await _transcript(other, tmp_path), strict=True):
        assert ours == theirs


async def _transcript(framework: Framework, directory: Path) -> list[Answer]:
    database = f"sqlite:///{directory / framework.name}.db"
    async with worlds(framework, database, FrozenClock()) as open_world:
        world = await open_world(grantable=["*:*"])
        return [*await _operations(world), *await _errors(world)]


async def _operations(world: World) -> list[Answer]:
    """Every operation, called well by everybody and by nobody."""
    service, usual = await world.service(), await make_cast(world, "ulla")
    answers: list[Answer] = []
    for name, example in EXAMPLES.items():
        await world.kavach.project.resume()
        for letter in "hasr*":
            # Who is refused changes nothing, and needs nobody of their own.
            cast = await make_cast(world) if letter in example.who and example.stored else usual
            callers = {"h": cast.as_human, "a": cast.as_agent, "s": service, "r": cast.as_recovering, "*": {}}
            content = await example.content(world, cast, callers[letter])
            answer = await world.call(example.method, example.url(cast), callers[letter], **content)
            answers.append(_told(f"{name} {letter}", answer))
    return answers


async def _errors(world: World) -> list[Answer]:
    """What can go wrong before, in and after the handlers."""
    cast = await make_cast(world)
    browser = await world.browser()
    dead = await world.agent()
    await world.kavach.agents.revoke(dead.id)
    as_json = {"content-type": "application/json"}
    asked: list[tuple[str, str, dict[str, str], dict[str, object]]] = [
        ("GET", "", {}, {}),
        ("GET", "/", {}, {}),
        ("GET", "/nothing", {}, {}),
        ("GET", "/agents/", cast.as_human, {}),
        ("GET", "//agents", cast.as_human, {}),
        ("GET", "/agents/a%2Fb", cast.as_human, {}),
        ("GET", "/agents/a%00b", cast.as_human, {}),
        ("GET", "/agents%0a", cast.as_human, {}),
        ("GET", "/agents/%0a", cast.as_human, {}),
        ("GET", f"/agents/{cast.agent}/trace%0a", cast.as_human, {}),
        ("POST", "/agents%0a", cast.as_human, {}),
        ("PUT", "/agents%0a", {}, {}),
        ("HEAD", "/agents%0a", {}, {}),
        ("GET", "/agents/%F0%9F%A4%96", cast.as_human, {}),
        ("PUT", "/agents", cast.as_human, {}),
        ("PROPFIND", "/agents", cast.as_human, {}),
        ("OPTIONS", f"/agents/{cast.agent}", {}, {}),
        ("TRACE", "/audit", {}, {}),
        ("HEAD", f"/agents/{cast.agent}", cast.as_human, {}),
        ("HEAD", "/audit/export", cast.as_human, {}),
        ("HEAD", "/agents", {}, {}),
        ("HEAD", "/authorize", cast.as_agent, {}),
        ("GET", f"/agents/{NO_AGENT}", cast.as_human, {}),
        ("GET", f"/agents/{dead.id}", bearer(dead.token), {}),
        ("PATCH", f"/agents/{dead.id}", cast.as_human, {"json": {"name": "x"}}),
        ("GET", "/audit?limit=-1", cast.as_human, {}),
        ("GET", "/audit?limit=1&limit=2", cast.as_human, {}),
        ("GET", "/audit?actions=%ff", cast.as_human, {}),
        ("GET", "/audit?before=nothing", cast.as_human, {}),
        ("GET", "/audit/export?format=xml", cast.as_human, {}),
        ("POST", "/agents", cast.as_human, {"content": b"{", "headers": as_json}),
        ("POST", "/agents", cast.as_human, {"json": {"name": 7}}),
        ("POST", "/agents", cast.as_human, {"content": b" " * (1 << 20) + b"{}", "headers": as_json}),
        ("POST", "/agents", browser, {"content": b"name=x", "headers": {"content-type": "text/plain"}}),
        ("POST", "/agents", {"cookie": browser["cookie"]}, {"json": {"name": "x"}}),
        ("POST", "/agents", browser | {"origin": "https://evil.example"}, {"json": {"name": "x"}}),
        ("POST", "/authorize", cast.as_agent, {"json": {"action": "write", "resource": "repos"}}),
        ("POST", f"/agents/{cast.agent}/delegate", cast.as_agent, {"json": {"permissions": ["write:repos"]}}),
    ]
    answers: list[Answer] = []
    for method in ("get", "Post", "head", "oPTIONS"):
        # The client makes it upper case; a server does not.
        for path in ("/agents", f"/agents/{NO_AGENT}", "/agents/", "/nothing"):
            status, body = await request(world.app, MOUNT + path, cast.as_human, method=method)
            answers.append(Answer(f"{method} {path}", status, (), json.dumps(body)))
    for method, path, headers, more in asked:
        answers.append(_told(f"{method} {path}", await world.call(method, path, headers, **more)))
    for path in ("/whoami", "/me", "/agent", "/search"):
        for headers in ({}, cast.as_human, cast.as_agent, browser, bearer(dead.token)):
            answers.append(_told(path, await world.visit("POST", path, headers)))
    for path in ("/.well-known/kavach-configuration", "/.well-known/webauthn", f"{MOUNT}/openapi.json"):
        answers.append(_told(path, await world.client.get(path, headers={"host": "evil.example", "origin": ORIGIN})))
    return answers


async def test_a_socket_under_the_mount_is_closed_like_any_other_that_leads_nowhere(framework: Framework) -> None:
    """Before it is accepted, so that servers answer with their own 403 and nothing of a framework's."""
    app = framework.build(lazy_kavach(database="sqlite:///never.db"))
    for path in ("", "/", "/agents", "/nothing", "/agents/x/y"):
        for can_answer in (True, False):
            async with socket(app, MOUNT + path, {}, can_answer=can_answer) as opened:
                assert opened.code is not None and opened.body is None, path


def _told(asked: str, response: httpx.Response) -> Answer:
    if response.request.method != "HEAD" and "content-length" in response.headers:
        assert int(response.headers["content-length"]) == len(response.content), asked
    names: dict[str, str] = {}

    def masked(text: str) -> str:
        named = _NAMES.sub(lambda found: names.setdefault(found[0], f"<{len(names)}>"), text)
        return _CHANCE.sub(r"\1:0", named)

    told = sorted((name, masked(value)) for name, value in response.headers.multi_items() if name not in _NOT_OURS)
    return Answer(masked(asked), response.status_code, tuple(told), masked(response.text))
