"""One run at a time per key and event loop: whoever asks meanwhile waits for it and shares its end."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from kavach_core.primitives.tasks import start_task

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs that are shared while they last. A caller that is cancelled leaves the run to the others."""

    def __init__(self) -> None:
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[K, asyncio.Task[T]]] = (
            weakref.WeakKeyDictionary()
        )

    def is_flying(self, key: K) -> bool:
        """Whether a run for this key is under way in the running loop."""
        return key in self._loops.get(asyncio.get_running_loop(), {})

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the run for this key, or start it. Raises what it raises, to all who wait."""
        loop = asyncio.get_running_loop()
        flying = self._loops.setdefault(loop, {})
        task = flying.get(key)
        if task is None:
            task = flying[key] = start_task(start())
            task.add_done_callback(lambda done: _land(flying, key, done))
        await asyncio.wait((task,))
        return task.result()


def _land(flying: dict[K, asyncio.Task[T]], key: K, done: asyncio.Task[T]) -> None:
    del flying[key]
    if not done.cancelled():
        done.exception()  # seen, should nobody be waiting any more
