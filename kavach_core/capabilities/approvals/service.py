"""Look at approvals, answer them, and wait for an answer. Asking for one and using it are parts of a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from kavach_core.capabilities.approvals import queries
from kavach_core.capabilities.approvals.model import Approval, ApprovalStatus
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.errors import FinalState, NotFound
from kavach_core.primitives import duration, ids
from kavach_core.primitives.choice import one_of
from kavach_core.primitives.clock import SECOND, to_micros
from kavach_core.primitives.duration import Duration
from kavach_core.primitives.page import Page, PageRequest
from kavach_core.primitives.text import require_clean
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: How a later room tells whether an agent lives, inside a transaction.
IsLive = Callable[[Transaction, bytes], Awaitable[bool]]

#: Seconds between two looks while waiting: the answer comes from a human, and perhaps in another process.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0


class Approvals:
    """The questions agents have put to their humans."""

    def __init__(self, runtime: Runtime, *, is_live: IsLive) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._lifetime = runtime.config.approval_lifetime
        self._is_live = is_live

    async def get(self, approval_id: str) -> Approval:
        """Return an approval as it stands. Raises `NotFound`."""
        return await self._store.read(self._get, ids.APPROVAL.raw(approval_id))

    async def list(
        self,
        *,
        agent_id: str | None = None,
        owner_id: str | None = None,
        status: ApprovalStatus | str | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> Page[Approval]:
        """Return matching approvals, newest first, with the total up to 10,000. Raises `InvalidInput`."""
        return await self._store.read(
            self._list,
            None if agent_id is None else ids.AGENT.raw(agent_id, field="agentId"),
            None if owner_id is None else require_owner_id(owner_id),
            None if status is None else one_of(ApprovalStatus, status, "status"),
            PageRequest(limit=limit, offset=offset),
        )

    async def approve(self, approval_id: str, *, by: str) -> Approval:
        """Let the one call that was asked about go ahead, once, until the approval expires.

        `by` is who says so: the owner, or the API key that speaks for them. The app vouches for it; over HTTP the
        operation checks that the caller is entitled.

        Raises `NotFound`, and `FinalState` for one that was answered, has expired, or whose agent has ended.
        """
        return await self._answer(approval_id, ApprovalStatus.APPROVED, by)

    async def deny(self, approval_id: str, *, by: str) -> Approval:
        """Refuse the call that was asked about. The same call is refused, without asking again, until this expires.

        Raises as `approve`.
        """
        return await self._answer(approval_id, ApprovalStatus.DENIED, by)

    async def wait(self, approval_id: str, *, timeout: Duration = "30s") -> Approval:  # noqa: ASYNC109 - it returns, and does not raise
        """Return the approval once it is answered or expired, or as it stands after `timeout`. Raises `NotFound`.

        The answer may be given in another process: this looks again, at first ten times and at last once a second.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + duration.to_micros(timeout, field="timeout") / SECOND
        pause = _FIRST_PAUSE
        while True:
            approval = await self.get(approval_id)
            left = deadline - loop.time()
            if approval.status is not ApprovalStatus.PENDING or left <= 0:
                return approval
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def prune(self, *, before: datetime) -> int:
        """Delete approvals that ended before a moment; returns how many. Never done by itself."""
        bound = to_micros(before, field="before")
        return await self._store.transact(queries.prune, self._project, bound)

    async def _answer(self, approval_id: str, status: ApprovalStatus, by: str) -> Approval:
        require_clean(by, field="by")
        return await self._store.transact(self._answer_in, ids.APPROVAL.raw(approval_id), status, by)

    async def _get(self, tx: Transaction, approval_id: bytes) -> Approval:
        approval = await queries.find(tx, self._project, approval_id)
        if approval is None:
            raise NotFound("There is no such approval.")
        return approval

    async def _list(
        self,
        tx: Transaction,
        agent_id: bytes | None,
        owner_id: str | None,
        status: ApprovalStatus | None,
        part: PageRequest,
    ) -> Page[Approval]:
        found, total = await queries.page(
            tx, self._project, agent_id=agent_id, owner_id=owner_id, status=status, part=part
        )
        return Page(found, total)

    async def _answer_in(self, tx: Transaction, approval_id: bytes, status: ApprovalStatus, by: str) -> Approval:
        expires_at = tx.now + self._lifetime
        answered = await queries.answer(tx, self._project, approval_id, status, by=by, expires_at=expires_at)
        approval = await self._get(tx, approval_id)
        if not answered:
            raise FinalState(f"The approval is {approval.status}; that is final.", details={"status": approval.status})
        if not await self._is_live(tx, ids.AGENT.raw(approval.agent_id)):
            raise FinalState(
                "The agent that asked has ended, or may not act now.", details={"agentId": approval.agent_id}
            )
        await announce(
            tx,
            self._project,
            f"approval.{status}",
            subject=approval.id,
            owner_id=approval.owner_id,
            data={"agentId": approval.agent_id, "by": by},
        )
        return approval
