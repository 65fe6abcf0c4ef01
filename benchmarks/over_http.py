"""The same route without auth and behind `kv.require`, under uvicorn, over sockets, in each framework."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.databases import NO_DATABASE, Backend, opened, postgres, sqlite
from benchmarks.guarded_apps import FRAMEWORKS
from benchmarks.report import Goal, Row, print_goals, print_rows, say
from benchmarks.serving import COMMON, FAST, PLAIN, LoadGenerator, Requests, Stack, serve
from benchmarks.turns import Plan, compare
from benchmarks.world import Shape, settle
from tests.postgres_server import PostgresUnavailable

_AGENTS: Final = 2_000
_QUICK: Final = Plan(window=0.6, rounds=2)
_FULL: Final = Plan(window=1.0, rounds=6, whole=True)

#: The throughput of the route behind `require` by that of the same route without.
_SHARES: Final = {"starlette": 0.40, "fastapi": 0.55}


async def run(quick: bool) -> Sequence[Row]:
    """Measure every framework, print the table and the targets, return the rows."""
    plan = _QUICK if quick else _FULL
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site.build())
        for framework in FRAMEWORKS:
            rows += await site.measure(framework.name, COMMON, plan)
        if plan.whole:
            for kind in (PLAIN, FAST):
                for name in _SHARES if kind.is_here else ():
                    rows += await site.measure(name, kind, plan)
    print_rows(f"over HTTP, uvicorn with {COMMON} where nothing else is said", rows)
    print_goals([*goals_of(rows)])
    return rows


@dataclass(frozen=True, slots=True)
class Agents:
    """A database with agents in it, and the file that their tokens are in."""

    backend: Backend
    url: str
    tokens: Path


@dataclass(frozen=True, slots=True)
class Site:
    """What servers and callers share."""

    generator: LoadGenerator
    agents: Sequence[Agents]

    @classmethod
    @asynccontextmanager
    async def build(cls) -> AsyncGenerator[Site]:
        """Start the databases and who calls."""
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kavach-bench-")))
            agents: list[Agents] = []
            for start in (sqlite, postgres):
                try:
                    backend = await stack.enter_async_context(start())
                except PostgresUnavailable as error:
                    say(f"[red]No PostgreSQL, so half of this bench is missing: {error}[/]")
                else:
                    say(f"{backend.version}: {backend.durability}")
                    agents.append(await _settle(backend, folder))
            yield cls(await stack.enter_async_context(LoadGenerator.start()), agents)

    async def measure(self, framework: str, kind: Stack, plan: Plan) -> list[Row]:
        """The route without auth, and behind `require` on each database."""
        suffix = "" if kind == COMMON else f", {kind}"
        async with AsyncExitStack() as stack:
            bare = await stack.enter_async_context(serve("bare", framework=framework, stack=kind))
            contenders = [
                Requests(
                    name=f"{framework} bare{suffix}",
                    served=bare,
                    path="/open",
                    tokens=self.agents[0].tokens,
                    generator=self.generator,
                    backend=NO_DATABASE,
                )
            ]
            for each in self.agents:
                served = await stack.enter_async_context(
                    serve("kavach", framework=framework, database=each.url, stack=kind)
                )
                contenders.append(
                    Requests(
                        name=f"{framework} require{suffix}",
                        served=served,
                        path="/search",
                        tokens=each.tokens,
                        generator=self.generator,
                        backend=each.backend,
                    )
                )
            return await compare("http", plan, contenders)


async def _settle(backend: Backend, folder: Path) -> Agents:
    async with opened(backend, "http") as place:
        tokens = folder / f"{backend.name}.tokens"
        tokens.write_text("\n".join(await settle(place.store, Shape(agents=_AGENTS))))
        return Agents(backend, place.config.database, tokens)


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The targets, as far as they were measured."""
    for row in rows:
        framework, _, what = row.variant.partition(" ")
        if framework in _SHARES and what == "require":
            goal = f"{row.backend}, {framework}: throughput behind require by that without"
            yield Goal(goal, row.ratio or 0, _SHARES[framework], at_least=True)
