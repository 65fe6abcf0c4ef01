"""R2: what a loss of power may leave behind is a valid prefix with everything in it that was acknowledged.

As far as software shows it: cuts of SQLite's write-ahead log at every byte, syncs counted where the system counts them,
and settings read back. Whether the disk keeps its word nobody can see from here.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from kavach_core import Kavach, create_kavach
from kavach_core.primitives import ids
from kavach_core.store import Transaction, sqlite_thread
from tests.capabilities.support import ask, make_agent, store_of
from tests.conftest import fresh_database
from tests.postgres_server import PostgresServer
from tests.proofs.variants import open_early

_ROOT = Path(__file__).parents[2]
_DECISIONS = 6
#: Bytes of the header of the log, and of a page and its frame in it.
_HEADER, _PAGE = 32, 4096
_FRAME = _PAGE + 24
#: Frames of the log, from its end, that are cut at every byte.
_LAST_FRAMES = 4


class Acknowledged(NamedTuple):
    """A decision, and how long the log was when it was acknowledged."""

    audit_id: str
    length: int


@dataclass
class Scene:
    """A database and its log as they lay on the disk, and what was acknowledged of them."""

    database: bytes
    log: bytes
    acknowledged: list[Acknowledged]

    @property
    def ends(self) -> list[int]:
        """Where the frames of the log end."""
        return list(range(_HEADER + _FRAME, len(self.log) + 1, _FRAME))


async def _decide(directory: Path, opened: Callable[[str], Awaitable[Kavach]]) -> Scene:
    """Make decisions one after the other, and keep what is on the disk then."""
    file, log, acknowledged = directory / "kavach.db", directory / "kavach.db-wal", list[Acknowledged]()
    kavach = await opened(f"sqlite:///{file}")
    agent = await make_agent(kavach)
    await kavach.budgets.create(agent_id=agent.id, limit=1000, per="forever")
    with closing(sqlite3.connect(file)) as other:
        other.execute("pragma wal_checkpoint(truncate)")
    for _ in range(_DECISIONS):
        decision = await ask(kavach, agent.token)
        assert decision.allowed and decision.audit_id
        acknowledged.append(Acknowledged(decision.audit_id, log.stat().st_size))
    # By another process: to close the file here would let go of the locks on it.
    copying = await asyncio.create_subprocess_exec("cp", file, f"{file}-wal", _made(directory / "kept"))
    assert await copying.wait() == 0
    await kavach.close()
    return Scene(
        (directory / "kept/kavach.db").read_bytes(), (directory / "kept/kavach.db-wal").read_bytes(), acknowledged
    )


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _wrong(scene: Scene, directory: Path, database: bytes, log: bytes) -> str | None:
    """What is wrong with a database that is found with this on the disk; None if nothing is."""
    file = directory / "found.db"
    file.write_bytes(database)
    Path(f"{file}-wal").write_bytes(log)
    Path(f"{file}-shm").unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma synchronous = off")  # to look at it quickly; what is looked at is there already
        try:
            sound = connection.execute("pragma integrity_check").fetchall() == [("ok",)]
            found = [ids.AUDIT.text(row[0]) for row in connection.execute("select id from kavach_audit order by id")]
            spent = connection.execute("select spent from kavach_budgets").fetchall()
        except sqlite3.DatabaseError as error:
            return str(error)
    everything = [each.audit_id for each in scene.acknowledged]
    safe = [each.audit_id for each in scene.acknowledged if each.length <= len(log)]
    if not sound:
        return "it is damaged"
    if found != everything[: len(found)]:
        return "it is no prefix"
    if spent != [(len(found),)]:
        return "its budget is not that of its record"
    return None if len(found) >= len(safe) else f"{len(safe) - len(found)} acknowledged are missing"


def _cuts(scene: Scene, every_byte: bool) -> list[int]:
    """Where the log is cut: around the end of every frame and its header, and somewhere or everywhere at the end."""
    around = [end + off for end in scene.ends for off in (-_FRAME + 24, -1, 0, 1)]
    last = range(len(scene.log) - _LAST_FRAMES * _FRAME, len(scene.log) + 1)
    anywhere = list(last) if every_byte else random.Random(1).sample(last, 100)
    return [cut for cut in sorted({0, _HEADER, *around, *anywhere}) if cut <= len(scene.log)]


@pytest.mark.parametrize(
    "every_byte",
    [False, pytest.param(True, marks=[pytest.mark.long, pytest.mark.timeout(1800)])],
    ids=["short", "long"],
)
async def test_every_cut_of_the_log_leaves_a_valid_prefix_with_all_that_was_acknowledged(
    tmp_path: Path, every_byte: bool, figure: Callable[[str], None]
) -> None:
    scene = await _decide(tmp_path, lambda database: create_kavach(database=database))
    assert scene.acknowledged[-1].length == len(scene.log) == scene.ends[-1]
    cuts = _cuts(scene, every_byte)
    wrong = {cut: found for cut in cuts if (found := _wrong(scene, tmp_path, scene.database, scene.log[:cut]))}
    figure(
        f"R2 cuts of the log that leave no valid prefix: {len(wrong)} of {len(cuts)}"
        f"{f', every byte of the last {_LAST_FRAMES} frames' if every_byte else ''} (sqlite)"
    )
    assert not wrong


async def test_the_same_check_catches_what_was_acknowledged_too_early(tmp_path: Path) -> None:
    """The negative control: answered before the commit, the log is not as long yet as it has to be."""
    scene = await _decide(tmp_path, open_early)
    found = _wrong(scene, tmp_path, scene.database, scene.log[: scene.acknowledged[-1].length])
    assert found == "1 acknowledged are missing"


async def test_the_same_check_catches_pages_without_a_log(tmp_path: Path) -> None:
    """The negative control: of a commit that is written into the database itself, a part may be there."""
    scene = await _decide(tmp_path, lambda database: create_kavach(database=database))
    found: set[str | None] = set()
    for frames in range(1, len(scene.ends)):
        database = bytearray(scene.database)
        for begin in range(_HEADER, _HEADER + frames * _FRAME, _FRAME):
            page = int.from_bytes(scene.log[begin : begin + 4], "big") - 1
            database[page * _PAGE : (page + 1) * _PAGE] = scene.log[begin + 24 : begin + _FRAME]
        found.add(_wrong(scene, tmp_path, bytes(database), b""))
    assert len(found - {None}) > 1, found


def _syncs(directory: Path, variant: str) -> int:
    """How often the log was synced while decisions were made one after the other, as the system saw it."""
    trace = directory / f"{variant}.trace"
    program = [sys.executable, "-m", "tests.proofs.syncing", f"sqlite:///{directory}/{variant}.db", "200", variant]
    watched = ["strace", "--follow-forks", "--decode-fds=path", "--trace=fsync,fdatasync", "-o", str(trace), *program]
    done = subprocess.run(watched, cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "200"
    return sum("-wal>" in line for line in trace.read_text().splitlines())


@pytest.mark.long
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_sqlite_syncs_its_log_for_every_acknowledged_decision(tmp_path: Path, figure: Callable[[str], None]) -> None:
    syncs = _syncs(tmp_path, "kavach")
    figure(f"R2 syncs of the log for 200 acknowledged decisions: {syncs} (sqlite)")
    assert syncs >= 200
    # The negative control: with `synchronous=normal` it is not synced at a commit.
    assert _syncs(tmp_path, "normal") < 200


def test_postgresql_syncs_its_log_for_every_acknowledged_decision(
    own_server: PostgresServer, figure: Callable[[str], None]
) -> None:
    """As PostgreSQL counts it for the processes of its clients."""
    with fresh_database(own_server.url, "template1") as database:
        syncs = asyncio.run(_count_syncs(own_server.url, database, decisions=50))
        figure(f"R2 syncs of the log for 50 acknowledged decisions: {syncs} (postgres)")
        assert syncs >= 50
        # The negative control: a server that answers before it syncs.
        assert asyncio.run(_count_syncs(own_server.url, f"{database}?synchronous_commit=off", decisions=50)) < 50


async def _count_syncs(server: str, database: str, *, decisions: int) -> int:
    async with await create_kavach(database=database) as kavach:
        agent = await make_agent(kavach)
        before = await _syncs_so_far(server)
        for _ in range(decisions):
            assert await ask(kavach, agent.token)
    # What a session did is counted when it has ended.
    return await _syncs_so_far(server) - before


async def _syncs_so_far(server: str) -> int:
    connection = await asyncpg.connect(server)
    try:
        if connection.get_server_version() < (18,):
            return int(await connection.fetchval("select wal_sync from pg_stat_wal"))
        counted = "select sum(fsyncs) from pg_stat_io where object = 'wal' and backend_type = 'client backend'"
        return int(await connection.fetchval(counted))
    finally:
        await connection.close()


class Look:
    """What a lane answers about the session that its decisions are made in."""

    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[str]:
        sqlite = tx.dialect == "sqlite"
        rows = [await tx.fetch_one(f"pragma {name}" if sqlite else f"show {name}") for name in questions]
        return [str(row[0]) for row in rows if row is not None]

    def committed(self) -> None: ...

    def lost(self) -> None: ...


async def _is_durable(kavach: Kavach) -> bool:
    """Whether a commit reaches the disk before it is answered, by the settings of the session it is made in."""
    store = store_of(kavach)
    wanted = _DURABLE_FILE if store.dialect == "sqlite" else _DURABLE_SERVER
    lane = store.lane(Look())
    return {name: await lane.submit(name) for name in wanted} == wanted


#: 2 is FULL.
_DURABLE_FILE = {"journal_mode": "wal", "synchronous": "2"}
_DURABLE_SERVER = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


async def test_a_commit_on_sqlite_is_on_the_disk_before_it_is_answered(sqlite_database: str) -> None:
    async with await create_kavach(database=sqlite_database) as kavach:
        assert await _is_durable(kavach)


async def test_a_commit_on_postgresql_is_as_durable_as_the_server_is_set(own_server: PostgresServer) -> None:
    async with await create_kavach(database=own_server.url, project="settings") as kavach:
        assert await _is_durable(kavach)


async def test_the_same_check_catches_settings_that_are_not_durable(
    sqlite_database: str, own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a file and a session that are set to be fast."""
    monkeypatch.setattr(sqlite_thread, "_WRITER", (*sqlite_thread._WRITER, "synchronous=normal"))
    for database in (sqlite_database, f"{own_server.url}?synchronous_commit=off"):
        async with await create_kavach(database=database, project="settings") as kavach:
            assert not await _is_durable(kavach)
