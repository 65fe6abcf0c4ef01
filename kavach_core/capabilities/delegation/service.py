"""Hand on, list, take back. Ending a delegation is one row, however large the tree below it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from kavach_core.capabilities.delegation import queries
from kavach_core.capabilities.delegation.facts import Facts
from kavach_core.capabilities.delegation.loader import load_facts
from kavach_core.capabilities.delegation.model import Delegation, DelegationStatus
from kavach_core.capabilities.delegation.policy import (
    MOST_INTO,
    MOST_OUT_OF,
    MOST_PAIRS,
    Settled,
    Terms,
    check_receiver,
    require_live,
    settle,
)
from kavach_core.capabilities.delegation.queries import DelegationRow
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import OwnerRow
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import CrossOwner, InvalidInput, LimitReached, NotFound
from kavach_core.primitives import clock, ids
from kavach_core.primitives.permissions import (
    Permission,
    PermissionLike,
    PermissionSet,
    meet,
    parse_permissions,
)
from kavach_core.primitives.text import escape
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction
from kavach_core.store.faults import RunAgain

_LISTED: Final = 10_000
_LONGEST_PURPOSE: Final = 1000
_MOST_SHOWN: Final = 1000


class Delegations:
    """Edges between agents."""

    def __init__(self, runtime: Runtime, sets: PermissionSets) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._deepest = runtime.config.max_delegation_depth
        self._sets = sets

    async def create(
        self,
        *,
        from_agent: str,
        to_agent: str,
        permissions: Sequence[PermissionLike],
        expires_at: datetime | None = None,
        max_depth: int | None = None,
        purpose: str | None = None,
    ) -> Delegation:
        """Give an existing agent a part of what another has.

        The source is chosen once, now: the giver's own permissions if they cover everything asked, else its oldest
        delegation that does. The end is clamped to the giver's.

        Raises `NotFound`, `FinalState` for an agent that is not live, `CrossOwner`, `Cycle`, `Widens`, `TooDeep`, and
        `LimitReached` at 100 live delegations into the receiver or 1,000 out of the giver.
        """
        terms = make_terms(permissions, expires_at=expires_at, max_depth=max_depth, purpose=purpose)
        giver, receiver = ids.AGENT.raw(from_agent, field="fromAgent"), ids.AGENT.raw(to_agent, field="toAgent")
        return await self._store.transact(self._create, giver, receiver, terms)

    async def get(self, delegation_id: str) -> Delegation:
        """Return a delegation. Raises `NotFound`."""
        return await self._store.read(self._get, ids.DELEGATION.raw(delegation_id))

    async def list(self, agent_id: str) -> Sequence[Delegation]:
        """Return the delegations an agent takes part in, as giver or receiver, newest first, ended ones too."""
        return await self._store.read(self._list, ids.AGENT.raw(agent_id))

    async def revoke(self, delegation_id: str) -> None:
        """End a delegation and everything that stands on it, in every process, for good.

        Ending it twice changes nothing. Raises `NotFound`.
        """
        await self._store.transact(self._revoke, ids.DELEGATION.raw(delegation_id))

    async def effective_permissions(self, agent_id: str) -> Sequence[Permission]:
        """Return what an agent may do now, flat: its own, and what each link of its delegations lets through.

        Empty for an agent that is not live. For showing: `authorize` decides call by call. Raises `NotFound`, and
        `LimitReached` where overlapping permissions multiply into more than 1,000.
        """
        return await self._store.read(self._effective, ids.AGENT.raw(agent_id))

    async def grant(self, tx: Transaction, facts: Facts, giver: bytes, receiver: bytes, terms: Terms) -> Delegation:
        """Write a delegation inside a transaction that holds the owner's lock; the receiver is known to be theirs."""
        settled = settle(facts, giver, terms, deepest=self._deepest)
        check_receiver(settled, receiver)
        await self._check_limits(tx, giver, receiver)
        permissions = PermissionSet.of(terms.permissions)
        row = _new_row(tx, settled, receiver, terms, await self._sets.keep(tx, permissions))
        await queries.insert(tx, self._project, row)
        delegation = queries.to_model(row, permissions, DelegationStatus.ACTIVE)
        await announce(
            tx,
            self._project,
            "delegation.created",
            subject=delegation.id,
            owner_id=settled.giver.owner_id,
            data={"fromAgent": delegation.from_agent, "toAgent": delegation.to_agent, "depth": delegation.depth},
        )
        return delegation

    async def end_made_since(self, tx: Transaction, agent_id: bytes, since: int, *, cut: bool) -> tuple[str, ...]:
        """Name the live delegations an agent made since a moment, and end them if `cut`."""
        made = await queries.made_since(tx, self._project, agent_id, since)
        for delegation_id in made if cut else ():
            await self._end(tx, delegation_id)
        return tuple(ids.DELEGATION.text(delegation_id) for delegation_id in made)

    async def _create(self, tx: Transaction, giver: bytes, receiver: bytes, terms: Terms) -> Delegation:
        facts = await load_facts(tx, self._project, self._sets, agents=(giver, receiver))
        owner_id = require_live(facts, giver).owner_id
        if require_live(facts, receiver).owner_id != owner_id:
            raise CrossOwner("Giver and receiver belong to different owners.")
        await self.lock_owner(tx, giver, owner_id)
        return await self.grant(tx, facts, giver, receiver, terms)

    async def lock_owner(self, tx: Transaction, agent_id: bytes, owner_id: str) -> OwnerRow:
        """Hold the lock of an agent's owner. If a rename moved the agent before that, the transaction runs again."""
        owner = await owners.lock(tx, self._project, owner_id)
        if await queries.owner_of_agent(tx, self._project, agent_id) != owner_id:
            raise RunAgain
        return owner

    async def _check_limits(self, tx: Transaction, giver: bytes, receiver: bytes) -> None:
        if await queries.count_live(tx, self._project, into=receiver) >= MOST_INTO:
            raise LimitReached(f"An agent receives at most {MOST_INTO} live delegations.")
        if await queries.count_live(tx, self._project, out_of=giver) >= MOST_OUT_OF:
            raise LimitReached(f"An agent gives at most {MOST_OUT_OF} live delegations.")

    async def _get(self, tx: Transaction, delegation_id: bytes) -> Delegation:
        row = await queries.find(tx, self._project, delegation_id)
        if row is None:
            raise NotFound("There is no such delegation.")
        facts = await load_facts(tx, self._project, self._sets, agents=(row.from_agent, row.to_agent))
        return (await queries.to_models(tx, self._sets, [(row, _status(row, facts))]))[0]

    async def _list(self, tx: Transaction, agent_id: bytes) -> Sequence[Delegation]:
        rows = await queries.taking_part(tx, self._project, agent_id, _LISTED)
        agents = {agent_id, *(row.from_agent for row in rows), *(row.to_agent for row in rows)}
        facts = await load_facts(tx, self._project, self._sets, agents=sorted(agents))
        if agent_id not in facts.agents:
            raise NotFound("There is no such agent.")
        return await queries.to_models(tx, self._sets, [(row, _status(row, facts)) for row in rows])

    async def _revoke(self, tx: Transaction, delegation_id: bytes) -> None:
        if await queries.find(tx, self._project, delegation_id) is None:
            raise NotFound("There is no such delegation.")
        await self._end(tx, delegation_id)

    async def _end(self, tx: Transaction, delegation_id: bytes) -> None:
        if await queries.revoke(tx, self._project, delegation_id):
            owner_id = await queries.owner_of(tx, self._project, delegation_id)
            subject = ids.DELEGATION.text(delegation_id)
            await announce(tx, self._project, "delegation.revoked", subject=subject, owner_id=owner_id)

    async def is_live_in(self, tx: Transaction, agent_id: bytes) -> bool:
        """Tell whether an agent lives, inside a transaction."""
        facts = await load_facts(tx, self._project, self._sets, agents=(agent_id,))
        return agent_id in facts.agents and facts.agent_end(agent_id) is None

    async def received_in(self, tx: Transaction, agent_id: bytes) -> Sequence[Permission]:
        """Return what was delegated to an agent, inside the transaction of a change; as `effective_permissions`."""
        return await self._effective(tx, agent_id, with_own=False)

    async def _effective(self, tx: Transaction, agent_id: bytes, with_own: bool = True) -> Sequence[Permission]:
        facts = await load_facts(tx, self._project, self._sets, agents=(agent_id,))
        agent = facts.agents.get(agent_id)
        if agent is None:
            raise NotFound("There is no such agent.")
        if facts.agent_end(agent_id) is not None:
            return []
        effective: dict[Permission, None] = {}
        for path in facts.paths_of(agent):
            edge_id = path[-1].edge_id
            if with_own if edge_id is None else facts.edge_lives(edge_id):
                effective.update(dict.fromkeys(_through([link.permissions for link in path])))
        return list(effective)


def make_terms(
    permissions: Sequence[PermissionLike],
    *,
    expires_at: datetime | None,
    max_depth: int | None,
    purpose: str | None,
) -> Terms:
    """Check what is asked for. Raises `InvalidInput`."""
    if max_depth is not None and type(max_depth) is not int:  # callers are not all type-checked
        raise InvalidInput("maxDepth is a whole number.", field="maxDepth")
    if max_depth is not None and max_depth < 0:
        raise InvalidInput("maxDepth is not negative.", field="maxDepth")
    return Terms(
        permissions=parse_permissions(permissions, limit=MOST_PAIRS),
        expires_at=clock.NEVER if expires_at is None else clock.to_micros(expires_at, field="expiresAt"),
        max_depth=max_depth,
        purpose=None if purpose is None else escape(purpose, longest=_LONGEST_PURPOSE, field="purpose"),
    )


def _new_row(tx: Transaction, settled: Settled, receiver: bytes, terms: Terms, permissions: bytes) -> DelegationRow:
    return DelegationRow(
        id=tx.new_id(),
        from_agent=settled.giver.id,
        to_agent=receiver,
        source_id=settled.source_id,
        depth=settled.depth,
        max_depth=settled.max_depth,
        permissions=permissions,
        purpose=terms.purpose,
        expires_at=settled.expires_at,
        created_at=tx.now,
        revoked_at=None,
    )


def _status(row: DelegationRow, facts: Facts) -> DelegationStatus:
    if row.revoked_at is not None:
        return DelegationStatus.REVOKED
    if row.expires_at <= facts.now:
        return DelegationStatus.EXPIRED
    if not facts.edge_lives(row.id) or facts.agent_end(row.to_agent) is not None:
        return DelegationStatus.ENDED
    return DelegationStatus.ACTIVE


def _through(sets: Sequence[PermissionSet]) -> list[Permission]:
    """What all links let through: the meet of each one's permissions, from the acting agent up.

    Raises `LimitReached` where overlapping permissions multiply into more than can be shown.
    """
    passed = list(sets[-1])
    for above in reversed(sets[:-1]):
        held = list(above)
        met: dict[Permission, None] = {}
        for below in passed:
            met.update((common, None) for each in held for common in meet(each, below))
            if len(met) > _MOST_SHOWN:
                raise LimitReached(f"The permissions of this chain overlap in more than {_MOST_SHOWN} ways.")
        passed = list(met)
    return passed
