"""What the app says its humans may do, asked before a call joins its batch; and whose agents are whose, for asking.

Nothing here is believed by a decision: the facts say whose an agent is, and a call that was asked about under another
owner is asked about again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from kavach_core.capabilities.authorize.model import Rights
from kavach_core.config import OwnerPermissions
from kavach_core.errors import ResolverFailed
from kavach_core.primitives.permissions import PermissionLike, PermissionSet, parse_permissions
from kavach_core.primitives.tasks import start_task

#: Seconds the app may take to answer.
PATIENCE: Final = 2.0
_TOO_LATE: Final = "owner_permissions took too long"
_MOST_KNOWN: Final = 20_000

_log = logging.getLogger("kavach")

_T = TypeVar("_T")


class OwnerRights:
    """Asks the app, once for each owner among the calls that wait.

    A call shares only a question that begins after it arrived: whoever comes while one is under way shares the next.
    """

    def __init__(self, ask: OwnerPermissions) -> None:
        self._ask = ask
        self._next: dict[str, asyncio.Task[Rights]] = {}
        self._under_way: dict[str, asyncio.Task[Rights]] = {}
        self._left: set[asyncio.Task[Any]] = set()

    async def of(self, owner_id: str) -> Rights:
        """Return what an owner may do, by an answer the app was asked for after this call.

        Raises `ResolverFailed` if it raises, gives nonsense, is cancelled, or takes longer than two seconds, whatever
        it does about that.
        """
        task = self._next.get(owner_id)
        if task is None:
            task = self._next[owner_id] = _start(self._in_turn(owner_id))
        return await asyncio.shield(task)

    async def _in_turn(self, owner_id: str) -> Rights:
        before = self._under_way.get(owner_id)
        if before is not None:
            await asyncio.wait((before,))
        self._under_way[owner_id] = task = self._next.pop(owner_id)
        try:
            return await self._ask_in_time(owner_id)
        finally:
            if self._under_way.get(owner_id) is task:
                del self._under_way[owner_id]

    async def _ask_in_time(self, owner_id: str) -> Rights:
        try:
            said = await self._answer(owner_id)
            return Rights(owner_id, PermissionSet.of(parse_permissions(said, field="owner_permissions")))
        except Exception as error:
            _log.exception("owner_permissions failed")
            raise ResolverFailed("The app cannot tell what the human may do now.") from error

    async def _answer(self, owner_id: str) -> Sequence[PermissionLike]:
        """Return what the app says. It has a task of its own, since it need not end when it is cancelled.

        Raises `TimeoutError` for what is not there, or comes, after the deadline, and whatever the app raises.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        asked = _start(self._put(owner_id))
        try:
            await asyncio.wait((asked,), timeout=PATIENCE)
        finally:
            if not asked.done():
                self._leave(asked)
        if asked in self._left:
            raise TimeoutError(_TOO_LATE)
        if asked.cancelled():
            raise RuntimeError("owner_permissions was cancelled, and by nobody who waits for it")
        said = asked.result()
        if loop.time() > deadline:  # it held the loop itself, so that nothing could end the wait in time
            raise TimeoutError(_TOO_LATE)
        return said

    async def _put(self, owner_id: str) -> Sequence[PermissionLike]:
        return await self._ask(owner_id)

    def _leave(self, asked: asyncio.Task[Any]) -> None:
        """End a question that nobody waits for. If it goes on it is held here: event loops hold tasks weakly."""
        asked.cancel()
        self._left.add(asked)
        asked.add_done_callback(self._left.discard)


def _start(coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    task = start_task(coroutine)
    task.add_done_callback(_see)
    return task


def _see(task: asyncio.Task[Any]) -> None:
    """Look at the outcome, should nobody be waiting for it any more."""
    if not task.cancelled():
        task.exception()


class KnownOwners:
    """Whose a credential, agent or call was when it was last seen. Bounded; a hint for turns and questions."""

    def __init__(self) -> None:
        # A plain dict takes ever longer to find its first entry while entries leave it at that end.
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def find(self, key: bytes | None) -> str | None:
        """The owner, if one was seen."""
        return None if key is None else self._known.get(key)

    def learn(self, key: bytes | None, owner_id: str) -> None:
        """Remember an owner, forgetting who was seen first if there are too many."""
        if key is None or self._known.get(key) == owner_id:
            return
        self._known[key] = owner_id
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
