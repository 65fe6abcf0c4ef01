"""What a decision costs: batched against one transaction per call, and what should not make it dearer.

Variants that are compared take turns within one run, so that both meet the same noise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.authorize_goals import goals_of
from benchmarks.databases import Backend, Start, postgres, sqlite
from benchmarks.load import Reading, Sample, hold
from benchmarks.machine import client_cpu
from benchmarks.report import Row, print_goals, print_rows, say
from benchmarks.variants import Variant, batched, per_call
from benchmarks.world import Shape, analyse, fill_audit, settle
from kavach_core.capabilities.audit import Audit
from kavach_core.config import Config, load_config
from kavach_core.kavach import Kavach
from kavach_core.runtime import Runtime
from kavach_core.store import Store
from kavach_core.store.open import open_store
from tests.postgres_server import PostgresUnavailable

_CONCURRENCIES: Final = (1, 16, 64, 256)
_CHAINS: Final = (0, 3)
_USUAL: Final = 64
_MANY_AUDIT_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to look."""

    #: Seconds that one variant is measured before it is the other's turn, and how often each has one.
    window: float
    rounds: int
    #: Whether to measure what takes long, a million audit rows among it.
    whole: bool


_QUICK: Final = Plan(window=0.15, rounds=2, whole=False)
_FULL: Final = Plan(window=1.0, rounds=6, whole=True)


@dataclass(frozen=True, slots=True)
class Contender:
    """A variant with the tokens its calls use, and what goes on meanwhile."""

    variant: Variant
    tokens: Sequence[str]
    beside: Callable[[], Awaitable[None]] | None = None


async def run(quick: bool) -> Sequence[Row]:
    """Measure both databases, print the table and the targets, return the rows."""
    plan = _QUICK if quick else _FULL
    rows: list[Row] = []
    for start in (sqlite, postgres):
        try:
            rows += await _measure(start, plan)
        except PostgresUnavailable as error:
            say(f"[red]No PostgreSQL, so half of this bench is missing: {error}[/]")
    print_goals(goals_of(rows))
    return rows


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database, and the tokens of the agents in it that act, by the length of their chains."""

    store: Store
    config: Config
    tokens: dict[int, list[str]] = field(default_factory=dict[int, list[str]])


async def _measure(start: Start, plan: Plan) -> list[Row]:
    async with start() as backend:
        say(f"{backend.version}: {backend.durability}")
        bench = _Bench(backend, plan)
        async with _opened(backend, "main") as main:
            for chain in _CHAINS:
                main.tokens[chain] = await settle(main.store, Shape(chain=chain))
            if backend.name == "postgres":
                await analyse(main.store)
            rows = await bench.batching(main) + await bench.permissions(main) + await bench.export(main)
            if plan.whole:
                rows += await bench.use(main)
        rows += await bench.statistics()
        if plan.whole:
            rows += await bench.audit_rows()
        print_rows(f"authorize on {backend.version}", rows)
        return rows


class _Bench:
    """The comparisons on one backend."""

    def __init__(self, backend: Backend, plan: Plan) -> None:
        self._backend = backend
        self._plan = plan

    async def batching(self, main: Opened) -> list[Row]:
        """Batched against one transaction per call."""
        rows: list[Row] = []
        pair = (per_call(main.store, main.config), batched(main.store, main.config))
        for chain, tokens in main.tokens.items():
            single, group = (Contender(variant, tokens) for variant in pair)
            for concurrency in _CONCURRENCIES:
                rows += await self._compare(single, group, concurrency, chain)
        return rows

    async def use(self, main: Opened) -> list[Row]:
        """The same where nearly every call writes the time of last use of four agents."""
        tokens = await settle(main.store, Shape(chain=3, ttl=None))
        return await self._compare(
            Contender(per_call(main.store, main.config, "per_call, use written"), tokens),
            Contender(batched(main.store, main.config, "batched, use written"), tokens),
            chain=3,
        )

    async def permissions(self, main: Opened) -> list[Row]:
        """A thousand permissions against ten."""
        many = await settle(main.store, Shape(permissions=1000))
        return await self._compare(
            Contender(batched(main.store, main.config, "permissions_10"), main.tokens[0]),
            Contender(batched(main.store, main.config, "permissions_1000"), many),
        )

    async def export(self, main: Opened) -> list[Row]:
        """While the whole audit is exported in this process, against quiet."""
        audit = Kavach(Runtime(main.store, main.config)).audit
        return await self._compare(
            Contender(batched(main.store, main.config, "quiet"), main.tokens[0]),
            Contender(
                batched(main.store, main.config, "export"), main.tokens[0], beside=lambda: _export_on_and_on(audit)
            ),
        )

    async def statistics(self) -> list[Row]:
        """With plans made while the tables were nearly empty and no statistics ever gathered, against with them."""
        async with _opened(self._backend, "known") as known, _opened(self._backend, "unknown") as unknown:
            return await self._compare(
                Contender(*await self._grown(known, "analysed", analysed=True)),
                Contender(*await self._grown(unknown, "never_analysed", analysed=False)),
                chain=3,
            )

    async def _grown(self, opened: Opened, name: str, *, analysed: bool) -> tuple[Variant, list[str]]:
        """A variant that decided something before its database grew."""
        variant = batched(opened.store, opened.config, name)
        await variant((await settle(opened.store, Shape(chain=3, agents=4)))[0])
        tokens = await settle(opened.store, Shape(chain=3))
        if analysed:
            await analyse(opened.store)
        return variant, tokens

    async def audit_rows(self) -> list[Row]:
        """With a million audit rows, against a database that began with none."""
        async with _opened(self._backend, "none") as none, _opened(self._backend, "many") as many:
            tokens = [await settle(opened.store, Shape()) for opened in (none, many)]
            await fill_audit(many.store, _MANY_AUDIT_ROWS)
            for opened in (none, many):
                await analyse(opened.store)
            return await self._compare(
                Contender(batched(none.store, none.config, "audit_0"), tokens[0]),
                Contender(batched(many.store, many.config, "audit_1000000"), tokens[1]),
            )

    async def _compare(
        self, baseline: Contender, other: Contender, concurrency: int = _USUAL, chain: int = 0
    ) -> list[Row]:
        """Measure two contenders in turns."""
        pair = (baseline, other)
        samples = [Sample(), Sample()]
        for contender in pair:
            await self._hold(contender, Sample(), concurrency, self._plan.window / 4)
        # A single caller waits for the disk alone, so its windows hold few calls.
        for _ in range(self._plan.rounds * (2 if concurrency == 1 else 1)):
            for contender, sample in zip(pair, samples, strict=True):
                await self._hold(contender, sample, concurrency, self._plan.window)
        first = self._row(baseline, samples[0], concurrency, chain, None)
        return [first, self._row(other, samples[1], concurrency, chain, first)]

    async def _hold(self, contender: Contender, sample: Sample, concurrency: int, seconds: float) -> None:
        beside = None if contender.beside is None else asyncio.ensure_future(contender.beside())
        await hold(
            sample,
            contender.variant,
            contender.tokens,
            concurrency=concurrency,
            seconds=seconds,
            read=lambda: self._read(contender),
        )
        if beside is not None:
            beside.cancel()
            await asyncio.wait([beside])

    def _read(self, contender: Contender) -> Reading:
        # Looking at the server's processes takes a while, so at both ends it comes before the clocks of this one.
        server = self._backend.server_cpu()
        return Reading(server, contender.variant.counter.batches, client_cpu(), time.perf_counter())

    def _row(self, contender: Contender, sample: Sample, concurrency: int, chain: int, baseline: Row | None) -> Row:
        ops = sample.calls / sample.seconds
        cpu = sample.client_cpu / sample.calls * 1e6
        server = None if sample.server_cpu is None else sample.server_cpu / sample.calls * 1e6
        return Row(
            bench="authorize",
            backend=self._backend.name,
            variant=contender.variant.name,
            concurrency=concurrency,
            chain=chain,
            ops_per_s=ops,
            p50_ms=sample.percentile_ms(0.50),
            p99_ms=sample.percentile_ms(0.99),
            cpu_us=cpu,
            server_cpu_us=server,
            ratio=1.0 if baseline is None else ops / baseline.ops_per_s,
            cpu_ratio=1.0 if baseline is None else (cpu + (server or 0)) / baseline.total_cpu_us,
            baseline=contender.variant.name if baseline is None else baseline.variant,
            batch=sample.calls / max(sample.batches, 1),
            durability=self._backend.durability,
            database_version=self._backend.version,
        )


@asynccontextmanager
async def _opened(backend: Backend, name: str) -> AsyncGenerator[Opened]:
    """An empty database of this name, migrated and open."""
    url = await backend.create(name)
    store = await open_store(url)
    try:
        yield Opened(store, load_config(database=url))
    finally:
        await store.close()


async def _export_on_and_on(audit: Audit) -> None:
    while True:
        async for _ in audit.export(format="json"):
            pass
