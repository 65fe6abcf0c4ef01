"""Whatever goes wrong under the mount is answered with the one error body, and nothing is ever redirected."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from kavach_core.kavach import Kavach
from tests.capabilities.support import watched
from tests.http.examples import EXAMPLES, make_cast
from tests.http.frameworks import MOUNT, Framework
from tests.http.world import NO_AGENT, World, bearer, client_of, error_of

JSON = {"content-type": "application/json"}
#: Bodies that make no agent.
BAD_BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b'{"name": "x"} more',
    b'{"name": "x", "name": "y"}',
    b'{"name": "x", "metadata": {"a": 1, "a": 2}}',
    b'{"name": "x", "metadata": {"a": NaN}}',
    b'{"name": "x", "metadata": {"a": -Infinity}}',
    b'{"name": "x", "metadata": {"a": 1e999}}',
    b'{"name": "x", "ttl": ' + b"9" * 5000 + b"}",
    b'{"name": "x", "ttl": ' + b"9" * 4000 + b"}",
    b'{"name": "x", "metadata": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b"}",
    b'{"name": "x", "metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    b"\xef\xbb\xbf{}",
    b'{"name": "\xff"}',
    '{"name": "x"}'.encode("utf-16"),
    b'{"name": 7}',
    b'{"name": null}',
    b'{"name": ["x"]}',
    b'{"name": "x", "permissions": "read:repos"}',
    b'{"name": "x", "permissions": [7]}',
    b'{"name": "x", "metadata": []}',
    b'{"name": "x", "ttl": true}',
    b'{"name": "x", "type": "root"}',
    b'{"name": "x", "isAdmin": true}',
    b'{"name": "x", "owner_id": "mallory"}',
)


async def test_a_path_that_is_nothing_is_404_without_a_redirect(world: World) -> None:
    for headers in ({}, await world.human()):
        for path in ("", "/", "/nothing", "/agents/", "/agents/x/y/z", "//agents", "/AGENTS", "/openapi"):
            for method in ("GET", "POST", "DELETE", "OPTIONS", "BREW"):
                assert error_of(await world.call(method, path, headers)) == (404, "NOT_FOUND"), (method, path)


async def test_a_wrong_method_is_405_and_says_which_are_right(world: World) -> None:
    for path, allowed in (
        ("/agents", ["GET", "HEAD", "POST"]),
        (f"/agents/{NO_AGENT}", ["DELETE", "GET", "HEAD", "PATCH"]),
        ("/authorize", ["POST"]),
        ("/audit/export", ["GET", "HEAD"]),
        (f"/delegations/{NO_AGENT}", ["DELETE", "GET", "HEAD"]),
    ):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - set(allowed):
            answer = await world.call(method, path)
            assert error_of(answer) == (405, "METHOD_NOT_ALLOWED"), (method, path)
            assert answer.headers["allow"] == ", ".join(allowed)
            assert answer.json()["error"]["details"] == {"allowed": allowed}


async def test_head_is_get_without_its_body(world: World) -> None:
    cast = await make_cast(world)
    for name, example in EXAMPLES.items():
        url = example.url(cast)
        for caller in (cast.as_human, {}):
            head = await world.call("HEAD", url, caller)
            assert head.content == b"", name
            if example.method == "GET":
                get = await world.call("GET", url, caller)
                kept = {key: value for key, value in get.headers.items() if key != "transfer-encoding"}
                assert (head.status_code, dict(head.headers)) == (get.status_code, kept), name


async def test_answers_are_never_cached_and_an_empty_one_is_204_without_a_type(world: World) -> None:
    cast = await make_cast(world)
    made = await world.call("POST", "/agents", cast.as_human, json={"name": "x", "permissions": []})
    assert made.headers["cache-control"] == "no-store" and made.headers["content-type"] == "application/json"
    gone = await world.call("DELETE", f"/agents/{cast.agent}", cast.as_human, headers=JSON)
    assert gone.status_code == 204 and gone.content == b""
    assert "content-type" not in gone.headers and "content-length" not in gone.headers


async def test_an_empty_body_with_a_json_type_is_accepted_where_none_is_needed(world: World) -> None:
    cast = await make_cast(world)
    for method, path in (
        ("GET", "/agents"),
        ("POST", f"/agents/{cast.agent}/rotate"),
        ("DELETE", f"/agents/{cast.peer}"),
    ):
        answer = await world.call(method, path, cast.as_human, headers={**JSON, "content-length": "0"})
        assert answer.is_success, answer.text


async def test_a_body_that_is_not_what_is_asked_for_is_400_and_changes_nothing(world: World) -> None:
    human = await world.human()
    for body in BAD_BODIES:
        answer = await world.call("POST", "/agents", human, content=body, headers=JSON)
        assert error_of(answer) == (400, "INVALID_INPUT"), body[:60]
    assert len(await world.kavach.agents.list()) == 0


async def test_a_body_may_be_as_large_as_the_operation_says_and_not_a_byte_larger(world: World) -> None:
    human, agent = await world.human(), bearer((await world.agent()).token)
    for path, caller, core, limit in (
        ("/agents", human, b'{"name": "x"', 1 << 20),
        ("/authorize", agent, b'{"action": "read", "resource": "repos"', 1 << 16),
    ):
        fits = core + b" " * (limit - len(core) - 1) + b"}"
        assert (await world.call("POST", path, caller, content=fits, headers=JSON)).is_success
        for tell_length in (True, False):
            answer = await world.call("POST", path, caller, content=_body(fits + b" ", tell_length), headers=JSON)
            assert error_of(answer) == (413, "BODY_TOO_LARGE")
            assert answer.json()["error"]["details"] == {"limit": limit}


async def test_who_is_asking_comes_before_what_is_asked(world: World) -> None:
    for body in (b"{", b" " * (2 << 20)):
        assert error_of(await world.call("POST", "/agents", content=body, headers=JSON)) == (401, "UNAUTHENTICATED")
    agent = bearer((await world.agent()).token)
    assert error_of(await world.call("POST", "/agents", agent, content=b"{"))[0] == 403


async def test_a_body_that_breaks_off_is_400(framework: Framework, world: World) -> None:
    messages = [{"type": "http.request", "body": b'{"na', "more_body": True}, {"type": "http.disconnect"}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in (await world.human()).items()]
    path = f"{MOUNT}/agents"
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "POST", "path": path}
    await world.app({**scope, "headers": headers, "query_string": b"", "state": {}}, receive, send)
    # Quart ends its handler when the client is gone, and then there is nobody to answer.
    assert [message["status"] for message in sent[:1]] == ([] if framework.name == "quart" else [400])


async def test_an_unexpected_exception_is_500_without_a_word_of_it(
    world: World, framework: Framework, caplog: pytest.LogCaptureFixture
) -> None:
    human = await world.human()
    broken, store = watched(world.kavach)
    app = framework.build(_Fixed(world, broken), grantable=["*:*"])
    async with client_of(app) as client:
        store.failure = RuntimeError("the password is hunter2")
        with caplog.at_level(logging.ERROR, "kavach"):
            answer = await client.get(f"{MOUNT}/agents", headers=human)
    assert error_of(answer) == (500, "INTERNAL_ERROR")
    assert "hunter2" not in answer.text and answer.json()["error"]["details"] == {}
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("mount", ["/api/kavach", "/auth", "/deeply/nested/auth"])
async def test_everything_works_under_any_mount_and_root_path(world: World, framework: Framework, mount: str) -> None:
    agent = await world.agent()
    app = framework.build(world.get_kavach, mount=mount)
    transport = httpx.ASGITransport(app=app, root_path="/gw")
    plain = httpx.ASGITransport(app=app)
    for base, way in (("http://localhost/gw", transport), ("http://localhost", plain)):
        async with httpx.AsyncClient(transport=way, headers=bearer(agent.token)) as client:
            found = await client.get(f"{base}{mount}/agents/{agent.id}")
            assert found.status_code == 200 and found.json()["id"] == agent.id
            for path in (mount, f"{mount}/", f"{mount}/agents/"):
                assert error_of(await client.get(base + path)) == (404, "NOT_FOUND")
            said = (await client.get(f"{base}{mount}/openapi.json")).json()
            assert said["servers"] == [{"url": httpx.URL(base + mount).path}]


class _Fixed:
    """A factory whose Kavach is this one."""

    def __init__(self, world: World, kavach: Kavach) -> None:
        self.config = world.get_kavach.config
        self._kavach = kavach

    async def __call__(self) -> Kavach:
        return self._kavach

    async def close(self) -> None:
        """Leave it to the test."""


def _body(content: bytes, tell_length: bool) -> object:
    async def pieces() -> AsyncIterator[bytes]:
        yield content[:1000]
        yield b""
        yield content[1000:]

    return content if tell_length else pieces()
