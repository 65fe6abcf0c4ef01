"""From a thread back into an event loop: futures that may be cancelled, loops that may be closed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def call_in(loop: asyncio.AbstractEventLoop, function: Callable[[*Ts], None], *args: *Ts) -> None:
    """Call the function in the loop's own thread; a loop that is closed has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise


def give(future: asyncio.Future[T], result: T) -> None:
    """Answer a future of the running loop, unless its caller was cancelled."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[T], error: BaseException) -> None:
    """Raise the error to the caller of a future of the running loop, unless it was cancelled."""
    if not future.done():
        future.set_exception(error)
