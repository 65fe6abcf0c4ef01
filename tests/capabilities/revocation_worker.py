"""The other process of the revocation tests: calls without a pause until told to stop, then says what it saw.

Arguments: database, project, and `fresh` or `cached`. It reads a token, calls with it, says `allowed` once it was;
reads a line that means stop, calls a little longer, and says when the last call began that was allowed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from kavach_core import Kavach, create_kavach

_CALLERS = 4
_CALLS_AFTER_STOP = 3
_CACHED_FOR = 50_000_000

Decide = Callable[[str], Awaitable[bool]]


def fresh(kavach: Kavach) -> Decide:
    async def decide(token: str) -> bool:
        return bool(await kavach.authorize(token, action="read", resource="repos"))

    return decide


def cached(kavach: Kavach) -> Decide:
    """What Kavach does not do: remember an answer for 50 ms."""
    known: dict[str, tuple[int, bool]] = {}

    async def decide(token: str) -> bool:
        at, answer = known.get(token, (0, False))
        if time.monotonic_ns() - at > _CACHED_FOR:
            known[token] = at, answer = time.monotonic_ns(), await fresh(kavach)(token)
        return answer

    return decide


class Watch:
    """Calls with one token, and what came of them."""

    def __init__(self, decide: Decide, token: str) -> None:
        self._decide = decide
        self._token = token
        self._stopped = False
        self._last_allowed = 0
        self._calls = 0
        self._tasks = [asyncio.create_task(self._call()) for _ in range(_CALLERS)]

    async def stop(self) -> dict[str, int]:
        self._stopped = True
        await asyncio.gather(*self._tasks)
        return {"last_allowed": self._last_allowed, "calls": self._calls}

    async def _call(self) -> None:
        left = _CALLS_AFTER_STOP
        while left:
            left -= self._stopped
            began = time.monotonic_ns()
            self._calls += 1
            if await self._decide(self._token):
                if not self._last_allowed:
                    say("allowed")
                self._last_allowed = max(self._last_allowed, began)
            await asyncio.sleep(0.001)  # several writers share a SQLite file by chance; this gives the others one


def say(text: str) -> None:
    print(text, flush=True)


async def main(database: str, project: str, variant: str) -> None:
    async with await create_kavach(database=database, project=project) as kavach:
        decide = {"fresh": fresh, "cached": cached}[variant](kavach)
        say("ready")
        while token := (await asyncio.to_thread(sys.stdin.readline)).strip():
            watch = Watch(decide, token)
            await asyncio.to_thread(sys.stdin.readline)
            say(json.dumps(await watch.stop()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
