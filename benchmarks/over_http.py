"""The same route without auth and behind `kv.require`, under uvicorn, over sockets, in each framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from benchmarks.guarded_apps import FRAMEWORKS
from benchmarks.report import Goal, Row, print_goals, print_rows
from benchmarks.serving import COMMON, FAST, PLAIN, Site, Stack
from benchmarks.turns import Plan, compare

_QUICK: Final = Plan(window=0.6, rounds=2)
_FULL: Final = Plan(window=1.0, rounds=6, whole=True)

#: The throughput of the route behind `require` by that of the same route without.
_SHARES: Final = {"starlette": 0.40, "fastapi": 0.55}


async def run(quick: bool) -> Sequence[Row]:
    """Measure every framework, print the table and the targets, return the rows."""
    plan = _QUICK if quick else _FULL
    rows: list[Row] = []
    async with Site.build() as site:
        for framework in FRAMEWORKS:
            rows += await _measure(site, framework.name, COMMON, plan)
        if plan.whole:
            for kind in (PLAIN, FAST):
                for name in _SHARES if kind.is_here else ():
                    rows += await _measure(site, name, kind, plan)
    print_rows(f"over HTTP, uvicorn with {COMMON} where nothing else is said", rows)
    print_goals([*goals_of(rows)])
    return rows


async def _measure(site: Site, framework: str, kind: Stack, plan: Plan) -> list[Row]:
    """The route without auth, and behind `require` on each database."""
    suffix = "" if kind == COMMON else f", {kind}"
    async with AsyncExitStack() as stack:
        start = partial(site.start, stack, framework=framework, kind=kind)
        contenders = [await start("bare", name=f"{framework} bare{suffix}", path="/open")]
        for agents in site.agents:
            contenders.append(await start("kavach", name=f"{framework} require{suffix}", path="/search", agents=agents))
        return await compare("http", plan, contenders)


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The targets, as far as they were measured."""
    for row in rows:
        framework, _, what = row.variant.partition(" ")
        app, _, kind = what.partition(", ")
        if framework in _SHARES and app == "require":
            goal = f"{row.backend}, {framework}, {kind or COMMON}: throughput behind require by that without"
            yield Goal(goal, row.ratio or 0, _SHARES[framework], at_least=True)
