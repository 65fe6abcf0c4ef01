"""A process that reserves, settles and abandons, and tells when each began and ended, until it is done or killed.

Moments are those of `time.monotonic_ns`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

from kavach_core import CallContext, Decision, Kavach, create_kavach
from kavach_core.capabilities.budgets import Ledger, queries
from kavach_core.errors import LeaseEnded, StoreUnavailable
from kavach_core.primitives.reasons import Reason
from kavach_core.store import Transaction
from tests.proofs.mortals import Mouth, Orders

#: How long a reservation may stay open; one that is abandoned falls back then.
LEASE = "1s"
#: The most a call reserves, and the most seconds it works before it settles, or waits after it was refused.
MOST_COST = 9
_LONGEST_WORK, _LONGEST_WAIT = 0.01, 0.03
#: How often a call never settles, and how often one that does has cost anything.
_ABANDONED = 0.03

Decide = Callable[[str, int, str], Awaitable[Decision]]


class Job(NamedTuple):
    """What one process does: so many callers, so many calls in all, and how often one has cost something."""

    name: str
    callers: int
    calls: int
    costs_something: float


def work(mouth: Mouth, orders: Orders, database: str, variant: str, tokens: tuple[str, ...], job: Job) -> None:
    """Get ready, do the job when told to begin, and end."""
    asyncio.run(_work(mouth, orders, database, variant, tokens, job))


async def _work(mouth: Mouth, orders: Orders, database: str, variant: str, tokens: tuple[str, ...], job: Job) -> None:
    if variant == "stale":
        _believe_ledgers()
    async with await create_kavach(database=database, unsettled="release", settle_within=LEASE) as kavach:
        caller = _Caller(mouth, kavach, _timid(kavach) if variant == "timid" else _plain(kavach), tokens, job)
        mouth.send(("ready", job.name))
        orders.recv()
        await asyncio.gather(*[caller.call_on() for _ in range(job.callers)])
    mouth.send(("done", job.name))


class _Caller:
    """What the callers of one process share."""

    def __init__(self, mouth: Mouth, kavach: Kavach, decide: Decide, tokens: tuple[str, ...], job: Job) -> None:
        self._mouth = mouth
        self._kavach = kavach
        self._decide = decide
        self._tokens = tokens
        self._job = job
        self._begun = 0
        self._chance = random.Random(job.name)

    async def call_on(self) -> None:
        while self._begun < self._job.calls:
            self._begun += 1
            await self._call(f"{self._job.name}.{self._begun}")
            await asyncio.sleep(0.001)  # several processes share a SQLite file by chance; this gives the others one

    async def _call(self, key: str) -> None:
        agent, cost = self._chance.randrange(len(self._tokens)), self._chance.randint(1, MOST_COST)
        self._say("begin", key, agent, cost)
        try:
            decision = await self._decide(self._tokens[agent], cost, key)
        except StoreUnavailable:
            return
        self._say("end", key, decision.code.value, decision.audit_id)
        if not decision.allowed:
            await asyncio.sleep(self._chance.uniform(0, _LONGEST_WAIT))
        elif decision.audit_id is not None:
            await asyncio.sleep(self._chance.uniform(0, _LONGEST_WORK))
            if self._chance.random() > _ABANDONED:
                await self._settle(key, decision.audit_id, cost)

    async def _settle(self, key: str, audit_id: str, cost: int) -> None:
        actual = cost if self._chance.random() < self._job.costs_something else 0
        self._say("settle", key)
        try:
            await self._kavach.settle(audit_id, actual)
        except (LeaseEnded, StoreUnavailable):
            return
        self._say("settled", key)

    def _say(self, what: str, key: str, *more: Any) -> None:
        self._mouth.send((what, key, time.monotonic_ns(), *more))


def _plain(kavach: Kavach) -> Decide:
    async def decide(token: str, cost: int, key: str) -> Decision:
        context = CallContext(request_id=key)
        return await kavach.authorize(token, action="read", resource="repos", cost=cost, context=context)

    return decide


def _timid(kavach: Kavach) -> Decide:
    """What Kavach does not do: refuse every fifth call without looking."""
    decide, number = _plain(kavach), count(1)

    async def decide_or_refuse(token: str, cost: int, key: str) -> Decision:
        if next(number) % 5 == 0:
            return Decision(allowed=False, code=Reason.BUDGET_EXCEEDED, audit_id=None)
        return await decide(token, cost, key)

    return decide_or_refuse


def _believe_ledgers() -> None:
    """What Kavach does not do: read budgets outside the lock, once, and write back what this process counted."""
    lock, known = queries.lock_holders, dict[bytes, list[Ledger]]()

    async def believe(tx: Transaction, project: str, holders: Iterable[bytes]) -> dict[bytes, list[Ledger]]:
        wanted = set(holders)
        known.update(await lock(tx, project, wanted - known.keys()))
        return {holder: known[holder] for holder in wanted}

    queries.lock_holders = believe
