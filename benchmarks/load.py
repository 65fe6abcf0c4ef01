"""Closed loops: so many callers, each with one call in flight, for a while; what that took."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: Makes one call with one of the tokens.
Call = Callable[[str], Awaitable[object]]


class Reading(NamedTuple):
    """What the clocks and counters show at one moment."""

    server_cpu: float | None
    batches: int
    client_cpu: float
    time: float


@dataclass(slots=True)
class Sample:
    """What one variant did in all its windows."""

    seconds: float = 0.0
    batches: int = 0
    client_cpu: float = 0.0
    server_cpu: float | None = 0.0
    latencies: list[float] = field(default_factory=list[float])

    def add(self, before: Reading, after: Reading) -> None:
        """Take in what passed between two readings."""
        self.seconds += after.time - before.time
        self.batches += after.batches - before.batches
        self.client_cpu += after.client_cpu - before.client_cpu
        if self.server_cpu is None or before.server_cpu is None or after.server_cpu is None:
            self.server_cpu = None
        else:
            self.server_cpu += after.server_cpu - before.server_cpu

    def take_in(self, other: Sample) -> None:
        """Take in what was seen elsewhere."""
        zero, seen = Reading(0.0, 0, 0.0, 0.0), (other.server_cpu, other.batches, other.client_cpu, other.seconds)
        self.add(zero, Reading(*seen))
        self.latencies += other.latencies

    @property
    def calls(self) -> int:
        """How many calls were answered."""
        return len(self.latencies)

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the calls did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


async def hold(
    sample: Sample,
    call: Call,
    tokens: Sequence[str],
    *,
    concurrency: int,
    seconds: float,
    read: Callable[[], Reading],
) -> None:
    """Keep so many calls in flight, look for so long once all are, and add what was seen to the sample."""
    loop = _Loop(call, tokens, concurrency)
    callers = [asyncio.ensure_future(loop.run(number)) for number in range(concurrency)]
    ramp = asyncio.ensure_future(asyncio.sleep(min(_RAMP, seconds)))
    await asyncio.wait((*callers, ramp), return_when=asyncio.FIRST_COMPLETED)
    loop.counted_in(sample)
    before = read()
    await asyncio.wait((*callers, asyncio.ensure_future(loop.look(seconds))), return_when=asyncio.FIRST_COMPLETED)
    sample.add(before, read())
    loop.stop()
    await asyncio.gather(*callers)


class _Loop:
    """What the callers of one window share."""

    def __init__(self, call: Call, tokens: Sequence[str], concurrency: int) -> None:
        self._latencies: list[float] = []
        self._concurrency = concurrency
        self._wanted = 0
        self._enough = asyncio.Event()
        self._call = call
        self._tokens = tokens
        self._going = True

    def counted_in(self, sample: Sample) -> None:
        """Count calls that end from now on."""
        self._latencies = sample.latencies

    async def look(self, seconds: float) -> None:
        """Let the callers go on for so long, and on until each could have been answered."""
        self._wanted = len(self._latencies) + self._concurrency
        await asyncio.gather(asyncio.sleep(seconds), self._enough.wait())

    def stop(self) -> None:
        """Let every caller end with the call it is in, which counts no more."""
        self._going = False
        self._latencies = []

    async def run(self, seed: int) -> None:
        """One caller. Tokens are taken in an order of its own, the same in every run."""
        choose = random.Random(seed).choice
        while self._going:
            start = time.perf_counter()
            await self._call(choose(self._tokens))
            self._latencies.append(time.perf_counter() - start)
            if len(self._latencies) == self._wanted:
                self._enough.set()


#: Seconds until every caller has its call in flight.
_RAMP = 0.05
