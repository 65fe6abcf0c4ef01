"""One wait of a task is ended, and nothing else of it: a task that others cancel stays cancelled."""

from __future__ import annotations

import asyncio

import pytest

from kavach_adapters._interrupt import Interrupted, Interruptible


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_is_waited_for_comes_through() -> None:
    wait = Interruptible()
    assert await wait.wait(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(LookupError):
        await wait.wait(failing())
    assert not wait.interrupt(), "nobody waits any more"
    assert await wait.wait(asyncio.sleep(0, "again")) == "again"


async def test_an_interrupted_task_goes_on() -> None:
    wait = Interruptible()
    asyncio.get_running_loop().call_soon(wait.interrupt)
    with pytest.raises(Interrupted):
        await wait.wait(forever())
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    await asyncio.sleep(0)


async def test_whom_somebody_else_cancels_is_cancelled() -> None:
    wait = Interruptible()
    alone, both = (asyncio.create_task(wait.wait(forever())) for _ in range(2))
    await asyncio.sleep(0)
    assert wait.interrupt() and wait.interrupt(), "twice is once"
    both.cancel()
    alone.cancel()
    for task in (alone, both):
        with pytest.raises(asyncio.CancelledError):
            await task


async def failing() -> None:
    raise LookupError
