"""R1: no decision that was acknowledged is missing from the audit after a crash, of a process or of the database."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kavach_core import Kavach
from tests.capabilities.support import run
from tests.conftest import fresh_database
from tests.postgres_server import PostgresServer
from tests.proofs.deciding import World, make_world, work
from tests.proofs.mortals import Mortal, hear
from tests.proofs.records import all_rows, disagreements, gaps, lost, with_kavach

#: Processes at a time. On SQLite they wait for each other without any order.
_PROCESSES = {"sqlite": 2, "postgresql": 3}
#: What a process acknowledges at most before its end comes, how many seconds later, and how long the database is away.
_LIFE, _LATER, _AWAY = 25, 0.005, 0.2
#: Seconds within which a process that went on has its first decision again.
_BACK = 5.0


@dataclass
class Story:
    """What a proof saw from outside."""

    told: dict[str, str] = field(default_factory=dict[str, str])
    unavailable: int = 0
    kills: int = 0
    stops: int = 0
    #: Seconds from the start of the database to the first decision of each process.
    back: list[float] = field(default_factory=list[float])

    def note(self, said: Any) -> None:
        if said is None:
            self.unavailable += 1
        else:
            audit_id, code = said
            self.told[audit_id] = code


class Crowd:
    """Processes that have decisions made, one of which dies now and then and has a successor."""

    def __init__(self, make: Callable[[], Mortal], size: int, story: Story, chance: random.Random) -> None:
        self._make = make
        self._story = story
        self._chance = chance
        self._mortals = [make() for _ in range(size)]

    def kill_one(self) -> None:
        """Kill one at a random moment, after so many acknowledgements as chance has it."""
        victim = self._chance.choice(self._mortals)
        self._await([victim], lambda said: said is not None, times=self._chance.randint(1, _LIFE))
        self._listen(self._chance.uniform(0, _LATER))
        self._mortals.remove(victim)
        for said in victim.kill():
            self._story.note(said)
        self._story.kills += 1
        self._mortals.append(self._make())

    def stop_the_database(self, server: PostgresServer) -> None:
        """Stop it at once, leave it so for a while, and see that everybody goes on by themselves when it is back."""
        self._await(self._mortals, lambda said: said is not None, times=self._chance.randint(1, _LIFE))
        self._listen(self._chance.uniform(0, _LATER))
        server.kill()
        self._await(self._mortals, lambda said: said is None)
        self._listen(self._chance.uniform(0, _AWAY))
        server.start()
        started = time.monotonic()
        self._await(self._mortals, lambda said: said is not None and said[1] == "ALLOWED")
        self._story.back.append(time.monotonic() - started)
        self._story.stops += 1

    def end(self) -> None:
        for mortal in self._mortals:
            for said in mortal.kill():
                self._story.note(said)
            self._story.kills += 1

    def _listen(self, seconds: float) -> None:
        for _, said in hear(self._mortals, until=time.monotonic() + seconds):
            self._story.note(said)

    def _await(self, mortals: list[Mortal], wanted: Callable[[Any], bool], *, times: int = 1) -> None:
        """Listen to all until each of these said something of a kind so many times."""
        missing = dict.fromkeys(mortals, times)
        for mortal, said in hear(self._mortals, until=time.monotonic() + 10 * _BACK):
            self._story.note(said)
            if mortal in missing and wanted(said):
                missing[mortal] -= 1
                if not missing[mortal]:
                    del missing[mortal]
            if not missing:
                return
        raise AssertionError(f"{len(missing)} processes do not go on")


def _crash(
    database: str,
    *,
    kills: int,
    stops: int = 0,
    server: PostgresServer | None = None,
    variant: str = "kavach",
    processes: int | None = None,
) -> tuple[Story, World]:
    """Kill processes that decide, and stop the database in between."""
    world = asyncio.run(with_kavach(database, make_world))
    story, size = Story(), processes or _PROCESSES[database.partition(":")[0]]
    crowd = Crowd(lambda: Mortal(work, database, variant, world), size, story, random.Random(kills))
    try:
        for number in range(kills - size):
            if server is not None and number % (kills // stops) == 0:
                crowd.stop_the_database(server)
            crowd.kill_one()
    finally:
        crowd.end()
    return story, world


@dataclass
class Found:
    """What the record says afterwards."""

    rows: int
    lost: list[str]
    gaps: int
    disagreements: list[str]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.gaps or self.disagreements)


def _look(database: str, story: Story, world: World) -> Found:
    async def look(kavach: Kavach) -> Found:
        rows = await all_rows(kavach)
        wrong = await disagreements(kavach, rows, rated=world.rated)
        return Found(len(rows), lost(story.told, rows), gaps(rows), wrong)

    return asyncio.run(with_kavach(database, look))


def _line(found: Found, story: Story, where: str) -> str:
    stops = f" and {story.stops} stops of the database" if story.stops else ""
    return (
        f"R1 acknowledged rows lost: {len(found.lost)} of {len(story.told)} over {story.kills} kills{stops} ({where})"
    )


long = partial(pytest.param, marks=[pytest.mark.long, pytest.mark.timeout(3600)])


@pytest.mark.parametrize("kills", [12, long(2000)])
def test_no_acknowledged_decision_is_lost_on_sqlite(
    sqlite_database: str, kills: int, figure: Callable[[str], None]
) -> None:
    story, world = _crash(sqlite_database, kills=kills)
    found = _look(sqlite_database, story, world)
    figure(_line(found, story, "sqlite"))
    assert found.is_clean, found
    assert len(story.told) > 10 * kills


@pytest.mark.parametrize(("kills", "stops"), [(12, 2), long(2000, 50)])
def test_no_acknowledged_decision_is_lost_on_postgresql_which_is_stopped_itself(
    own_server: PostgresServer, kills: int, stops: int, figure: Callable[[str], None]
) -> None:
    """An immediate stop, as in a crash; those who call are told 503 and go on by themselves when it is back."""
    with fresh_database(own_server.url, "template1") as database:
        story, world = _crash(database, kills=kills, stops=stops, server=own_server)
        found = _look(database, story, world)
    figure(_line(found, story, "postgres"))
    figure(f"R1 back after a stop: within {max(story.back):.1f} s, in every process (postgres)")
    assert found.is_clean, found
    assert len(story.told) > 10 * kills and story.unavailable > 0 and story.stops == stops
    assert max(story.back) < _BACK


def test_the_same_check_catches_answers_before_the_commit(database_url: str) -> None:
    """The negative control: acknowledged, and then committed."""
    story, world = _crash(database_url, kills=4, variant="early", processes=1)
    assert _look(database_url, story, world).lost


_DAMAGE = {
    "delete from kavach_audit where code = 'SETTLED'": "lost",
    "delete from kavach_audit where sequence = 3": "gaps",
    "update kavach_audit set sequence = 2 where sequence = 3": "gaps",
    "update kavach_audit set code = 'NOT_GRANTED' where code = 'ALLOWED'": "lost",
    "update kavach_budgets set spent = spent - 1 where measure = 'cost'": "disagreements",
    "update kavach_counters set counts = counts || '1'": "disagreements",
    "delete from kavach_counters": "disagreements",
}


def test_the_same_check_catches_a_record_that_was_damaged(tmp_path: Path) -> None:
    whole = f"sqlite:///{tmp_path}/whole.db"
    story, world = _crash(whole, kills=4, processes=1)
    assert _look(whole, story, world).is_clean
    for damage, seen in _DAMAGE.items():
        shutil.copy(tmp_path / "whole.db", tmp_path / "copy.db")
        copy = f"sqlite:///{tmp_path}/copy.db"
        assert asyncio.run(with_kavach(copy, partial(run, sql=damage)))
        assert getattr(_look(copy, story, world), seen), damage
