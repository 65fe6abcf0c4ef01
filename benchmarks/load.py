"""Closed loops: so many callers, each with one call in flight, for a while; what that took."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.machine import client_cpu

#: Makes one call with one of the tokens.
Call = Callable[[str], Awaitable[object]]


@dataclass(slots=True)
class Sample:
    """What one variant did in all its windows."""

    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float | None = 0.0
    latencies: list[float] = field(default_factory=list[float])

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
    server_cpu: Callable[[], float | None],
) -> None:
    """Keep so many calls in flight for so long, and add what happened to the sample."""
    server_before, client_before, start = server_cpu(), client_cpu(), time.perf_counter()
    await asyncio.gather(
        *(_caller(call, tokens, number, start + seconds, sample.latencies) for number in range(concurrency))
    )
    sample.seconds += time.perf_counter() - start
    sample.client_cpu += client_cpu() - client_before
    server_after = server_cpu()
    if server_before is None or server_after is None or sample.server_cpu is None:
        sample.server_cpu = None
    else:
        sample.server_cpu += server_after - server_before


async def _caller(call: Call, tokens: Sequence[str], seed: int, end: float, latencies: list[float]) -> None:
    """One caller. Tokens are taken in an order of its own, the same in every run."""
    choose = random.Random(seed).choice
    now = time.perf_counter()
    while now < end:
        start = now
        await call(choose(tokens))
        now = time.perf_counter()
        latencies.append(now - start)
