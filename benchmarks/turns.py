"""Contenders that take turns, so that all of them meet the same noise; and what each did, as a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks.databases import Backend
from benchmarks.load import Call, Reading, Sample, hold
from benchmarks.machine import client_cpu
from benchmarks.report import Row

#: Callers at a time, where a bench does not look at their number.
USUAL: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to look."""

    #: Seconds that one contender is measured before it is the next one's turn, and how often each has one.
    window: float
    rounds: int
    #: Whether to measure what takes long, a million audit rows among it.
    whole: bool = False


class Contender(Protocol):
    """Something that is measured while others wait."""

    @property
    def name(self) -> str: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def chain(self) -> int: ...
    @property
    def size(self) -> int | None: ...
    @property
    def backend(self) -> Backend: ...

    async def hold(self, sample: Sample, seconds: float) -> None:
        """Keep it busy for so long, and add what was seen to the sample."""
        ...


class Variant(Protocol):
    """What is called in this process, over and over, with one of the tokens."""

    @property
    def name(self) -> str: ...
    @property
    def batches(self) -> int:
        """Transactions so far; 0 for what does not count them."""
        ...

    async def __call__(self, token: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A call of which nobody counts transactions."""

    name: str
    call: Call
    batches: int = 0

    async def __call__(self, token: str) -> None:
        await self.call(token)


@dataclass(frozen=True, slots=True)
class Calls:
    """A variant called in this process by so many callers in a closed loop."""

    variant: Variant
    tokens: Sequence[str]
    backend: Backend
    concurrency: int = USUAL
    chain: int = 0
    size: int | None = None
    #: What goes on meanwhile.
    beside: Callable[[], Awaitable[None]] | None = None

    @property
    def name(self) -> str:
        return self.variant.name

    async def call_each(self) -> None:
        """Call once with each token."""
        waiting = iter(self.tokens)

        async def call() -> None:
            for token in waiting:
                await self.variant(token)

        await asyncio.gather(*(call() for _ in range(USUAL)))

    async def hold(self, sample: Sample, seconds: float) -> None:
        beside = None if self.beside is None else asyncio.ensure_future(self.beside())
        await hold(sample, self.variant, self.tokens, concurrency=self.concurrency, seconds=seconds, read=self._read)
        if beside is not None:
            beside.cancel()
            await asyncio.wait([beside])

    def _read(self) -> Reading:
        # Looking at the server's processes takes a while, so at both ends it comes before the clocks of this one.
        server = self.backend.server_cpu()
        return Reading(server, self.variant.batches, client_cpu(), time.perf_counter())


async def compare(bench: str, plan: Plan, contenders: Sequence[Contender]) -> list[Row]:
    """Measure contenders in turns; the first is what the others are measured by."""
    samples = [Sample() for _ in contenders]
    for contender in contenders:
        await contender.hold(Sample(), plan.window / 4)
    for _ in range(plan.rounds):
        for contender, sample in zip(contenders, samples, strict=True):
            # A single caller waits for the disk alone, so it needs longer for as many calls.
            await contender.hold(sample, plan.window * (2 if contender.concurrency == 1 else 1))
    rows: list[Row] = []
    for contender, sample in zip(contenders, samples, strict=True):
        rows.append(row_of(bench, contender, sample, rows[0] if rows else None))
    return rows


def row_of(bench: str, contender: Contender, sample: Sample, baseline: Row | None) -> Row:
    """What was seen of a contender, next to what it is measured by."""
    backend, ops = contender.backend, sample.calls / sample.seconds
    cpu = sample.client_cpu / sample.calls * 1e6
    server = None if sample.server_cpu is None else sample.server_cpu / sample.calls * 1e6
    return Row(
        bench=bench,
        backend=backend.name,
        variant=contender.name,
        concurrency=contender.concurrency,
        chain=contender.chain,
        size=contender.size,
        ops_per_s=ops,
        p50_ms=sample.percentile_ms(0.50),
        p99_ms=sample.percentile_ms(0.99),
        cpu_us=cpu,
        server_cpu_us=server,
        batch=sample.calls / sample.batches if sample.batches else None,
        durability=backend.durability,
        database_version=backend.version,
        ratio=1.0 if baseline is None else ops / baseline.ops_per_s,
        cpu_ratio=1.0 if baseline is None else (cpu + (server or 0)) / baseline.total_cpu_us,
        baseline=contender.name if baseline is None else baseline.variant,
    )
