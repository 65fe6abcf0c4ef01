"""The clock of a connection that stays open: asks again and again who is behind it, and ends it once that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kavach_core.api import problems
from kavach_core.api.edge import Edge
from kavach_core.api.view import View

#: Closes a connection, with a code and a reason.
Close = Callable[[int, str], Awaitable[None]]


class Watch:
    """Looks at one connection, with a timer between two looks."""

    def __init__(self, edge: Edge, view: View, every: float, end: Close) -> None:
        self._edge = edge
        self._view = view
        self._every = every
        self._end = end
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look once after the time given, and again for as long as all is well."""
        self._timer = asyncio.get_running_loop().call_later(self._every, self._begin)

    def cancel(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()

    async def finished(self) -> None:
        """Wait for a look under way."""
        if self._look is not None:
            await asyncio.wait((self._look,))

    def _begin(self) -> None:
        self._look = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        try:
            await self._edge.check_still(self._view)
        except Exception as error:
            # What cannot be told is a reason to end too: the gate fails closed.
            await self._end(*problems.to_close(error))
        else:
            self.start()
