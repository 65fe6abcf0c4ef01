"""A connection cut during COMMIT: its callers get 503, nothing is allowed that is not on record, nothing runs twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import get_args

import pytest

from kavach_core import CallContext, Decision, Kavach, create_kavach
from kavach_core.capabilities.authorize.worker import DecisionWorker
from kavach_core.errors import StoreUnavailable
from tests.capabilities.support import limited, make_agent
from tests.proofs.cutting import Cutter, Moment, cutter_before
from tests.proofs.records import all_rows, disagreements, gaps, lost

_PLENTY = 2**53 - 1
#: Callers that come together, and what each reserves and really costs.
_MOST_CALLERS, _RESERVED, _COST = 4, 5, 3

#: Has one call made under a key, which is in its row.
Call = Callable[[str], Awaitable[Decision]]


@dataclass
class Story:
    """What callers saw, and what is on record."""

    told: dict[str, str] = field(default_factory=dict[str, str])
    asked: int = 0
    unknown: int = 0
    cuts: int = 0
    #: What was told and is not on record; calls and settlements that are there twice; numbers that are.
    lost: list[str] = field(default_factory=list[str])
    twice: list[str] = field(default_factory=list[str])
    gaps: int = 0
    disagreements: list[str] = field(default_factory=list[str])


async def _cut(database: str, cuts: int, broken: Callable[[Call], Call] = lambda call: call) -> Story:
    """Have calls made in small crowds, each over a line that is cut somewhere, and look at what is on record."""
    async with cutter_before(database) as cutter, await create_kavach(database=database) as direct:
        agent = await make_agent(direct, limited("repos", "read", maxCallsPerHour=_PLENTY))
        for measure in ("calls", "cost"):
            await direct.budgets.create(measure=measure, limit=_PLENTY, per="forever", agent_id=agent.id)
            await direct.budgets.create(measure=measure, limit=_PLENTY, per="forever")
        async with await create_kavach(database=cutter.url, skip_migrations=True) as kavach:
            story = await _Crowds(kavach, agent.token or "", cutter, broken).run(cuts)
        rows = await all_rows(direct)
        story.lost, story.gaps = lost(story.told, rows), gaps(rows)
        times = Counter(row.request_id or row.settles for row in rows)
        story.twice = [str(key) for key, number in times.items() if number > 1]
        story.disagreements = await disagreements(direct, rows, rated=agent.id)
        return story


class _Crowds:
    """Those who call."""

    def __init__(self, kavach: Kavach, token: str, cutter: Cutter, broken: Callable[[Call], Call]) -> None:
        self._kavach = kavach
        self._token = token
        self._cutter = cutter
        self._call = broken(self._authorize)
        self._story = Story()

    async def run(self, cuts: int) -> Story:
        chance = random.Random(cuts)
        for number in range(cuts):
            # The first COMMIT is that of the decisions, the second that of the settlements.
            self._cutter.next_cut, self._cutter.passing = chance.choice(get_args(Moment)), chance.randint(0, 1)
            crowd = [self._ask(f"{number}.{place}") for place in range(chance.randint(1, _MOST_CALLERS))]
            await asyncio.gather(*crowd)
            assert self._cutter.cuts == number + 1
            # And the next one works.
            assert await self._ask(f"{number}.next")
        self._story.cuts = cuts
        return self._story

    async def _ask(self, key: str) -> bool:
        """Call, and settle if it was allowed; returns whether both were answered."""
        self._story.asked += 1
        try:
            decision = await self._call(key)
            assert decision.allowed and decision.audit_id
            self._story.told[decision.audit_id] = decision.code
            settlement = await self._kavach.settle(decision.audit_id, _COST)
            self._story.told[settlement.audit_id] = "SETTLED"
        except StoreUnavailable:
            self._story.unknown += 1
            return False
        return True

    async def _authorize(self, key: str) -> Decision:
        context = CallContext(request_id=key)
        return await self._kavach.authorize(
            self._token, action="read", resource="repos", cost=_RESERVED, context=context
        )


long = pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("cuts", [24, long])
async def test_a_lost_commit_allows_nothing_unrecorded_and_runs_nothing_twice(
    postgres_database: str, cuts: int, figure: Callable[[str], None]
) -> None:
    story = await _cut(postgres_database, cuts)
    figure(
        f"R1 cut during COMMIT: {len(story.lost)} answers not on record, {len(story.twice)} calls run twice,"
        f" of {story.asked} calls over {story.cuts} cuts (postgres)"
    )
    assert not (story.lost or story.twice or story.gaps or story.disagreements), story
    assert story.unknown >= cuts


def _again(call: Call) -> Call:
    """What Kavach does not do: try again when the outcome is not known."""

    async def call_again(key: str) -> Decision:
        try:
            return await call(key)
        except StoreUnavailable:
            return await call(key)

    return call_again


async def test_the_same_check_catches_a_call_that_is_tried_again(postgres_database: str) -> None:
    """The negative control: what is tried again after it was committed is there twice, and spent twice."""
    story = await _cut(postgres_database, 6, _again)
    assert story.twice


async def test_the_same_check_catches_numbers_that_are_used_again(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: who goes on as the same writer takes the numbers of a batch that is on record."""
    monkeypatch.setattr(DecisionWorker, "lost", lambda worker: None)
    story = await _cut(postgres_database, 6)
    assert story.gaps
