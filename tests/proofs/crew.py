"""A crew: processes that make a proof's calls. They carry out orders, and tell what they saw.

They are forked from a process that has imported everything, which takes milliseconds. Moments are those of
`time.monotonic_ns`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.proofs.calling", "tests.proofs.once", "asyncpg"])

#: What a process of a crew can be told to do.
Orders = Mapping[str, Callable[..., Awaitable[Any]]]
#: What it gets ready for that, at the top level of a module.
Work = Callable[..., AbstractAsyncContextManager[Orders]]


class Hand:
    """One process of a crew."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, order: str, *details: Any) -> Any:
        """Give an order; returns what came of it."""
        self._connection.send((order, details))
        return await self.hear()

    async def hear(self) -> Any:
        failed, what = await asyncio.to_thread(self._connection.recv)
        assert not failed, what
        return what


async def ask_all(hands: Sequence[Hand], order: str, *details: Any) -> list[Any]:
    """Give all of them the same order at once."""
    return await asyncio.gather(*[hand.ask(order, *details) for hand in hands])


@asynccontextmanager
async def crew(size: int, work: Work, *args: str) -> AsyncGenerator[list[Hand]]:
    """So many processes that are ready for this work; they are gone afterwards."""
    async with AsyncExitStack() as stack:
        hands = [await stack.enter_async_context(_hand(work, *args)) for _ in range(size)]
        for hand in hands:
            await hand.hear()
        yield hands


@asynccontextmanager
async def _hand(work: Work, *args: str) -> AsyncGenerator[Hand]:
    ours, theirs = _forks.Pipe()
    process = _forks.Process(target=_obey, args=(theirs, work, args), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Hand(ours)
    finally:
        ours.close()
        await asyncio.to_thread(process.join)
        process.close()


def _obey(orders: Connection, work: Work, args: Sequence[str]) -> None:
    """The other side: carry out one order after the other until there are no more."""

    async def main() -> None:
        async with work(*args) as known:
            orders.send((False, None))
            while True:
                order, details = await asyncio.to_thread(orders.recv)
                orders.send((False, await known[order](*details)))

    try:
        asyncio.run(main())
    except EOFError:
        return
    except BaseException:
        orders.send((True, traceback.format_exc()))


async def meet(at: int) -> None:
    """Wait for a moment, to begin at once with others that wait for it."""
    await asyncio.sleep(max(0.0, (at - time.monotonic_ns()) / 1e9 - 0.002))
    while time.monotonic_ns() < at:
        pass
