"""Read what was counted. Counting itself happens inside the transactions of those who are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kavach_core.capabilities.limits import keys, queries
from kavach_core.errors import RateLimited
from kavach_core.primitives.clock import DAY
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: Attempts to sign in are counted over a quarter of an hour.
_ATTEMPT_MINUTES: Final = 15
#: To begin proves nothing, and a page that waits for a passkey begins again every few minutes.
_BEGUN_PER_ATTEMPT: Final = 10


class Limits:
    """The counters, for looking at."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._per_account = runtime.config.attempts_per_account
        self._per_address = runtime.config.attempts_per_address

    async def unknown_credentials(self, address: str | None) -> int:
        """Return how many credentials of nobody were presented from this address in the last hour.

        Addresses share a bounded number of counters, so the figure may include those of another address.
        """
        window = await self._store.read(queries.find, self._project, keys.unknown(address))
        return window.hour

    async def attempt(self, *, account: str | None, address: str | None) -> None:
        """Count one attempt to sign in against an account and an address, before it is looked at.

        The count is in the database: all processes share it. Raises `RateLimited`, which counts nothing.
        """
        await self._store.transact(self.attempt_in, account, address)

    async def attempt_in(self, tx: Transaction, account: str | None, address: str | None) -> None:
        """Like `attempt`, inside a transaction. It counts if that commits."""
        counted = {
            key: limit
            for key, limit in (
                (None if account is None else keys.attempts_of(account), self._per_account),
                (None if address is None else keys.attempts_from(address), self._per_address),
            )
            if key is not None
        }
        await self._count(tx, counted)

    async def begin_in(self, tx: Transaction, address: str | None) -> None:
        """Count a ceremony begun from an address, inside its transaction. Raises `RateLimited`."""
        if address is not None:
            await self._count(tx, {keys.begun_from(address): _BEGUN_PER_ATTEMPT * self._per_address})

    async def forgive(self, account: str) -> None:
        """Forget the attempts on an account, after one of them was its owner."""
        await self._store.transact(self._forgive, keys.attempts_of(account))

    async def prune(self) -> int:
        """Forget counters that nobody counted in for a day; they hold nothing that still counts. Returns how many."""
        return await self._store.transact(self._prune)

    async def _count(self, tx: Transaction, limits: Mapping[bytes, int]) -> None:
        windows = await queries.lock(tx, self._project, limits)
        full = [
            windows[key].retry_after(limit, tx.now, _ATTEMPT_MINUTES)
            for key, limit in limits.items()
            if windows[key].last(_ATTEMPT_MINUTES) >= limit
        ]
        if full:
            raise RateLimited("Too many attempts to sign in.", retry_after=max(full))
        for window in windows.values():
            window.take()
        await queries.write(tx, self._project, windows)

    async def _forgive(self, tx: Transaction, key: bytes) -> None:
        await queries.forget(tx, self._project, key)

    async def _prune(self, tx: Transaction) -> int:
        return await queries.prune(tx, self._project, tx.now - DAY)
