"""Read what was counted. Counting itself happens inside the transactions of those who are counted."""

from __future__ import annotations

from kavach_core.capabilities.limits import keys, queries
from kavach_core.primitives.clock import DAY
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction


class Limits:
    """The counters, for looking at."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project

    async def unknown_credentials(self, address: str | None) -> int:
        """Return how many credentials of nobody were presented from this address in the last hour.

        Addresses share a bounded number of counters, so the figure may include those of another address.
        """
        window = await self._store.read(queries.find, self._project, keys.unknown(address))
        return window.hour

    async def prune(self) -> int:
        """Forget counters that nobody counted in for a day; they hold nothing that still counts. Returns how many."""
        return await self._store.transact(self._prune)

    async def _prune(self, tx: Transaction) -> int:
        return await queries.prune(tx, self._project, tx.now - DAY)
