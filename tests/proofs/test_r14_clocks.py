"""R14: clock faults are harmless. Jumps of ten minutes either way, a clock that stands still, one behind another's."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kavach_core import Kavach, create_kavach
from kavach_core.primitives.clock import HOUR, MINUTE, SECOND, to_datetime
from kavach_core.store.timeline import Timeline
from tests.capabilities.support import all_entries, ask, code, limited, make_agent, select, store_of

START = 1_893_499_200 * SECOND  # noon
_LIMIT = 5
_TTL, _IDLE = 5 * MINUTE, 6 * MINUTE
_FAULTS = (0, 0, SECOND, -SECOND, 40 * SECOND, -40 * SECOND, 10 * MINUTE, -10 * MINUTE, 3 * MINUTE, -HOUR, 70 * MINUTE)


class FaultyClock:
    """Says what it was told last."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


class Observer:
    """Calls, and holds every answer against the newest time that any call has seen."""

    def __init__(self, kavach: Kavach, clock: FaultyClock) -> None:
        self._kavach = kavach
        self._clock = clock
        self._newest = clock.at
        self._tokens: dict[str, str] = {}
        #: When each ends if it is not used, and those that do not end any later for being used.
        self._ends: dict[str, int] = {}
        self._used: list[int] = []
        self._hours: Counter[int] = Counter()
        self.late: list[str] = []
        self.calls: Counter[str] = Counter()

    async def prepare(self) -> None:
        """One of everything that ends by itself or opens anew."""
        kavach = self._kavach
        await self._add("agent", make_agent(kavach, expires_at=to_datetime(START + 8 * MINUTE)), 8 * MINUTE)
        await self._add("idle agent", make_agent(kavach, ttl=f"{_TTL // SECOND}s"), _TTL)
        root = await make_agent(kavach)
        child = kavach.agents.delegate(
            from_=root.id, permissions=["read:repos"], expires_at=to_datetime(START + 12 * MINUTE)
        )
        await self._add("delegation", child, 12 * MINUTE)
        session = await kavach.sessions.create("alice")
        self._tokens["session"], self._ends["session"] = session.token or "", START + _IDLE
        key = await kavach.keys.create(name="key", scopes=["authorize"], expires_at=to_datetime(START + 9 * MINUTE))
        self._tokens["key"], self._ends["key"] = key.key or "", START + 9 * MINUTE
        budgeted = await make_agent(kavach)
        await kavach.budgets.create(limit=_LIMIT, per="hour", agent_id=budgeted.id)
        self._tokens["budget"] = budgeted.token or ""
        rated = await make_agent(kavach, limited("repos", "read", maxCallsPerHour=_LIMIT))
        self._tokens["rate"] = rated.token or ""

    async def _add(self, who: str, made: Awaitable[Any], lifetime: int) -> None:
        self._tokens[who], self._ends[who] = (await made).token or "", START + lifetime

    async def call(self, who: str) -> None:
        """One call, judged."""
        self._newest = max(self._newest, self._clock.at)
        allowed = await self._decide(who)
        self.calls[who] += 1
        judge = self._judge_budget if who == "budget" else self._judge_rate if who == "rate" else self._judge_end
        judge(who, allowed)

    async def _decide(self, who: str) -> bool:
        kavach, token = self._kavach, self._tokens[who]
        if who == "session":
            return bool(await kavach.sessions.verify(token))
        if who == "key":
            return bool(await kavach.keys.verify(token))
        return bool(await ask(kavach, token))

    def _judge_end(self, who: str, allowed: bool) -> None:
        if allowed and self._newest >= self._ends[who]:
            self.late.append(f"{who} {(self._newest - self._ends[who]) // SECOND} s after its end")
        slides = {"idle agent": _TTL, "session": _IDLE}
        if allowed and who in slides:
            self._ends[who] = max(self._ends[who], self._newest + slides[who])
        if not allowed and self._newest < self._ends[who] - slides.get(who, 0) // 20 - MINUTE * (who == "session"):
            self.late.append(f"{who} refused {(self._ends[who] - self._newest) // SECOND} s before its end")

    def _judge_budget(self, who: str, allowed: bool) -> None:
        hour = self._newest // HOUR
        self._hours[hour] += allowed
        if self._hours[hour] > _LIMIT or (not allowed and self._hours[hour] < _LIMIT):
            self.late.append(f"{who}: {self._hours[hour]} in one hour, and then {allowed}")

    def _judge_rate(self, who: str, allowed: bool) -> None:
        minute = self._newest // MINUTE
        taken = sum(minute - 60 < used for used in self._used)
        if allowed != (taken < _LIMIT):
            self.late.append(f"{who}: {taken} in sixty minutes, and then {allowed}")
        if allowed:
            self._used.append(minute)

    @property
    def known(self) -> Sequence[str]:
        return list(self._tokens)


async def observe(kavach: Kavach, clock: FaultyClock, seed: int, calls: int) -> Observer:
    """Have so many calls between faults of the clock that a seed chooses."""
    chance, observer = random.Random(seed), Observer(kavach, clock)
    await observer.prepare()
    for _ in range(calls):
        clock.at = max(START - HOUR, clock.at + chance.choice(_FAULTS) + chance.randrange(SECOND))
        for who in chance.choices(observer.known, k=3):
            await observer.call(who)
    return observer


@asynccontextmanager
async def opened(database: str, clock: FaultyClock, project: str) -> AsyncGenerator[Kavach]:
    async with await create_kavach(
        database=database, clock=clock, project=project, session_idle=timedelta(microseconds=_IDLE)
    ) as kavach:
        yield kavach


@pytest.mark.parametrize("seeds", [2, pytest.param(400, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
async def test_nothing_is_accepted_after_its_end_and_nothing_opens_again_whatever_the_clock_says(
    database_url: str, seeds: int, figure: Callable[[str], None]
) -> None:
    calls: Counter[str] = Counter()
    for seed in range(seeds):
        clock = FaultyClock()
        async with opened(database_url, clock, f"seed-{seed}") as kavach:
            observer = await observe(kavach, clock, seed, 30)
            assert not observer.late, f"seed {seed}: {observer.late}"
            calls.update(observer.calls)
            await require_order(kavach)
    figure(
        f"R14 accepted after an end or beyond a limit: 0 of {calls.total():,} calls with faulty clocks"
        f" ({database_url.partition(':')[0]})"
    )
    assert len(calls) == 7


class Believing(Timeline):
    """Believes whatever the clock says."""

    def settle(self, at: int) -> int:
        self._newest = at
        return at


async def test_the_same_check_catches_a_time_that_goes_back(database_url: str) -> None:
    """The negative control."""
    found, expected = set[str](), {"agent", "idle", "delegation", "session", "key"}
    for seed in range(20):
        if expected <= found:
            return
        clock = FaultyClock()
        async with opened(database_url, clock, f"seed-{seed}") as kavach:
            store: Any = store_of(kavach)
            holder = store._engine if store.dialect == "sqlite" else store
            holder.timeline = holder._timeline = Believing()
            found |= {each.split()[0] for each in (await observe(kavach, clock, seed, 30)).late}
    pytest.fail(f"only {found} went on after their end")


async def require_order(kavach: Kavach) -> None:
    """Ids, times and sequence of every writer agree, and no number is missing."""
    entries = await all_entries(kavach)
    writers: dict[str, list[Any]] = {}
    for entry in entries:
        writers.setdefault(entry.writer, []).append(entry)
    for of_one in writers.values():
        assert [entry.sequence for entry in of_one] == list(range(len(of_one)))
        assert [entry.at for entry in of_one] == sorted(entry.at for entry in of_one)


async def test_with_a_clock_that_stands_still_ids_and_record_keep_their_order(database_url: str) -> None:
    clock = FaultyClock()
    async with opened(database_url, clock, "still") as kavach:
        agent = await make_agent(kavach)
        told = [(await ask(kavach, agent.token)).audit_id for _ in range(60)]
        assert told == sorted(told, key=str) and len(set(told)) == 60
        assert {entry.at for entry in await all_entries(kavach)} == {to_datetime(START)}
        await require_order(kavach)


async def test_what_is_spent_stays_spent_for_a_process_whose_clock_is_behind(database_url: str) -> None:
    """On SQLite one process after the other, as a restart after the clock was set back."""
    ahead, behind = FaultyClock(START + 10 * MINUTE), FaultyClock(START - 10 * MINUTE)
    async with opened(database_url, ahead, "default") as kavach:
        budgeted, rated = (
            await make_agent(kavach),
            await make_agent(kavach, limited("repos", "read", maxCallsPerHour=_LIMIT)),
        )
        await kavach.budgets.create(limit=_LIMIT, per="hour", agent_id=budgeted.id)
        for agent in (budgeted, rated):
            assert [bool(await ask(kavach, agent.token)) for _ in range(_LIMIT + 1)] == [True] * _LIMIT + [False]
    for clock in (behind, ahead, behind):
        async with opened(database_url, clock, "default") as kavach:
            assert await code(kavach, budgeted.token) == "BUDGET_EXCEEDED"
            assert await code(kavach, rated.token) == "RATE_LIMITED"
            await require_order(kavach)
            assert (await select(kavach, "select spent from kavach_budgets"))[0][0] == _LIMIT


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns"])
async def test_daylight_saving_and_leap_seconds_mean_nothing(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """A night in which local clocks skip an hour, and one that had a leap second: all windows are those of UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for night in (datetime(2030, 3, 31, 0, 30, tzinfo=UTC), datetime(2016, 12, 31, 22, 30, tzinfo=UTC)):
            clock = FaultyClock(int(night.timestamp()) * SECOND)
            async with opened(sqlite_database, clock, str(night.year)) as kavach:
                window = {"start": "00:00", "end": "02:00"}
                agent = await make_agent(kavach, limited("repos", "read", timeWindow=window))
                await kavach.budgets.create(limit=1, per="hour", agent_id=agent.id)
                codes: list[str] = []
                for _ in range(8):
                    codes.append(await code(kavach, agent.token))
                    clock.at += 30 * MINUTE
            expected = {
                2030: ["ALLOWED", "ALLOWED", "BUDGET_EXCEEDED", *["OUTSIDE_TIME_WINDOW"] * 5],
                2016: [*["OUTSIDE_TIME_WINDOW"] * 3, *["ALLOWED", "BUDGET_EXCEEDED"] * 2, "OUTSIDE_TIME_WINDOW"],
            }
            assert codes == expected[night.year]
    finally:
        monkeypatch.undo()
        time.tzset()
