"""An app's loop may begin tasks at once (`asyncio.eager_task_factory`), inside of what starts them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kavach_core import create_kavach, lazy_kavach
from tests.capabilities.support import Home, ask, make_agent


def _begin_at_once(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> Any:
    """What the eager factory of Python 3.12 does, for Python 3.11: the first step of a task before all else."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **more)
    if not loop.is_running():
        return task
    step = loop._ready.pop()  # type: ignore[attr-defined]
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)
    step._run()
    if current is not None:
        asyncio.tasks._enter_task(loop, current)
    return task


_FACTORY: Callable[..., Any] = (
    asyncio.eager_task_factory if sys.version_info >= (3, 12) else _begin_at_once  # type: ignore[attr-defined,unused-ignore]
)


def _run_eagerly(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(_FACTORY)
        runner.run(main)


@pytest.mark.timeout(20, method="thread")
def test_callers_at_once_are_answered(home: Home) -> None:
    async def rights(owner_id: str) -> list[str]:
        return ["*:**"]

    async def call() -> None:
        async with await create_kavach(
            database=home.database, project=home.project, owner_permissions=rights
        ) as kavach:
            agent = await make_agent(kavach)
            assert all(await asyncio.gather(*[ask(kavach, agent.token) for _ in range(20)]))
            await kavach.agents.revoke(agent.id)
            assert not await ask(kavach, agent.token)

    _run_eagerly(call())


def test_those_who_come_first_open_one_kavach(home: Home) -> None:
    async def open_once() -> None:
        get_kavach = lazy_kavach(database=home.database, project=home.project)
        opened = await asyncio.gather(*[get_kavach() for _ in range(5)])
        assert len({id(each) for each in opened}) == 1
        await get_kavach.close()

    _run_eagerly(open_once())


def test_the_factory_begins_at_once() -> None:
    """The negative control: a task that is started as usual runs inside of what starts it."""
    noted: list[str] = []

    async def note() -> None:
        noted.append("task")
        await asyncio.sleep(0)

    async def start() -> None:
        task = asyncio.create_task(note())
        noted.append("starter")
        await task

    _run_eagerly(start())
    assert noted == ["task", "starter"]
