"""Ending one wait of a task from outside, and nothing else of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """A wait was ended from outside."""


class Interruptible:
    """A wait that `interrupt` ends, as `asyncio.timeout` does; that would cost as much as all else in a request."""

    __slots__ = ("_cancelled", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelled: asyncio.Task[object] | None = None

    async def wait(self, what: Awaitable[T]) -> T:
        """Wait for something. Raises `Interrupted`, or whatever that raises."""
        task = self._task = asyncio.current_task()
        cancelled_before = 0 if task is None else task.cancelling()
        try:
            return await what
        except BaseException as error:
            # Somebody else may have cancelled the task in the same moment: then that stays so.
            is_ours = task is not None and task is self._cancelled and task.uncancel() <= cancelled_before
            if is_ours and isinstance(error, asyncio.CancelledError):
                raise Interrupted from error
            raise
        finally:
            self._task = None

    def interrupt(self) -> bool:
        """End the wait. Returns whether anybody was waiting."""
        if self._task is None:
            return False
        if self._task is not self._cancelled:
            self._task.cancel()
            self._cancelled = self._task
        return True
