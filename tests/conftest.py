"""What every test may ask for: a PostgreSQL for the whole run, and a fresh database of each kind for one test.

One cluster serves a run. The process that starts the workers (or the only process) starts it and hands its URL on in
the environment; a URL that is there already is used as it is. Without any PostgreSQL the run says so at its end, and
under CI it fails at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kavach_core.capabilities.passwords import hashing
from kavach_core.store.migrate import migrate
from tests.chromium import find_chromium
from tests.memory import memory_or
from tests.postgres_server import PostgresServer, PostgresUnavailable

DATABASE_URL = "KAVACH_TEST_DATABASE_URL"

_unavailable = pytest.StashKey[str]()

# A shared machine may stall a single example for longer than Hypothesis thinks healthy.
hypothesis.settings.register_profile("kavach", deadline=None, print_blob=True)
# For mutants (`python -m tests.proofs.r19`), which run the same tests again and again in one process.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=40,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("kavach")


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if is_worker or DATABASE_URL in os.environ or config.option.collectonly:
        return
    server = PostgresServer()
    try:
        server.__enter__()
    except PostgresUnavailable as error:
        if os.environ.get("CI"):
            pytest.exit(f"NO POSTGRESQL, and CI must not do without: {error}", returncode=3)
        config.stash[_unavailable] = str(error)
        return
    os.environ[DATABASE_URL] = server.url
    config.add_cleanup(server.close)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Set what was collected apart: it lives as long as the run, and looking through it again and again takes time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = sorted(
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figure" and getattr(report, "when", "") == "call"
    )
    if figures:
        terminalreporter.section("what was proven")
        for line in figures:
            terminalreporter.line(line)
    if find_chromium() is None:
        terminalreporter.section("NO CHROMIUM: THE BROWSER TESTS DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line("Install one (Debian: apt-get install chromium), or name it in KAVACH_CHROMIUM.")
    reason = config.stash.get(_unavailable, None)
    if reason is not None:
        terminalreporter.section("NO POSTGRESQL: HALF OF THE TESTS DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(f"{reason}\nSet {DATABASE_URL} to a server whose role may create databases.")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a server on which databases may be created; not of a database to write to."""
    url = os.environ.get(DATABASE_URL)
    if url is None:
        # Never silent: the summary says so in red, and under CI the run fails for it.
        pytest.skip("no PostgreSQL; see the end of this run")
    return url


@pytest.fixture(scope="session")
def postgres_template() -> str:
    """The database that fresh ones are copied from. Nobody may be connected to it while a test starts."""
    return "template1"


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The name of a database that holds the newest schema and nothing else, for directories that copy from it."""
    with fresh_database(postgres_url, "template1") as url:
        asyncio.run(migrate(url))
        yield urlsplit(url).path.lstrip("/")


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[str]:
    """The URL of a SQLite file that does not exist yet, in memory where there is room: that is synced for nothing."""
    with tempfile.TemporaryDirectory(prefix="kavach-", dir=memory_or(tmp_path)) as directory:
        yield f"sqlite:///{directory}/kavach.db"


@pytest.fixture
def postgres_database(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database, dropped at the end whoever is still connected."""
    with fresh_database(postgres_url, postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database; the test runs once on each kind."""
    return str(request.getfixturevalue(f"{request.param}_database"))


@contextmanager
def fresh_database(server: str, template: str) -> Iterator[str]:
    name = f"kavach_t_{secrets.token_hex(6)}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords as Kavach does, but with settings that cost a test nothing."""
    library = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    nobodys = library.hash("nobody")
    monkeypatch.setattr(hashing, "_library", lambda: library)
    monkeypatch.setattr(hashing, "_nobodys", lambda: nobodys)
