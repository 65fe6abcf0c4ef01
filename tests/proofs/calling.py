"""The work of a crew that calls with all it is given, without a pause, and keeps the history of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from kavach_core import Kavach, create_kavach
from kavach_core.errors import StoreUnavailable
from tests.proofs.crew import Orders

#: Calls with each credential after the end of all was acknowledged.
_CALLS_AFTER = 3
_CACHED_FOR = 50_000_000

Decide = Callable[[Kavach, str], Awaitable[bool]]


async def fresh(kavach: Kavach, credential: str) -> bool:
    if credential.startswith("kv_agt_"):
        return bool(await kavach.authorize(credential, action="read", resource="repos"))
    verify = kavach.sessions.verify if credential.startswith("kv_ses_") else kavach.keys.verify
    return bool(await verify(credential))


def cached() -> Decide:
    """What Kavach does not do: remember an answer for 50 ms."""
    known: dict[str, tuple[int, bool]] = {}

    async def decide(kavach: Kavach, credential: str) -> bool:
        at, answer = known.get(credential, (0, False))
        if time.monotonic_ns() - at > _CACHED_FOR:
            known[credential] = at, answer = time.monotonic_ns(), await fresh(kavach, credential)
        return answer

    return decide


class Caller:
    """Calls with one credential. The history has the moments a call began and was answered, and whether by yes."""

    def __init__(self, call: Callable[[], Awaitable[bool]], *, until_allowed: bool) -> None:
        self._call = call
        self._stopped = False
        self._until_allowed = until_allowed
        self.is_known = asyncio.Event()
        self.history: list[tuple[int, int, bool]] = []
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> list[tuple[int, int, bool]]:
        self._stopped = True
        await self._task
        return self.history

    async def _go_on(self) -> None:
        left = _CALLS_AFTER
        while left:
            left -= self._stopped
            began = time.monotonic_ns()
            allowed = await self._try()
            self.history.append((began, time.monotonic_ns(), allowed))
            if allowed or not self._until_allowed:
                self.is_known.set()
            await asyncio.sleep(0.003)  # several writers share a SQLite file by chance; this gives the others one

    async def _try(self) -> bool:
        try:
            return await self._call()
        except StoreUnavailable:
            return False


class Callers:
    """What the crew is told to do."""

    def __init__(self, kavachs: dict[str, Kavach], decide: Decide) -> None:
        self._kavachs = kavachs
        self._decide = decide
        self._callers: list[Caller] = []

    async def begin(self, subjects: list[list[Any]]) -> int:
        """Call with all of these from now on; returns when each was let in, or at least answered."""
        self._callers = [self._caller(*subject) for subject in subjects]
        await asyncio.gather(*[caller.is_known.wait() for caller in self._callers])
        return len(subjects)

    def _caller(self, project: str, credential: str, may_call: bool) -> Caller:
        kavach = self._kavachs[project]
        return Caller(lambda: self._decide(kavach, credential), until_allowed=may_call)

    async def stop(self) -> list[list[tuple[int, int, bool]]]:
        """Call a little longer and stop; returns the history of each subject."""
        return await asyncio.gather(*[caller.stop() for caller in self._callers])


@asynccontextmanager
async def calling(database: str, variant: str, *projects: str) -> AsyncGenerator[Orders]:
    """`variant` is `fresh` or `cached`."""
    async with AsyncExitStack() as stack:
        kavachs = {
            project: await stack.enter_async_context(
                await create_kavach(database=database, project=project, skip_migrations=True)
            )
            for project in projects
        }
        callers = Callers(kavachs, fresh if variant == "fresh" else cached())
        yield {"begin": callers.begin, "stop": callers.stop}
