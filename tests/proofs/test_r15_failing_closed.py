"""R15: while the database cannot be used nothing is allowed, callers are told in time, and soon after it all is well.

`tests/store/test_failures.py` and `tests/http/test_failures.py` have the same for single calls; here processes call all
the time, and what they were told is held against the record.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kavach_core import Kavach
from tests.capabilities.support import make_agent
from tests.conftest import fresh_database
from tests.postgres_server import PostgresServer
from tests.proofs import faults
from tests.proofs.enduring import NOBODY, Told, work
from tests.proofs.faults import Fault
from tests.proofs.mortals import Mortal, hear
from tests.proofs.records import all_rows, with_kavach

#: Seconds within which callers are told, as they wished, and how much longer a busy machine may take.
_PATIENCE, _LATE = 1.0, 2.0
#: Seconds for which a fault stays after callers were told of it.
_WATCHED = 0.2
#: Seconds within which calls are allowed again after the fault is gone.
_BACK = 5.0
_PLENTY = 2**53 - 1


@dataclass
class Story:
    """What a process was told before, during and after a fault."""

    calls: list[Told] = field(default_factory=list[Told])
    #: When the fault was surely there, and when it began to go.
    begin: float = 0.0
    end: float = 0.0
    #: Seconds after the end of the fault until a call was allowed.
    back: float = 0.0
    #: Audit ids on record.
    record: set[str] = field(default_factory=set[str])

    @property
    def during(self) -> list[Told]:
        """Calls that began and were answered while the fault was there."""
        return [call for call in self.calls if self.begin < call.begin and call.end < self.end]

    @property
    def unrecorded(self) -> list[Told]:
        """Calls that were allowed without a record of it."""
        return [call for call in self.calls if call.allowed and call.audit_id not in self.record]

    @property
    def longest(self) -> float:
        """Seconds the slowest caller waited for an answer."""
        return max(call.end - call.begin for call in self.calls)


class Witness:
    """Listens to one process that calls."""

    def __init__(self, process: Mortal, story: Story) -> None:
        self._process = process
        self._story = story

    def see(self, wanted: Callable[[Told], bool], times: int, what: str, *, within: float = 2 * _BACK) -> Told:
        """Listen until so many such calls were seen; returns the last."""
        call: Told
        for _, call in hear([self._process], until=time.monotonic() + within):
            self._story.calls.append(call)
            times -= wanted(call)
            if not times:
                return call
        raise AssertionError(f"nobody was told that the call is {what}")

    def watch(self, seconds: float) -> None:
        """Listen for a while."""
        self._story.calls += [call for _, call in hear([self._process], until=time.monotonic() + seconds)]


def _endure(
    database: str,
    fault: Fault,
    *,
    variant: str = "kavach",
    answer_within: str = "1s",
    watched: float = _WATCHED,
) -> Story:
    """Have a process call before, during and after a fault."""
    token = asyncio.run(with_kavach(database, _make_agent))
    story = Story()
    process = Mortal(work, database, variant, token, {"answer_within": answer_within})
    witness = Witness(process, story)
    try:
        witness.see(lambda call: call.allowed, 8, "allowed")
        with fault(database, process.pid):
            story.begin = time.monotonic()
            witness.see(lambda call: call.begin > story.begin, 4, "unavailable", within=_PATIENCE + _LATE)
            witness.watch(watched)
            story.end = time.monotonic()
        gone = time.monotonic()
        story.back = witness.see(lambda call: call.begin > gone and call.allowed, 1, "allowed again").end - gone
    finally:
        story.calls += process.kill()
    story.record = {row.audit_id for row in asyncio.run(with_kavach(database, all_rows))}
    return story


async def _make_agent(kavach: Kavach) -> str:
    agent = await make_agent(kavach)
    await kavach.budgets.create(agent_id=agent.id, measure="cost", limit=_PLENTY, per="forever")
    return agent.token or ""


def _line(story: Story, fault: str, kind: str) -> str:
    return (
        f"R15 allows that are not on record: {len(story.unrecorded)}, allows during it:"
        f" {sum(call.allowed for call in story.during)} of {len(story.during)} calls, slowest answer"
        f" {story.longest:.1f} s, back after {story.back:.1f} s: {fault} ({kind})"
    )


def _check(story: Story, *, until_full: bool = False) -> None:
    assert not story.unrecorded
    assert story.during and not story.during[-1].allowed
    # The last pages of a full disk may have room for some rows, and what is on record there may be allowed.
    assert until_full or not any(call.allowed for call in story.during)
    assert story.longest < _PATIENCE + _LATE
    assert story.back < _BACK


@pytest.mark.parametrize(
    ("fault", "watched"),
    [
        (faults.locked_file, _WATCHED),
        (faults.no_room_for_files, _WATCHED),
        # Longer than whoever writes waits for the lock.
        pytest.param(faults.locked_file, 12.0, marks=pytest.mark.long),
    ],
)
def test_sqlite_fails_closed(sqlite_database: str, fault: Fault, watched: float, figure: Callable[[str], None]) -> None:
    story = _endure(sqlite_database, fault, watched=watched)
    figure(_line(story, fault.__name__.replace("_", " "), "sqlite"))
    _check(story)


@pytest.mark.parametrize(
    ("fault", "variant"),
    [(faults.locked_row, "kavach"), (faults.disk_said_full, "kavach"), (faults.slow_disk, "impatient")],
)
def test_postgresql_fails_closed(
    postgres_database: str, fault: Fault, variant: str, figure: Callable[[str], None]
) -> None:
    story = _endure(postgres_database, fault, variant=variant)
    figure(_line(story, fault.__name__.replace("_", " "), "postgres"))
    _check(story)


def test_postgresql_that_is_stopped_fails_closed(own_server: PostgresServer, figure: Callable[[str], None]) -> None:
    with fresh_database(own_server.url, "template1") as database:
        story = _endure(database, lambda database, pid: faults.stopped(own_server))
    figure(_line(story, "stopped", "postgres"))
    _check(story)


@pytest.mark.long
def test_sqlite_on_a_full_disk_fails_closed(tmp_path: Path, figure: Callable[[str], None]) -> None:
    with faults.small_disk(tmp_path, "8m") as full:
        story = _endure(f"sqlite:///{tmp_path}/kavach.db", full, watched=1.0)
    figure(_line(story, "full disk", "sqlite"))
    _check(story)


@pytest.mark.long
def test_postgresql_on_a_full_disk_fails_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    with tempfile.TemporaryDirectory() as mount, faults.small_disk(Path(mount), "400m") as full:
        monkeypatch.setattr(tempfile, "tempdir", mount)
        with PostgresServer() as server:
            story = _endure(server.url, full, watched=1.0)
        monkeypatch.undo()
    figure(_line(story, "full disk", "postgres"))
    _check(story, until_full=True)


def test_a_file_that_may_only_be_read_allows_nothing_until_it_may_be_written(
    figure: Callable[[str], None], nobodys_directory: Path
) -> None:
    """Whoever runs the tests may be root, who may write everything; the process that calls is not."""
    database = f"sqlite:///{nobodys_directory}/kavach.db"
    token, story = asyncio.run(with_kavach(database, _make_agent)), Story()
    with _only_read(nobodys_directory):
        story.begin = time.monotonic()
        process = Mortal(work, database, "nobody", token, {"answer_within": "1s"})
        witness = Witness(process, story)
        witness.see(lambda call: not call.allowed, 4, "unavailable")
        story.end = time.monotonic()
    gone = time.monotonic()
    story.back = witness.see(lambda call: call.begin > gone and call.allowed, 1, "allowed again").end - gone
    story.calls += process.kill()
    story.record = {row.audit_id for row in asyncio.run(with_kavach(database, all_rows))}
    figure(_line(story, "read-only file", "sqlite"))
    _check(story)


@pytest.fixture
def nobodys_directory() -> Generator[Path]:
    """A directory that belongs to nobody if root runs the tests, and that everybody can get to."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def _only_read(directory: Path) -> Generator[None]:
    everything = [directory, *directory.iterdir()]
    for path in everything:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_the_same_check_catches_a_call_that_is_let_pass(sqlite_database: str) -> None:
    """The negative control: whoever lets calls pass while nobody can say whether they may, allows without a record."""
    story = _endure(sqlite_database, faults.no_room_for_files, variant="open")
    assert story.unrecorded and any(call.allowed for call in story.during)


def test_the_same_check_catches_callers_that_are_kept_waiting(sqlite_database: str) -> None:
    """The negative control: without patience that ends they would wait as long as the lock is held."""
    with pytest.raises(AssertionError, match="nobody was told"):
        _endure(sqlite_database, faults.locked_file, answer_within="1h")
