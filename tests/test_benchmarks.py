"""Benches run at all: each once, for an instant, with a handful of agents. What they measure so is worth nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from benchmarks import alone, authorize, claims, decide, guard, publish, sizes
from benchmarks.__main__ import BENCHES
from benchmarks.databases import NO_DATABASE, Backend, sqlite
from benchmarks.guarded_apps import FRAMEWORKS
from benchmarks.report import Row
from benchmarks.serving import LoadGenerator, Requests, serve
from benchmarks.turns import Plan, compare
from kavach_core import lazy_kavach

INSTANT = Plan(window=0.001, rounds=1)
SMALL = sizes.Sizes(
    concurrencies=(2,), chains=(0, 1), permissions=(1, 10), audit_rows=(0, 10), agents=(1, 10), acting=4, distinct=3
)

Measure = Callable[[Backend], Awaitable[Sequence[Row]]]
ON_SQLITE: dict[str, Measure] = {
    "alone": lambda backend: alone.measure(backend, 0.02, agents=8, pages=8),
    "authorize": lambda backend: authorize.measure(backend, INSTANT, agents=8),
    "claims": lambda backend: claims.measure(backend, INSTANT, agents=4),
    "sizes": lambda backend: sizes.measure(backend, INSTANT, SMALL),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "authorize")) for name in ON_SQLITE]
)
async def test_a_bench_runs_and_its_rows_can_be_written(name: str) -> None:
    async with sqlite() as backend:
        rows = await ON_SQLITE[name](backend)
    assert rows and {row.bench for row in rows} == {name}
    assert [Row.from_json(json.loads(json.dumps(row.to_json()))).variant for row in rows] == [
        row.variant for row in rows
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
async def test_every_request_of_the_guards_bench_is_answered(framework: guard.Framework, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'guard.db'}"
    get_kavach = lazy_kavach(database=url)
    callers = await guard.Callers.of(get_kavach, await guard.agents_in(url, agents=2))
    for comparison in callers.comparisons(framework):
        for contender in comparison.contenders:
            await contender.burst(1, 1)
    await get_kavach.close()


async def test_a_server_and_requests_to_it_are_processes_of_their_own(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("anything")
    async with serve("bare", framework="starlette") as served, LoadGenerator.start() as generator:
        contender = Requests(
            name="bare", served=served, path="/open", tokens=tokens, generator=generator, backend=NO_DATABASE
        )
        (row,) = await compare("http", INSTANT, [contender])
    assert row.ops_per_s > 0


def test_deciding_alone_can_be_measured() -> None:
    assert decide.batches_of(decide.USUAL)() > 0


def test_the_published_figures_are_of_every_bench_and_those_of_the_rows() -> None:
    rows = publish.read()
    assert {row.bench for row in rows} == {*BENCHES}
    page = publish.PAGE.read_text(encoding="utf-8")
    assert page == publish.up_to_date(page, rows), "run python -m benchmarks.publish"
