"""Tasks that begin when the loop gets to them, and never inside of what starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


def start_task(coroutine: Coroutine[Any, Any, T], *, context: Context | None = None) -> asyncio.Task[T]:
    """Start a task in the running loop, past its task factory: one of `asyncio.eager_task_factory` begins at once.

    Who starts it may hold a lock that it takes, or has yet to note down that it is there.
    """
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), context=context)
