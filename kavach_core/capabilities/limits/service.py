"""Read what was counted, and count those who want to get in. Decisions count inside their own transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kavach_core.capabilities.limits import keys, queries
from kavach_core.capabilities.limits.model import Attempt, Window
from kavach_core.errors import RateLimited
from kavach_core.primitives.clock import DAY, HOUR
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: Attempts to sign in are counted over a quarter of an hour.
_ATTEMPT_MINUTES: Final = 15
#: So often what one place may try at an account all places together may: an owner elsewhere is not shut out by one.
_PLACES: Final = 10
#: To begin proves nothing, and a page that waits for a passkey begins again every few minutes.
_BEGUN_PER_ATTEMPT: Final = 10
#: A window holds an hour; what is older is forgotten in steps, each of more counters than one attempt makes.
_DEAD_AFTER: Final = 2 * HOUR
_FORGOTTEN_AT_ONCE: Final = 8


class _Counter(NamedTuple):
    key: bytes
    limit: int
    #: Whether it belongs to whoever made the attempt alone, and begins anew when that was the right human.
    is_own: bool = False


class Limits:
    """The counters, for looking at, and for those who want to get in."""

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

    async def attempt(self, attempt: Attempt) -> None:
        """Count one attempt to get in, before it is looked at.

        The count is in the database: all processes share it. Raises `RateLimited`, which counts nothing.
        """
        await self._store.transact(self.attempt_in, attempt)

    async def attempt_in(self, tx: Transaction, attempt: Attempt) -> None:
        """Like `attempt`, inside a transaction. It counts if that commits."""
        await self._count(tx, self._counters_of(attempt))

    async def succeed_in(self, tx: Transaction, attempt: Attempt) -> None:
        """Take an attempt back that was no guess, inside the transaction of what it led to."""
        counters = self._counters_of(attempt)
        if not counters:
            return
        windows = await queries.lock(tx, self._project, [counter.key for counter in counters])
        for counter in counters:
            if counter.is_own:
                windows[counter.key] = Window("", tx.now)
            else:
                windows[counter.key].give_back()
        await queries.write(tx, self._project, windows)

    async def begin_in(self, tx: Transaction, address: str | None) -> None:
        """Count a ceremony begun from an address, inside its transaction. Raises `RateLimited`."""
        if address is not None:
            await self._count(tx, [_Counter(keys.begun_from(address), _BEGUN_PER_ATTEMPT * self._per_address)])

    async def sign_up_in(self, tx: Transaction, address: str | None, mailbox: str | None = None) -> None:
        """Count a wish for an account, from an address and for a mailbox. Raises `RateLimited`.

        It is counted apart from attempts to sign in: whoever asks for accounts keeps nobody from their own.
        """
        counters = [] if mailbox is None else [_Counter(keys.mails_to(mailbox, "sign-up"), self._per_account)]
        if address is not None:
            counters.append(_Counter(keys.sign_ups_from(address), self._per_address))
        await self._count(tx, counters)

    async def mail_in(self, tx: Transaction, mailbox: str, purpose: str, address: str | None = None) -> None:
        """Count a mail that somebody asks for, wherever it goes in the end. Raises `RateLimited`.

        From wherever it is asked for: a mailbox is not to be flooded, and its owner has got the mails so far.
        """
        counters = [_Counter(keys.mails_to(mailbox, purpose), self._per_account)]
        if address is not None:
            counters.append(_Counter(keys.attempts_from(address), self._per_address))
        await self._count(tx, counters)

    async def prune(self) -> int:
        """Forget counters that nobody counted in for a day; they hold nothing that still counts. Returns how many."""
        return await self._store.transact(self._prune)

    def _counters_of(self, attempt: Attempt) -> Sequence[_Counter]:
        """What an attempt counts in. A browser that got in before counts by itself: no stranger can use that up."""
        account, address = attempt.account, attempt.address
        counters = list[_Counter]()
        if account is not None and attempt.browser is not None:
            return [_Counter(keys.attempts_by(account, attempt.browser), self._per_account, is_own=True)]
        if account is not None:
            counters.append(_Counter(keys.attempts_at(account, address), self._per_account, is_own=True))
            counters.append(_Counter(keys.attempts_of(account), _PLACES * self._per_account))
        if address is not None:
            counters.append(_Counter(keys.attempts_from(address), self._per_address))
        return counters

    async def _count(self, tx: Transaction, counters: Sequence[_Counter]) -> None:
        if not counters:
            return
        windows = await queries.lock(tx, self._project, [counter.key for counter in counters])
        full = [
            windows[counter.key].retry_after(counter.limit, tx.now, _ATTEMPT_MINUTES)
            for counter in counters
            if windows[counter.key].last(_ATTEMPT_MINUTES) >= counter.limit
        ]
        if full:
            raise RateLimited("Too many attempts to sign in.", retry_after=max(full))
        has_grown = not all(window.text for window in windows.values())
        for window in windows.values():
            window.take()
        await queries.write(tx, self._project, windows)
        if has_grown:
            # Whoever tries chooses the keys, so the table is kept as small as what was tried of late.
            await queries.forget_some(tx, self._project, tx.now - _DEAD_AFTER, _FORGOTTEN_AT_ONCE)

    async def _prune(self, tx: Transaction) -> int:
        return await queries.prune(tx, self._project, tx.now - DAY)
