"""R6: budgets are exact. Nothing is overspent and nothing wrongly refused, over processes, levels and kills."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from kavach_core import Kavach, create_kavach
from kavach_core.capabilities.budgets import Budget
from kavach_core.primitives import ids
from kavach_core.primitives.clock import SECOND
from tests.capabilities.support import make_agent
from tests.proofs.mortals import Mortal, hear
from tests.proofs.records import Row, all_rows, gaps, lost, with_kavach
from tests.proofs.reservations import Call, Limit, Verdict, judge
from tests.proofs.spending import LEASE, Job, work

_OWNERS, _AGENTS = 3, 6


@dataclass(frozen=True)
class Scale:
    """How large a run is."""

    processes: int
    callers: int
    calls: int
    kills: int
    #: How many times as much as usual there is in every budget.
    room: int = 1

    @property
    def total(self) -> int:
        return self.processes * self.calls


@dataclass
class World:
    """Agents of several owners, each with a budget of calls and one of cost, as have the owners and the project."""

    tokens: tuple[str, ...]
    limits: list[Limit]
    #: The id of each budget, by its name.
    ids: dict[str, str]


@dataclass
class Story:
    """What was seen while it went on."""

    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    kills: int = 0
    snapshots: int = 0
    #: The most any snapshot showed above a limit.
    overspent: int = 0


async def _make_world(kavach: Kavach, scale: Scale) -> World:
    """Limits that are too tight at each level: those of cost for so many callers, those of calls for the whole run."""
    busy, total = scale.processes * scale.callers * 5 * scale.room, scale.total * scale.room
    agents = [await make_agent(kavach, owner_id=f"owner-{number % _OWNERS}") for number in range(_AGENTS)]
    limits: list[Limit] = []
    made: dict[str, str] = {}

    async def bound(name: str, most: int, measure: str, whose: set[int], **holder: Any) -> None:
        budget = await kavach.budgets.create(measure=measure, limit=most, per="forever", **holder)
        limits.append(Limit(name, measure == "calls", most, frozenset(whose)))
        made[name] = budget.id

    everybody = set(range(_AGENTS))
    for number, agent in enumerate(agents):
        await bound(f"cost of agent {number}", busy // 4 + 9, "cost", {number}, agent_id=agent.id)
        await bound(f"calls of agent {number}", total // (12 + 8 * number), "calls", {number}, agent_id=agent.id)
    for number in range(_OWNERS):
        of_owner = {agent for agent in everybody if agent % _OWNERS == number}
        await bound(f"cost of owner {number}", busy // 3 + 9, "cost", of_owner, owner_id=f"owner-{number}")
        await bound(f"calls of owner {number}", total // 6, "calls", of_owner, owner_id=f"owner-{number}")
    await bound("cost of all", busy * 2 // 3 + 9, "cost", everybody)
    await bound("calls of all", total * 2 // 5, "calls", everybody)
    return World(tuple(agent.token or "" for agent in agents), limits, made)


class Crew:
    """The processes of a run, some of which are killed while they hold reservations and have successors."""

    def __init__(self, start: Callable[[Job], Mortal], scale: Scale, story: Story) -> None:
        self._start = start
        self._scale = scale
        self._story = story
        self._jobs: dict[Mortal, Job] = {}
        self._begun: dict[str, int] = {}
        self._ready: list[Mortal] = []
        #: How many have to be ready before they begin: all of the first, then each by itself.
        self._awaited = scale.processes

    def run(self) -> None:
        """Have everything called; returns when all processes are done."""
        for number in range(self._scale.processes):
            self._begin(f"p{number}", self._scale.calls)
        try:
            while self._jobs:
                self._listen()
        finally:
            for mortal in list(self._jobs):
                mortal.kill()

    def _begin(self, name: str, calls: int) -> None:
        # Agents cost something so rarely that a run does not end because all is spent.
        job = Job(name, self._scale.callers, calls, costs_something=20 / self._scale.total)
        self._jobs[self._start(job)] = job
        self._begun[name] = 0

    def _listen(self) -> None:
        for mortal, said in hear(list(self._jobs), until=time.monotonic() + 1):
            if said[0] == "ready":
                self._let_begin(mortal)
                continue
            self._note(said)
            if said[0] == "done":
                del self._jobs[mortal]
                mortal.await_end()
                return
            if said[0] == "end" and said[3] == "ALLOWED" and self._is_due:
                self._kill(mortal)
                return

    def _let_begin(self, mortal: Mortal) -> None:
        self._ready.append(mortal)
        if len(self._ready) == self._awaited:
            for each in self._ready:
                each.tell("begin")
            self._ready, self._awaited = [], 1

    @property
    def _is_due(self) -> bool:
        """Whether it is time for the next kill: all of them come in the first half of the calls."""
        kills = self._scale.kills
        return (
            self._story.kills < kills and len(self._story.calls) > self._scale.total * self._story.kills // kills // 2
        )

    def _kill(self, victim: Mortal) -> None:
        """Kill one that holds a reservation; another process makes the calls it has not begun."""
        job = self._jobs.pop(victim)
        for said in victim.kill():
            self._note(said)
        dead = time.monotonic_ns()
        for key, call in self._story.calls.items():
            if key.partition(".")[0] == job.name:
                call.dead = dead
        self._story.kills += 1
        if left := job.calls - self._begun[job.name]:
            self._begin(f"{job.name}'", left)

    def _note(self, said: tuple[Any, ...]) -> None:
        what, key, *more = said
        match what, more:
            case "begin", [begin, agent, cost]:
                self._story.calls[key] = Call(agent, cost, begin)
                self._begun[key.partition(".")[0]] += 1
            case "end", [end, code, audit_id]:
                call = self._story.calls[key]
                call.end, call.code, call.audit_id = end, code, audit_id
            case "settle", [begin]:
                self._story.calls[key].settle_begin = begin
            case "settled", [end]:
                self._story.calls[key].settle_end = end


@dataclass
class Outcome:
    """What came of a run."""

    story: Story
    verdict: Verdict
    rows: list[Row]
    lost: list[str]
    #: Calls with more than one row.
    twice: list[str]
    #: Budgets that say something else than was settled, once every lease is over.
    disagreements: list[str]

    @property
    def overspent(self) -> int:
        """The most units above a limit that anybody could see."""
        return max(self.story.overspent, *self.verdict.overspent.values())


def _spend(database: str, scale: Scale, variant: str = "kavach") -> Outcome:
    story = Story()
    world = asyncio.run(with_kavach(database, partial(_make_world, scale=scale)))
    crew = Crew(lambda job: Mortal(work, database, variant, world.tokens, job), scale, story)
    with _watching(database, story):
        crew.run()
    rows = asyncio.run(with_kavach(database, all_rows))
    twice = _add_records(story.calls, rows)
    told = {call.audit_id: call.code for call in story.calls.values() if call.audit_id and call.code}
    verdict = judge(story.calls.values(), world.limits)
    left = asyncio.run(_when_leases_are_over(database, rows))
    return Outcome(story, verdict, rows, lost(told, rows), twice, _disagreements(world, story, left))


@contextmanager
def _watching(database: str, story: Story) -> Generator[None]:
    """Look at all budgets at once, again and again."""
    over = threading.Event()

    async def watch(kavach: Kavach) -> None:
        while not over.is_set():
            budgets = await kavach.budgets.list()
            story.snapshots += 1
            story.overspent = max(story.overspent, *[budget.spent - budget.limit for budget in budgets])
            await asyncio.sleep(0.01)

    with ThreadPoolExecutor(1) as thread:
        watching = thread.submit(lambda: asyncio.run(with_kavach(database, watch)))
        try:
            yield
        finally:
            over.set()
        watching.result()


def _add_records(calls: dict[str, Call], rows: Sequence[Row]) -> list[str]:
    """Add what is on record of each call; returns those that have a second decision or settlement."""
    decided = dict[bytes, Call]()
    for row in rows:
        if row.request_id is not None:
            call = decided[row.id] = calls[row.request_id]
            call.allowed = call.allowed or row.code == "ALLOWED"
        elif row.settles is not None:
            decided[row.settles].actual = decided[row.settles].cost + (row.cost or 0)
    keys = Counter(row.request_id or row.settles for row in rows)
    return [str(key) for key, times in keys.items() if times > 1]


async def _when_leases_are_over(database: str, rows: Sequence[Row]) -> list[Budget]:
    """The budgets at the moment at which the last reservation must have fallen back."""
    over = max(ids.moment(row.id) for row in rows) + int(LEASE[:-1]) * SECOND * 17 // 16
    async with await create_kavach(database=database, clock=lambda: over) as later:
        return list(await later.budgets.list())


def _disagreements(world: World, story: Story, budgets: Sequence[Budget]) -> list[str]:
    spent = {budget.id: budget.spent for budget in budgets}
    found: list[str] = []
    for limit in world.limits:
        counted = [call for call in story.calls.values() if call.allowed and call.agent in limit.agents]
        settled = sum(1 if limit.measures_calls else call.actual or 0 for call in counted)
        if spent[world.ids[limit.name]] != settled:
            found.append(f"{limit.name}: {spent[world.ids[limit.name]]}, settled {settled}")
    return found


def _line(outcome: Outcome, scale: Scale, where: str) -> str:
    refused = len(outcome.verdict.wrongly_refused)
    return (
        f"R6 overspent: {outcome.overspent} units, wrongly refused: {refused} of {len(outcome.story.calls)} calls"
        f" over {scale.processes} processes, 3 levels, {outcome.story.kills} kills ({where})"
    )


_SHORT = {"sqlite": Scale(2, 6, 200, 3), "postgresql": Scale(4, 3, 100, 4)}
_LONG = {"sqlite": Scale(4, 3, 1250, 100), "postgresql": Scale(8, 3, 5000, 100)}


@pytest.mark.parametrize(
    "scales", [_SHORT, pytest.param(_LONG, marks=[pytest.mark.long, pytest.mark.timeout(3600)])], ids=["short", "long"]
)
def test_budgets_are_exact_over_processes_levels_and_kills(
    database_url: str, scales: Mapping[str, Scale], figure: Callable[[str], None]
) -> None:
    kind = database_url.partition(":")[0]
    scale = scales[kind]
    outcome = _spend(database_url, scale)
    figure(_line(outcome, scale, kind))
    assert outcome.overspent == 0, outcome.verdict.overspent
    assert not outcome.verdict.wrongly_refused
    assert not (outcome.disagreements or outcome.lost or outcome.twice or gaps(outcome.rows))
    # It was put to the test: all calls were made, holders of reservations killed, and calls refused.
    assert len(outcome.story.calls) == scale.total
    # On a busy machine the calls may be done before the last of them is told of.
    assert 0 < outcome.story.kills <= scale.kills < outcome.story.snapshots
    refusing = {name.partition(" of ")[0] for name in outcome.verdict.explained}
    # By budgets of either measure; a short run may end when only those of one have run out.
    assert refusing == {"calls", "cost"} or (refusing and scale.total < 1000)


def test_the_same_check_catches_budgets_that_are_read_outside_the_lock(database_url: str) -> None:
    """The negative control: each process believes what it has read and written itself."""
    outcome = _spend(database_url, Scale(2, 3, 150, 0), "stale")
    assert outcome.overspent and outcome.disagreements


def test_the_same_check_catches_a_refusal_without_looking(sqlite_database: str) -> None:
    """The negative control: every fifth call is refused, whatever is left."""
    outcome = _spend(sqlite_database, Scale(2, 2, 100, 0, room=5), "timid")
    assert outcome.verdict.wrongly_refused and not outcome.overspent
