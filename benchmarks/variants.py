"""The same decisions, committed in two ways: batched, as Kavach does it, and one transaction per call.

Both run the real worker with the real store. A call alone differs in nothing but that its lane takes one question, and
that on PostgreSQL there are sixteen such lanes, so as many connections, to take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, Final, cast

from benchmarks.world import ACTION, PROJECT, RESOURCE
from kavach_core.capabilities.authorize import Authorizer, Decision
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.config import Config
from kavach_core.runtime import Runtime
from kavach_core.store import Store, Transaction
from kavach_core.store.store import A, BatchWorker, Lane, Q

_CONNECTIONS: Final = 16
_USUAL: Final = 256
_ALWAYS_THE_SAME: Final = repeat(RESOURCE)


class Counted(BatchWorker[Q, A]):
    """A worker whose batches are counted."""

    def __init__(self, worker: BatchWorker[Q, A], counter: Counter) -> None:
        self._worker = worker
        self._counter = counter

    async def run(self, tx: Transaction, questions: Sequence[Q]) -> Sequence[A]:
        self._counter.batches += 1
        return await self._worker.run(tx, questions)

    def committed(self) -> None:
        self._worker.committed()

    def lost(self) -> None:
        self._worker.lost()


class Counter:
    """How many batches there were."""

    def __init__(self) -> None:
        self.batches = 0


class _Lanes:
    """The one thing that an `Authorizer` asks of a store, with the size of batches chosen here."""

    def __init__(self, store: Store, counter: Counter, most: int) -> None:
        self._store = store
        self._counter = counter
        self._most = most

    def lane(self, worker: BatchWorker[Q, A], **traffic: Any) -> Lane[Q, A]:
        return self._store.lane(Counted(worker, self._counter), **traffic, most=self._most)


class Direct:
    """One authorizer, whose batches hold at most so many calls."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        name: str,
        most: int = _USUAL,
        cache_bytes: int | None = None,
        resources: Iterator[str] = _ALWAYS_THE_SAME,
    ) -> None:
        self.name = name
        self._resources = resources
        self._counter = Counter()
        self.authorizer = _authorizer(store, config, self._counter, most, cache_bytes)

    @property
    def batches(self) -> int:
        """Transactions so far."""
        return self._counter.batches

    async def __call__(self, token: str) -> None:
        """Authorize one call."""
        await allowed(self.authorizer, token, resource=next(self._resources))


class InTurns:
    """As many authorizers as there are connections, each with one call at a time."""

    def __init__(self, store: Store, config: Config, *, name: str, connections: int) -> None:
        self.name = name
        self._counter = Counter()
        self._free = [_authorizer(store, config, self._counter, 1) for _ in range(connections)]
        # Fair, as pools of connections are; a queue would let those that just finished go first again.
        self._turn = asyncio.Semaphore(connections)

    @property
    def batches(self) -> int:
        """Transactions so far."""
        return self._counter.batches

    async def __call__(self, token: str) -> None:
        """Authorize one call, as soon as a connection is free."""
        async with self._turn:
            authorizer = self._free.pop()
            try:
                await allowed(authorizer, token)
            finally:
                self._free.append(authorizer)


def batched(store: Store, config: Config, name: str = "batched", **more: Any) -> Direct:
    """What `kavach.authorize` does."""
    return Direct(store, config, name=name, **more)


def per_call(store: Store, config: Config, name: str = "per_call") -> Direct | InTurns:
    """One transaction per call. On SQLite they take turns in the one writer thread, on PostgreSQL there is a pool."""
    if store.dialect == "sqlite":
        return Direct(store, config, name=name, most=1)
    return InTurns(store, config, name=name, connections=_CONNECTIONS)


async def allowed(authorizer: Authorizer, token: str, *, resource: str = RESOURCE, cost: int | None = None) -> Decision:
    """Authorize one call. Raises RuntimeError if it is denied."""
    decision = await authorizer.authorize(token, action=ACTION, resource=resource, cost=cost)
    if not decision.allowed:
        raise RuntimeError(f"the bench expects to be allowed, and was told {decision.code}")
    return decision


def _authorizer(
    store: Store, config: Config, counter: Counter, most: int, cache_bytes: int | None = None
) -> Authorizer:
    lanes = cast(Store, _Lanes(store, counter, most))
    sets = PermissionSets(PROJECT) if cache_bytes is None else PermissionSets(PROJECT, cache_bytes=cache_bytes)
    return Authorizer(Runtime(lanes, config), sets)
