"""Kavachs that are broken on purpose: what each does, Kavach does not, and the proofs must notice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kavach_core import Kavach
from kavach_core.config import load_config
from kavach_core.runtime import Runtime
from kavach_core.store import Store, Transaction
from kavach_core.store.loops import call_in, give
from kavach_core.store.open import open_store
from kavach_core.store.store import BatchWorker, Lane
from tests.store.support import stay


async def open_early(database: str) -> Kavach:
    """One that answers when a decision is written, and commits afterwards, on a disk that takes its time."""
    config = load_config(database=database)
    return Kavach(Runtime(_EarlyStore(await open_store(database)), config))


class _EarlyStore:
    """A store like another, but for its lanes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.transact, self.read, self.close = store.transact, store.read, store.close
        self.dialect = store.dialect

    def lane(self, worker: BatchWorker[Any, Any], **traffic: Any) -> Lane[Any, Any]:
        turn_of = traffic.pop("turn_of")
        inner = self._store.lane(_EarlyWorker(worker), turn_of=lambda asked: turn_of(asked.question), **traffic)
        return _EarlyLane(inner)


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Any
    answer: asyncio.Future[Any]


class _EarlyLane:
    def __init__(self, lane: Lane[_Asked, Any]) -> None:
        self._lane = lane
        self._tasks: set[asyncio.Task[Any]] = set()

    async def submit(self, question: Any) -> Any:
        asked = _Asked(question, asyncio.get_running_loop().create_future())
        task = asyncio.create_task(self._lane.submit(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asked.answer


class _EarlyWorker:
    def __init__(self, worker: BatchWorker[Any, Any]) -> None:
        self._worker = worker
        self.committed, self.lost = worker.committed, worker.lost

    async def run(self, tx: Transaction, asked: Sequence[_Asked]) -> Sequence[Any]:
        answers = await self._worker.run(tx, [each.question for each in asked])
        for each, answer in zip(asked, answers, strict=True):
            call_in(each.answer.get_loop(), give, each.answer, answer)
        await stay(tx, 0.02)
        return answers
