"""An event loop, and threads of a store, whose every step comes from a seed: one seed is one order of events.

Of all that could happen next one is chosen by chance: a callback of the loop, a step of a thread, or a timer. A thread
is a greenlet that stops before each statement, so a transaction may be overtaken wherever it asks the database. Time
does not pass by itself: it moves to the next timer when nothing else can happen, or earlier in a hurry.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, TypeVar

from greenlet import greenlet

from kavach_core.store.sqlite import SqliteEngine, SqliteStore, _engines
from kavach_core.store.sqlite_thread import ConnectionThread, Link
from kavach_core.store.sqlite_transaction import SqliteTransaction, begin
from kavach_core.store.store import Row, Value
from kavach_core.store.timeline import Timeline

T = TypeVar("T")

#: When the world begins, in seconds since 1970.
START = 1_900_000_000
#: How often a timer comes first in a hurry.
_HURRY = 0.02
_MOST_STEPS = 100_000


class Stuck(AssertionError):
    """Nothing can happen any more, and somebody still waits."""


class Fiber:
    """Something that runs beside the loop, a step at a time."""

    def __init__(self, loop: SteppingLoop, name: str, function: Callable[[], None]) -> None:
        self.name = name
        #: Whether it could go on.
        self.can_go_on: Callable[[], bool] = _always
        self._loop = loop
        self._greenlet = greenlet(function)

    @property
    def is_over(self) -> bool:
        return self._greenlet.dead

    def step(self) -> None:
        self._greenlet.switch()

    def end(self) -> None:
        self._greenlet.throw()

    def wait(self, can_go_on: Callable[[], bool]) -> None:
        """From inside: let others go first, until this can go on and is chosen."""
        self.can_go_on = can_go_on
        self._loop.scheduler.switch()


def _always() -> bool:
    return True


class SteppingLoop(asyncio.AbstractEventLoop):
    """The part of an event loop that Kavach uses on SQLite, with a will of its own."""

    def __init__(self, seed: int, *, hurry: bool) -> None:
        self.chance = random.Random(seed)
        #: What was chosen, in order.
        self.trace: list[str] = []
        self.complaints: list[str] = []
        self.current: Fiber | None = None
        self.scheduler = greenlet.getcurrent()
        self._hurry = hurry
        self._time = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._fibers: list[Fiber] = []
        self._closed = False

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end of `main` and of everything that was started by it. Raises `Stuck`."""
        self.scheduler = greenlet.getcurrent()
        task = self.create_task(main)
        try:
            while not (task.done() and not self._ready and not self._fibers):
                self._step()
        finally:
            for fiber in self._fibers:
                fiber.end()
        return task.result()

    def _step(self) -> None:
        fibers = [fiber for fiber in self._fibers if fiber.can_go_on()]
        choices = len(self._ready) + len(fibers)
        if not choices or (self._hurry and self.chance.random() < _HURRY):
            return self._move_on(nothing_else=not choices)
        chosen = self.chance.randrange(choices)
        if len(self.trace) > _MOST_STEPS:
            raise Stuck("this goes on for ever")
        if chosen < len(self._ready):
            self._call(self._ready.pop(chosen), chosen)
        else:
            self._go_on(fibers[chosen - len(self._ready)])
        return None

    def _call(self, handle: asyncio.Handle, place: int) -> None:
        self.trace.append(f"callback {place}")
        if not handle.cancelled():
            events._set_running_loop(self)
            handle._run()
            events._set_running_loop(None)

    def _go_on(self, fiber: Fiber) -> None:
        self.trace.append(fiber.name)
        self.current = fiber
        try:
            fiber.step()
        finally:
            self.current = None
            if fiber.is_over:
                self._fibers.remove(fiber)

    def _move_on(self, *, nothing_else: bool) -> None:
        while self._timers and self._timers[0].cancelled():
            heapq.heappop(self._timers)
        if self._timers:
            timer = heapq.heappop(self._timers)
            self._time = max(self._time, timer.when())
            self.trace.append("timer")
            self._ready.append(timer)
        elif nothing_else:
            raise Stuck("nothing can happen any more, and somebody still waits")

    def start(self, name: str, function: Callable[[], None]) -> Fiber:
        """Begin something beside the loop."""
        fiber = Fiber(self, name, function)
        self._fibers.append(fiber)
        return fiber

    def time(self) -> float:
        return self._time

    def clock(self) -> int:
        """The time in microseconds, for a store."""
        return START * 1_000_000 + int(self._time * 1_000_000)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when its turn comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()

        def work() -> None:
            result = func(*args)
            self.call_soon(lambda: None if future.done() else future.set_result(result))

        self.start("executor", work)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True


class SteppedThread(ConnectionThread):
    """A thread of the store as a fiber: it stops where it waits for jobs, and before each statement."""

    def __init__(self, loop: SteppingLoop, path: str, *, name: str, read_only: bool = False) -> None:
        self._link = QuickLink(path, busy_timeout=0, read_only=read_only)
        self._queue: deque[Callable[[Link], None] | None] = deque()
        self._fiber = loop.start(name, self._work_in_steps)
        self._loop = loop

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def is_current(self) -> bool:
        return self._loop.current is self._fiber

    def post(self, job: Callable[[Link], None]) -> None:
        self._queue.append(job)

    def stop(self) -> None:
        self._queue.append(None)

    def join(self) -> None:
        assert self._loop.current
        self._loop.current.wait(lambda: self._fiber.is_over)

    def _work_in_steps(self) -> None:
        stopping = False
        while not (stopping and not self._queue):
            self._fiber.wait(lambda: bool(self._queue))
            job = self._queue.popleft()
            if job is None:
                stopping = True
            else:
                job(self._link)
                self._link.end_job()
        self._link.close()


class QuickLink(Link):
    """A connection that leaves it to others to prove what survives a loss of power."""

    def _open(self) -> Any:
        connection = super()._open()
        connection.execute("pragma synchronous = off")
        return connection


class SteppedTransaction(SqliteTransaction):
    """Lets others go first before each statement."""

    step: Callable[[], None]

    def _run(self, sql: str, values: Sequence[Value], take: Any) -> Any:
        self.step()
        return super()._run(sql, values, take)

    async def fetch_each(self, sql: str, values: Sequence[Sequence[Value]]) -> Sequence[Row]:
        self.step()
        return await super().fetch_each(sql, values)

    async def execute_each(self, sql: str, values: Sequence[Sequence[Value]]) -> None:
        self.step()
        await super().execute_each(sql, values)

    async def commit(self) -> None:
        self.step()
        await super().commit()
        self.step()

    async def roll_back(self) -> None:
        self.step()
        await super().roll_back()


class SteppedStore(SqliteStore):
    """The SQLite store, all of it but its threads."""

    def __init__(self, loop: SteppingLoop, path: str, *, max_waiting: int = 10_000, patience: float = 10.0) -> None:
        engine = SqliteEngine.__new__(SqliteEngine)
        engine.path, engine.timeline, engine.holders, engine.inherited = path, Timeline(), 1, False
        engine.writer = SteppedThread(loop, path, name="writer")
        engine.reader = SteppedThread(loop, path, name="reader", read_only=True)
        _engines[path] = engine  # closing takes it away
        self._engine = engine
        self._clock = loop.clock
        self._closed = False
        self._max_waiting = max_waiting
        self._patience = patience
        self._loop = loop

    def _begin(self, link: Link, opening: str) -> SqliteTransaction:
        self._step()
        connection = link.connection()
        begin(connection, opening)
        tx = SteppedTransaction(connection, self._engine.timeline, self._clock)
        tx.step = self._step
        return tx

    def _step(self) -> None:
        assert self._loop.current, "a statement outside of the store's threads"
        self._loop.current.wait(_always)


def run_stepped(
    seed: int, main: Callable[[SteppingLoop], Awaitable[T]], *, hurry: bool
) -> tuple[SteppingLoop, T | None, BaseException | None]:
    """Run `main` in a loop of this seed; returns the loop, and the result or what it ended with."""
    loop = SteppingLoop(seed, hurry=hurry)

    async def whole() -> T:
        return await main(loop)

    try:
        return loop, loop.run(whole()), None
    except BaseException as error:
        return loop, None, error
