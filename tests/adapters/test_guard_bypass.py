"""The guard against the ways one request can be written, as raw bytes to real servers with real routers and files.

Everything is tried on two guards, one told what is protected and one what is public. A naive one that compares
`scope["path"]` is the negative control: a test of bypasses proves something only if they work on somebody.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from kavach_adapters.custom import ASGIApp, Message, Receive, Scope, Send
from kavach_core import lazy_kavach
from tests.adapters.attacks import (
    BELIEVED,
    BELOW_MOUNTS,
    CLAIMS,
    FORGED,
    HOSTS,
    METHODS,
    PREFLIGHT,
    REACHING,
    ROOTS,
    WRITTEN,
)
from tests.adapters.real_servers import REAL_SERVERS, Answer, request, send, upgrade
from tests.adapters.sites import FORMS, OPEN, SECRET, SITES, Naive, write_files

#: Each server with Starlette, and each other framework on one where more ways lead into it.
PAIRS: Final = (
    *((server, "starlette") for server in REAL_SERVERS),
    *(("uvicorn-h11", "fastapi"), ("uvicorn-httptools", "litestar"), ("hypercorn", "litestar"), ("hypercorn", "quart")),
)
#: With a root path, too, which some servers and routers write with a slash at its end.
BELOW_ROOTS: Final = (
    *((*pair, "/gw") for pair in PAIRS),
    *((server, framework, "/gw/") for server in ("granian", "uvicorn-h11") for framework in ("litestar", "starlette")),
)


class World(NamedTuple):
    """A server with one site behind a naive guard and behind both forms of ours, and the token of a human."""

    port: int
    token: str

    async def ask(self, guard: str, request: bytes, *, until: bytes = b"") -> Answer:
        """Send a request to the site behind `naive`, `protect` or `public`, or to the `blind` one without a guard."""
        line, _, rest = request.partition(b"\r\n")
        return await send(self.port, b"%s\r\nx-test-guard: %s\r\n%s" % (line, guard.encode(), rest), until=until)


@asynccontextmanager
async def served(server: str, framework: str, directory: Path, root_path: str = "") -> AsyncGenerator[World]:
    """Serve the site of a framework."""
    get_kavach = lazy_kavach(database=f"sqlite:///{directory / 'kavach.db'}")
    site = SITES[framework](get_kavach, write_files(directory / "files"))
    site = site._replace(app=Telling(site.app))
    guards: dict[str, ASGIApp] = {form: site.guarded(form) for form in FORMS}
    guards |= {"naive": Naive(site.app), "blind": site.app}
    session = await (await get_kavach()).sessions.create("alice")
    async with REAL_SERVERS[server](Chosen(guards), root_path) as port:
        yield World(port, session.token or "")
    await get_kavach.close()


class Chosen:
    """Several apps behind one port; a header of the tests says which is meant."""

    def __init__(self, apps: dict[str, ASGIApp]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the one that is meant."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        meant = next(value for name, value in scope["headers"] if name == b"x-test-guard")
        await self._apps[meant.decode()](scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})


class Telling:
    """Wraps an app, and tells in a header of the answer which headers that claim an identity have come this far."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        names = [name.lower() for name, _ in scope.get("headers", ())]
        claims = [name for name in names if name.replace(b"_", b"-").startswith((b"x-user-id", b"x-kavach-"))]

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-came-through", b",".join(claims))]
            await send(message)

        await self._app(scope, receive, telling)


@pytest.mark.parametrize(("server", "framework"), PAIRS)
async def test_no_way_to_write_a_target_gets_around_the_guard(server: str, framework: str, tmp_path: Path) -> None:
    async with served(server, framework, tmp_path) as world:
        for target in REACHING[framework]:
            status, text = await world.ask("naive", request(target))
            assert SECRET in text, f"the control is no control: {target} gave {status}"
        for guard in FORMS:
            for target in WRITTEN:
                status, text = await world.ask(guard, request(target))
                assert SECRET not in text, f"{target} gave {status} behind {guard}"
            # It is a guard and not a wall: who is known gets there, and what is open stays so.
            known = f"authorization: Bearer {world.token}"
            for target in ("/dashboard", "/users/7/keys", "/files/secret.txt", "/vault/secret.txt", "/inner/vault"):
                assert SECRET in (await world.ask(guard, request(target, known))).text, target
            for target in ("/", "/about", "/innerwear", "/inner/lobby", "/static/page.txt", "/blog/x?next=/dashboard"):
                assert OPEN in (await world.ask(guard, request(target))).text, target


@pytest.mark.parametrize(("server", "framework"), PAIRS)
async def test_no_way_to_write_a_request_gets_around_the_guard(server: str, framework: str, tmp_path: Path) -> None:
    requests = [
        *(request("/dashboard", method=method) for method in METHODS),
        *(request("/dashboard", claim) for claim in (*CLAIMS, *BELIEVED)),
        *(request("/dashboard", host=host) for host in HOSTS),
        request("/dashboard", *CLAIMS, *BELIEVED),
        request("/dashboard", "host: localhost/about"),
        request("/dashboard", "authorization: Bearer kv_ses_x"),
        request("/dashboard", "authorization: Bearer kv_ses_x", "authorization: Bearer kv_ses_y"),
        *(request("/dashboard", *headers, method="OPTIONS") for headers in FORGED),
        request("/dashboard", *PREFLIGHT, "content-length: 5", method="OPTIONS") + b"hello",
        request("/dashboard", version="1.0", host=""),
        request("/dashboard", version="1.0", host="localhost/about?"),
        request("/dashboard", version="9.9"),
        request("/dashboard", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"),
        request("/about").replace(b"connection: close\r\n", b"") + request("/dashboard", "x-test-guard: protect"),
        request("/about", "x-original-url: /dashboard", "x-rewrite-url: /dashboard", "x-forwarded-path: /dashboard"),
        request("/about", "x-forwarded-prefix: /dashboard", "x-script-name: /dashboard", host="localhost/dashboard?"),
    ]
    async with served(server, framework, tmp_path) as world:
        assert SECRET in (await world.ask("blind", request("/dashboard", method="OPTIONS"))).text, "the control"
        for guard in FORMS:
            for each in requests:
                status, text = await world.ask(guard, each, until=b"UNAUTHENTICATED")
                # The answer that counts comes after that to `/about`, or after the switch to HTTP/2.
                comes_later = each.startswith(b"GET /about ") or b"h2c" in each
                assert SECRET not in text and (status in (0, 400, 401) or comes_later), f"{each!r} gave {status}"
            # Not because nothing comes through at all.
            known = f"authorization: Bearer {world.token}"
            for each in (request("/dashboard", known, *CLAIMS), request("/dashboard", known, version="1.0")):
                assert SECRET in (await world.ask(guard, each)).text


@pytest.mark.parametrize(("server", "framework"), PAIRS)
async def test_no_way_to_write_a_handshake_opens_a_socket(server: str, framework: str, tmp_path: Path) -> None:
    targets = [written.replace("/dashboard", "/dashboard/ws") for written in WRITTEN if "/dashboard" in written]
    sent = [upgrade("/dashboard/ws", *CLAIMS, *BELIEVED), *map(upgrade, targets)]
    async with served(server, framework, tmp_path) as world:
        for guard in FORMS:
            for each in sent:
                status, text = await world.ask(guard, each, until=b"\r\n\r\n")
                assert status != 101 and SECRET not in text, f"{each!r} gave {status} behind {guard}"
            known = upgrade("/dashboard/ws", f"authorization: Bearer {world.token}")
            assert (await world.ask(guard, known, until=SECRET.encode())).status == 101


@pytest.mark.parametrize(("server", "framework"), PAIRS)
async def test_no_header_that_claims_an_identity_comes_through(server: str, framework: str, tmp_path: Path) -> None:
    async with served(server, framework, tmp_path) as world:
        claimed = {claim.partition(":")[0].lower() for claim in CLAIMS}
        control = await world.ask("naive", request("/about", *CLAIMS))
        assert set(came_through(control)) == claimed, "the control is no control: the server lets nothing through"
        for guard in FORMS:
            open_page = await world.ask(guard, request("/about", *CLAIMS))
            secret_page = await world.ask(
                guard, request("/dashboard", *CLAIMS, f"authorization: Bearer {world.token}", *CLAIMS)
            )
            assert OPEN in open_page.text and SECRET in secret_page.text
            assert came_through(open_page) == came_through(secret_page) == []


@pytest.mark.parametrize(("server", "framework", "root_path"), BELOW_ROOTS)
async def test_a_root_path_does_not_get_around_the_guard(
    server: str, framework: str, root_path: str, tmp_path: Path
) -> None:
    """Whether the server puts it in front of the path, or the client does, or both, or a proxy took it off."""
    async with served(server, framework, tmp_path, root_path) as world:
        control = [await world.ask("naive", request(f"{front}/dashboard")) for front in ROOTS]
        assert any(SECRET in text for _, text in control), "the control is no control"
        known = f"authorization: Bearer {world.token}"
        paths = ("/dashboard", "dashboard", "/files/secret.txt", "/inner/vault")
        targets = [*(root + path for root in ROOTS for path in paths), *BELOW_MOUNTS]
        for guard in FORMS:
            for target in (*targets, *(f"/gw{target}" for target in BELOW_MOUNTS)):
                status, text = await world.ask(guard, request(target))
                assert SECRET not in text, f"{target} gave {status} behind {guard}"
            # uvicorn puts the root path in front by itself, the others expect it there.
            front = "" if server.startswith("uvicorn") else "/gw"
            bare = await world.ask("naive", request(f"{front}/about"))
            for path in ("/about", "/innerwear", "/static/page.txt"):
                # Starlette finds nothing below a root path that ends in a slash, unless the server joins them with two.
                assert OPEN in (await world.ask(guard, request(front + path))).text or bare.status == 404, path
            dashboard = await world.ask(guard, request(f"{front}/dashboard", known))
            assert SECRET in dashboard.text or bare.status == 404


@pytest.mark.parametrize(
    ("framework", "root_path", "targets"),
    [
        ("litestar", "/gw/", ["/gwx/gw/dashboard"]),
        ("litestar", "/gw", ["/x/gw/dashboard", "/gw/vault/gw/secret.txt"]),
        ("litestar", "/gw", ["/gw/inner/gw/vault", "/gw/inner/x/gw/deepvault"]),
        ("starlette", "/gw", ["/other/gw/othervault", "/other/x/gw/other/vault"]),
    ],
)
async def test_those_targets_lead_to_secrets_where_nobody_reads_them_all(
    framework: str, root_path: str, targets: list[str], tmp_path: Path
) -> None:
    """The negative control for root paths."""
    async with served("granian", framework, tmp_path, root_path) as world:
        for target in targets:
            assert SECRET in (await world.ask("naive", request(target))).text, target


def came_through(answer: Answer) -> list[str]:
    """The names of the headers with claims that reached the site."""
    line = next(line for line in answer.text.split("\r\n") if line.lower().startswith("x-came-through:"))
    return [name for name in line.partition(":")[2].strip().split(",") if name]
