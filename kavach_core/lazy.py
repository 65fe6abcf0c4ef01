"""The lazy factory: nothing is opened until the first call, and then once per process and event loop.

The opener runs in a task and context of its own, so that the first request's cancellation or context never leaks into
what all share. A success is kept, a failure is not. After a fork the parent's slots are let go untouched.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import weakref
from collections.abc import Awaitable, Callable
from typing import Final, Unpack

from kavach_core.config import Config, Settings, load_config
from kavach_core.errors import StoreUnavailable
from kavach_core.kavach import Kavach, open_kavach
from kavach_core.primitives.garbage import set_loaded_aside
from kavach_core.primitives.tasks import start_task

#: Seconds that opening may take before its callers are told to come back.
START_TIMEOUT: Final = 30.0

_inherited: Final[list[object]] = []
_Slots = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Kavach]]


class LazyKavach:
    """Call and await it for the open Kavach: `kavach = await get_kavach()`."""

    def __init__(
        self, config: Config, open_: Callable[[Config], Awaitable[Kavach]] = open_kavach, *, freeze: bool = True
    ) -> None:
        self.config = config
        self._open = open_
        self._freeze = freeze
        self._pid = os.getpid()
        self._slots = _Slots()

    async def __call__(self) -> Kavach:
        """Return the Kavach of this process and loop, opened on the first call however many wait for it.

        Raises what opening raises; the next call tries again.
        """
        task = self._task()
        if not task.done():
            await asyncio.shield(asyncio.wait((task,)))
        return task.result()

    async def close(self) -> None:
        """Close what this loop opened, waiting for an opening in flight. Afterwards the next call opens anew."""
        task = self._current_slots().pop(asyncio.get_running_loop(), None)
        if task is not None:
            await asyncio.wait((task,))
            if task.exception() is None:
                await task.result().close()

    def _task(self) -> asyncio.Task[Kavach]:
        loop, slots = asyncio.get_running_loop(), self._current_slots()
        task = slots.get(loop)
        if task is None:
            task = start_task(self._start(), context=contextvars.Context())
            task.add_done_callback(lambda done: self._keep_only_success(slots, loop, done))
            slots[loop] = task
        return task

    def _current_slots(self) -> _Slots:
        if self._pid != os.getpid():
            # Kept for ever: were they collected here, their sockets would be taken off the event queue that a fork
            # shares with the parent, and the parent would never hear from them again.
            _inherited.append(list(self._slots.items()))
            self._pid, self._slots = os.getpid(), _Slots()
        return self._slots

    async def _start(self) -> Kavach:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                kavach = await self._open(self.config)
        except TimeoutError:
            raise StoreUnavailable("Opening the database takes too long.") from None
        if self._freeze:
            set_loaded_aside()
        return kavach

    @staticmethod
    def _keep_only_success(slots: _Slots, loop: asyncio.AbstractEventLoop, done: asyncio.Task[Kavach]) -> None:
        if (done.cancelled() or done.exception() is not None) and slots.get(loop) is done:
            del slots[loop]


def lazy_kavach(*, freeze: bool = True, **settings: Unpack[Settings]) -> LazyKavach:
    """Check the settings now and open nothing: building, importing and exporting OpenAPI need no database.

    Once it is open, what the process has loaded is taken out of Python's garbage collection (`gc.freeze`), for it is
    there to stay; `freeze=False` leaves that alone. Raises `ConfigurationError`.
    """
    return LazyKavach(load_config(**settings), freeze=freeze)
