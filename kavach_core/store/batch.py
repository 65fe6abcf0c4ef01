"""Group commit: questions that wait while one transaction is in flight share the next one. No timer, no delay.

An engine's `wake` sees to it that `step` is called until it says that nobody waits, and gives it what carries a
function out in a transaction. On SQLite steps run in the writer thread, on PostgreSQL in a task of the store's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from kavach_core.errors import InvalidInput, StoreUnavailable
from kavach_core.store.faults import CommitLost, DataRejected, RunAgain, too_many, too_slow, unavailable
from kavach_core.store.loops import call_in, fail, give
from kavach_core.store.store import A, BatchWorker, Q, Transaction
from kavach_core.store.turns import TurnQueue

T = TypeVar("T")


class Transact(Protocol):
    """Carries out a function in a transaction of the engine's; it may run more than once.

    Raises `CommitLost` and `DataRejected` as they are, and `StoreUnavailable` if surely nothing was committed.
    """

    async def __call__(self, function: Callable[[Transaction], Awaitable[T]], /) -> T: ...


@dataclass(frozen=True, slots=True)
class Traffic(Generic[Q]):
    """How many may share a transaction, how many may wait, for how long (in seconds), and whose turn each takes."""

    most: int
    max_waiting: int
    patience: float
    turn_of: Callable[[Q], Hashable]


@dataclass(slots=True, eq=False)
class Caller(Generic[Q, A]):
    """One who waits: the question, and where the answer goes."""

    question: Q
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[A]


class Patience:
    """Tells those of one loop who waited too long. All may wait equally long, so one timer is enough for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: Who came first is first; the answered are dropped when they get there.
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def bound(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        """Let a future of the loop wait no longer than this."""
        self._forget_answered()
        give_up_at = loop.time() + self._seconds
        self._waiting.append((give_up_at, future))
        if self._timer is None:
            self._timer = loop.call_at(give_up_at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._forget_answered()
        while self._waiting and self._waiting[0][0] <= now:
            fail(self._waiting.popleft()[1], too_slow())
            self._forget_answered()
        self._timer = loop.call_at(self._waiting[0][0], self._look, loop) if self._waiting else None

    def _forget_answered(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()


class BatchLane(Generic[Q, A]):
    """The waiting room of one worker; callers may come from any thread and loop."""

    def __init__(
        self,
        worker: BatchWorker[Q, A],
        *,
        traffic: Traffic[Q],
        require_open: Callable[[], None],
        wake: Callable[[BatchLane[Q, A]], None],
    ) -> None:
        self._worker = worker
        self._traffic = traffic
        self._require_open = require_open
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting = TurnQueue[Caller[Q, A]](traffic.max_waiting)
        self._patience: WeakKeyDictionary[asyncio.AbstractEventLoop, Patience] = WeakKeyDictionary()
        self._busy = False

    async def submit(self, question: Q) -> A:
        """Return the answer after its transaction is committed.

        Raises `StoreUnavailable` if too many wait already, if it takes too long, or if the batch could not be read or
        committed, and `InvalidInput` if the database refuses a value of this question.
        """
        self._require_open()
        loop = asyncio.get_running_loop()
        caller: Caller[Q, A] = Caller(question, loop, loop.create_future())
        with self._lock:
            turned_away = self._waiting.put(self._traffic.turn_of(question), caller)
            if not self._busy:
                self._busy = True
                self._wake(self)
        if turned_away is not None:
            call_in(turned_away.loop, fail, turned_away.future, too_many())
        # Who waits for too long is told so and not decided; where the transaction is under way already, it goes on.
        patience = self._patience.get(loop)
        if patience is None:
            patience = self._patience[loop] = Patience(self._traffic.patience)
        patience.bound(loop, caller.future)
        return await caller.future

    async def step(self, transact: Transact) -> bool:
        """Answer one batch of those who wait; False when nobody does any more."""
        callers = self._take()
        answers: Sequence[A | BaseException] | None = None
        try:
            answers = await self._answer(transact, [caller.question for caller in callers]) if callers else ()
        finally:
            _deal(callers, [unavailable() for _ in callers] if answers is None else answers)
        with self._lock:
            self._busy = bool(self._waiting)
            return self._busy

    def abandon(self) -> None:
        """Turn away everyone who waits, because what called `step` is being torn down."""
        with self._lock:
            callers, self._busy = self._waiting.clear(), False
        _deal(callers, [unavailable() for _ in callers])

    def _take(self) -> list[Caller[Q, A]]:
        """The next callers in turn, without those who were cancelled or waited too long meanwhile."""
        with self._lock:
            callers = self._waiting.take(self._traffic.most)
        return [caller for caller in callers if not caller.future.done()]

    async def _answer(self, transact: Transact, questions: Sequence[Q]) -> Sequence[A | BaseException]:
        """An answer or an error for each question; a batch with a refused value is split until it stands alone."""
        try:
            return await self._commit(transact, questions)
        except DataRejected as refusal:
            if len(questions) == 1:
                return [_chained(InvalidInput("The database refuses a value of this call."), refusal)]
        except (StoreUnavailable, CommitLost, RunAgain) as failure:
            return [_chained(unavailable(), failure) for _ in questions]
        except asyncio.CancelledError:
            raise
        except BaseException as bug:
            return [bug] * len(questions)
        middle = len(questions) // 2
        return [
            *await self._answer(transact, questions[:middle]),
            *await self._answer(transact, questions[middle:]),
        ]

    async def _commit(self, transact: Transact, questions: Sequence[Q]) -> Sequence[A]:
        async def run(tx: Transaction) -> Sequence[A]:
            answers = await self._worker.run(tx, questions)
            if len(answers) != len(questions):
                raise RuntimeError(f"The worker gave {len(answers)} answers to {len(questions)} questions.")
            return answers

        try:
            answers = await transact(run)
        except (CommitLost, asyncio.CancelledError):
            self._worker.lost()
            raise
        self._worker.committed()
        return answers


def _chained(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def _deal(callers: Sequence[Caller[Q, A]], answers: Sequence[A | BaseException]) -> None:
    """Hand out the answers, with one wake-up for each event loop."""
    hands: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[A], A | BaseException]]] = {}
    for caller, answer in zip(callers, answers, strict=True):
        hands.setdefault(caller.loop, []).append((caller.future, answer))
    for loop, hand in hands.items():
        call_in(loop, _settle, hand)


def _settle(hand: Sequence[tuple[asyncio.Future[A], A | BaseException]]) -> None:
    for future, answer in hand:
        if isinstance(answer, BaseException):
            fail(future, answer)
        else:
            give(future, answer)
