"""A database that is down, too new or read-only is a 503 that says when to come back, and never an allow."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kavach_core import lazy_kavach
from kavach_core.api import problems
from kavach_core.errors import StoreUnavailable
from kavach_core.primitives import tokens
from kavach_core.primitives.tokens import TokenKind
from kavach_core.store import Transaction
from tests.capabilities.support import store_of
from tests.http.examples import EXAMPLES, make_cast
from tests.http.frameworks import MOUNT, Framework
from tests.http.world import bearer, client_of, error_of, worlds
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may stop."""
    with PostgresServer() as server:
        yield server


async def test_while_the_database_is_down_everything_is_503_and_the_next_call_after_it_works(
    framework: Framework, own_server: PostgresServer
) -> None:
    async with worlds(framework, own_server.url, None) as open_world:
        world = await open_world(grantable=["*:*"], project=framework.name)
        cast, agent = await make_cast(world), await world.agent()
        contents = {name: await example.content(world, cast, cast.as_human) for name, example in EXAMPLES.items()}
        everybody = [cast.as_human, cast.as_agent, await world.service(), await world.browser()]
        own_server.stop()
        try:
            for name, example in EXAMPLES.items():
                caller = next(who for letter, who in zip("has*", everybody, strict=True) if letter in example.who)
                answer = await world.call(example.method, example.url(cast), caller, **contents[name])
                if not example.stored:
                    assert answer.status_code == example.status, name
                else:
                    assert error_of(answer) == (503, "STORE_UNAVAILABLE"), name
            for path in ("/search", "/agent", "/whoami"):
                assert error_of(await world.visit("POST", path, bearer(agent.token))) == (503, "STORE_UNAVAILABLE")
        finally:
            own_server.start()
        assert (await world.visit("POST", "/search", bearer(agent.token))).status_code == 200
        assert (await world.call("GET", "/agents", cast.as_human)).status_code == 200
        assert len(await world.kavach.audit.query(agent_id=agent.id)) == 1


async def test_a_database_that_is_down_at_first_is_found_when_it_is_there(
    framework: Framework, own_server: PostgresServer
) -> None:
    get_kavach = lazy_kavach(database=own_server.url)
    app = framework.build(get_kavach, guard={"protect": ["/dashboard/:path*"]})
    own_server.stop()
    token = bearer(tokens.mint(TokenKind.AGENT).token)
    try:
        async with client_of(app) as client:
            for path in (f"{MOUNT}/agents", "/search", "/dashboard/x"):
                assert error_of(await client.get(path, headers=token)) == (503, "STORE_UNAVAILABLE")
    finally:
        own_server.start()
    async with client_of(app) as client:
        assert error_of(await client.get("/search", headers=token)) == (401, "UNKNOWN_CREDENTIAL")
    await get_kavach.close()


async def test_a_database_that_is_newer_than_the_code_is_503_without_its_details(
    framework: Framework, sqlite_database: str
) -> None:
    async with worlds(framework, sqlite_database, None) as open_world:
        token = (await (await open_world()).agent()).token
    path = sqlite_database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert into kavach_migrations values ('9999_future', 'x', 1)")
    get_kavach = lazy_kavach(database=sqlite_database)
    async with client_of(framework.build(get_kavach)) as client:
        for url in (f"{MOUNT}/authorize", "/search"):
            refused = await client.post(url, headers=bearer(token), json={"action": "read", "resource": "repos"})
            assert error_of(refused) == (503, "UNAVAILABLE")
            assert path not in refused.text and "9999" not in refused.text


async def test_what_cannot_be_written_is_503_and_what_only_reads_is_answered(
    framework: Framework, sqlite_database: str
) -> None:
    async with worlds(framework, sqlite_database, None) as open_world:
        world = await open_world(grantable=["*:*"])
        agent, human = await world.agent(), await world.human()
        await store_of(world.kavach).transact(_pragma, "query_only = on")
        for method, path, caller, body in (
            ("POST", "/search", bearer(agent.token), None),
            ("POST", f"{MOUNT}/authorize", bearer(agent.token), {"action": "read", "resource": "repos"}),
            ("POST", f"{MOUNT}/agents", human, {"name": "x", "permissions": []}),
        ):
            answer = await world.visit(method, path, caller, json=body)
            assert error_of(answer) == (503, "STORE_UNAVAILABLE"), path
        assert len((await world.call("GET", "/agents", human)).json()) == 1
        assert len(await world.kavach.audit.query()) == 0


async def test_a_file_that_may_only_be_read_is_503(framework: Framework, nobodys_directory: Path) -> None:
    database = f"sqlite:///{nobodys_directory}/kavach.db"
    async with worlds(framework, database, None) as open_world:
        token = (await (await open_world()).agent()).token
    for file in (nobodys_directory / "kavach.db", nobodys_directory):
        file.chmod(0o555)
    async with client_of(framework.build(lazy_kavach(database=database))) as client:
        # Frameworks import some of their modules when they are first used, and those may not be readable to everyone.
        assert (await client.get("/api/kavach/nothing")).status_code == 404
        if os.getuid() == 0:
            os.seteuid(65534)
        assert error_of(await client.post("/search", headers=bearer(token))) == (503, "STORE_UNAVAILABLE")


@pytest.fixture
def nobodys_directory() -> Iterator[Path]:
    """A directory of one's own, until the test gives up the right to write; root has every right."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    os.seteuid(os.getuid())
    directory.chmod(0o755)
    shutil.rmtree(directory)


async def _pragma(tx: Transaction, setting: str) -> None:
    await tx.fetch(f"pragma {setting}")


async def test_why_the_database_cannot_be_used_is_in_the_log_once(
    framework: Framework, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_outages", problems._Outages())
    database = "postgresql://ada:hunter2@127.0.0.1:1/nowhere"
    async with client_of(framework.build(lazy_kavach(database=database))) as client:
        for _ in range(3):
            refused = await client.get(f"{MOUNT}/agents", headers=bearer(tokens.mint(TokenKind.AGENT).token))
            assert error_of(refused) == (503, "STORE_UNAVAILABLE") and "Refused" not in refused.text
    lines = [record.getMessage() for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(lines) == 1 and "ConnectionRefusedError" in lines[0] and "hunter2" not in caplog.text


def test_a_socket_that_is_closed_for_it_is_in_the_log_too_and_no_value_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_outages", problems._Outages())
    for cause in (ConnectionResetError("gone"), ValueError("invalid input for query argument $1: 'hunter2'")):
        error = StoreUnavailable("The database cannot be read or written now.")
        error.__cause__ = cause
        assert problems.to_close(error) == (4503, "STORE_UNAVAILABLE")
    assert "ConnectionResetError: gone" in caplog.text
    assert "ValueError" in caplog.text and "hunter2" not in caplog.text
