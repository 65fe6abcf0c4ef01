"""What the guard and `require` add to a request: CPU of this process, next to the same app without them.

Requests are ASGI calls in this process, so no server and no socket is counted. Contenders that are compared take turns.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.databases import Backend, sqlite
from benchmarks.guarded_apps import FRAMEWORKS, GUARD, Framework, decide_by_hand, visit
from benchmarks.machine import client_cpu
from benchmarks.report import Goal, Row, print_goals, print_rows
from benchmarks.world import Shape, settle
from kavach_adapters import kavach_starlette
from kavach_core import LazyKavach, lazy_kavach
from kavach_core.store.open import open_store

#: Callers of what asks the database.
_CALLERS: Final = 64
_AGENTS: Final = 2_000
#: Microseconds of CPU: of the guard on an unprotected path, of `require` beyond a route that asks by itself.
_GUARD_GOAL: Final = 20
_REQUIRE_GOAL: Final = 60

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to look: bursts that each contender has, and requests in one of those."""

    bursts: int
    alone: int
    together: int


_QUICK: Final = Plan(bursts=7, alone=500, together=1920)
_FULL: Final = Plan(bursts=15, alone=2000, together=2560)


async def run(quick: bool) -> Sequence[Row]:
    """Measure every framework, print the table and the targets, return the rows."""
    rows: list[Row] = []
    async with sqlite() as backend:
        url = await backend.create("guard")
        tokens = await agents_in(url)
        get_kavach = lazy_kavach(database=url)
        callers = await Callers.of(get_kavach, tokens)
        for framework in FRAMEWORKS:
            for comparison in callers.comparisons(framework):
                rows += await comparison.measure(_QUICK if quick else _FULL, backend)
        await get_kavach.close()
    print_rows("guard and require, requests within this process", rows)
    print_goals([*goals_of(rows)])
    return rows


@dataclass(frozen=True, slots=True)
class Contender:
    """A call, and what one took on average in each of its bursts."""

    name: str
    call: Call
    cpu: list[float] = field(default_factory=list[float])
    seconds: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])

    async def burst(self, requests: int, concurrency: int) -> None:
        """Make so many calls, so many of them at a time."""
        latencies: list[float] = []
        cpu, start = client_cpu(), time.perf_counter()
        await asyncio.gather(*(_call(self.call, requests // concurrency, latencies) for _ in range(concurrency)))
        self.cpu.append((client_cpu() - cpu) / len(latencies))
        self.seconds.append((time.perf_counter() - start) / len(latencies))
        self.latencies.extend(latencies)

    def forget(self) -> None:
        """Begin to count anew."""
        for kept in (self.cpu, self.seconds, self.latencies):
            kept.clear()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders that take turns; the first is what the others are measured by."""

    contenders: Sequence[Contender]
    concurrency: int

    async def measure(self, plan: Plan, backend: Backend) -> list[Row]:
        """Give each as many bursts as planned, after one that does not count."""
        requests = plan.alone if self.concurrency == 1 else plan.together
        for contender in self.contenders:
            await contender.burst(requests, self.concurrency)
            contender.forget()
        for _ in range(plan.bursts):
            for contender in self.contenders:
                await contender.burst(requests, self.concurrency)
        first = self._row(self.contenders[0], backend, None)
        return [first, *(self._row(contender, backend, first) for contender in self.contenders[1:])]

    def _row(self, contender: Contender, backend: Backend, first: Row | None) -> Row:
        # The median burst: what another process does to one of them is not what a request costs.
        ops, cpu = 1 / median(contender.seconds), median(contender.cpu) * 1e6
        cuts = quantiles(contender.latencies, n=100)
        return Row(
            bench="guard",
            backend=backend.name,
            variant=contender.name,
            concurrency=self.concurrency,
            chain=0,
            ops_per_s=ops,
            p50_ms=cuts[49] * 1000,
            p99_ms=cuts[98] * 1000,
            cpu_us=cpu,
            server_cpu_us=0.0,
            ratio=1.0 if first is None else ops / first.ops_per_s,
            cpu_ratio=1.0 if first is None else cpu / first.cpu_us,
            baseline=contender.name if first is None else first.variant,
            durability=backend.durability,
            database_version=backend.version,
        )


@dataclass(frozen=True, slots=True)
class Callers:
    """Who calls the apps: one human with a session, and agents in random order."""

    get_kavach: LazyKavach
    cookie: str
    tokens: Sequence[str]
    chance: random.Random

    @classmethod
    async def of(cls, get_kavach: LazyKavach, tokens: Sequence[str]) -> Callers:
        """Sign the human in."""
        session = await (await get_kavach()).sessions.create("alice")
        return cls(get_kavach, f"{get_kavach.config.session_cookie}={session.token}", tokens, random.Random(1))

    def comparisons(self, framework: Framework) -> Sequence[Comparison]:
        """What is measured in each framework."""
        bare, guarded = framework.bare(), framework.mounted(self.get_kavach, guarded=True)
        mounted = framework.mounted(self.get_kavach, guarded=False)
        guard = kavach_starlette(self.get_kavach).Guard(framework.bare(), **GUARD)
        base = BaseHTTPMiddleware(framework.bare(), dispatch=_pass_on)
        unprotected: dict[str, Call] = {
            "bare": lambda: visit(bare, "/open"),
            "guard": lambda: visit(guard, "/open"),
            "guard and routes": lambda: visit(guarded, "/open"),
            "BaseHTTPMiddleware": lambda: visit(base, "/open"),
        }
        protected: dict[str, Call] = {
            "bare, protected": lambda: visit(bare, "/private"),
            "guard, session": lambda: visit(guarded, "/private", cookie=self.cookie),
            "guard, agent": lambda: visit(guarded, "/private", authorization=self._bearer()),
        }
        required: dict[str, Call] = {
            "authorize": lambda: decide_by_hand(self.get_kavach, self._bearer()),
            "bare, required": lambda: visit(bare, "/open"),
            "authorize by hand": lambda: visit(mounted, "/by-hand", authorization=self._bearer()),
            "require": lambda: visit(mounted, "/search", authorization=self._bearer()),
        }
        return [
            _comparison(framework, unprotected, 1),
            _comparison(framework, protected, _CALLERS),
            _comparison(framework, required, _CALLERS),
        ]

    def _bearer(self) -> str:
        return f"Bearer {self.chance.choice(self.tokens)}"


def _comparison(framework: Framework, calls: dict[str, Call], concurrency: int) -> Comparison:
    contenders = [Contender(f"{framework.name} {name}", call) for name, call in calls.items()]
    return Comparison(contenders, concurrency)


async def _call(call: Call, times: int, latencies: list[float]) -> None:
    for _ in range(times):
        start = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - start)


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


async def agents_in(url: str, agents: int = _AGENTS) -> Sequence[str]:
    """Fill a database; returns the tokens of those that act."""
    store = await open_store(url)
    try:
        return await settle(store, Shape(agents=agents))
    finally:
        await store.close()


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The targets for each framework."""
    for framework in FRAMEWORKS:
        name = framework.name
        cpu = {row.variant.removeprefix(f"{name} "): row.cpu_us for row in rows if row.variant.startswith(f"{name} ")}
        added = cpu["guard"] - cpu["bare"]
        yield Goal(f"{name}: CPU in µs that the guard adds on an unprotected path", added, _GUARD_GOAL)
        added = cpu["require"] - cpu["authorize by hand"]
        yield Goal(f"{name}: CPU in µs that require adds to authorize in the same route", added, _REQUIRE_GOAL)
