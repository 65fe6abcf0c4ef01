"""The life of an agent. Every change is one transaction; every end is final and seen by the next decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from kavach_core.capabilities.agents import queries
from kavach_core.capabilities.agents.draft import Changes, Draft, make_changes, make_draft
from kavach_core.capabilities.agents.model import Agent, AgentStatus, DelegatedAgent, RotatedAgent
from kavach_core.capabilities.agents.queries import AgentFilter, AgentRow
from kavach_core.capabilities.authorize import Authorizer
from kavach_core.capabilities.delegation import Delegations, Terms, load_facts, require_live
from kavach_core.capabilities.delegation.service import make_terms
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import OwnerRow
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import (
    Conflict,
    FinalState,
    GrantNotAllowed,
    InvalidInput,
    LimitReached,
    NotFound,
    OwnerSuspended,
)
from kavach_core.primitives import clock, ids, tokens
from kavach_core.primitives.choice import one_of
from kavach_core.primitives.duration import Duration
from kavach_core.primitives.page import Page, PageRequest
from kavach_core.primitives.permissions import Permission, PermissionLike, PermissionSet, covers, uncovered
from kavach_core.primitives.principal import AgentType
from kavach_core.primitives.tokens import TokenKind
from kavach_core.primitives.unset import UNSET, Unset
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_SHOWN: Final = 20


class Agents:
    """The agents of one project."""

    def __init__(
        self, runtime: Runtime, sets: PermissionSets, delegations: Delegations, authorizer: Authorizer
    ) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._most = runtime.config.max_agents_per_owner
        self._sets = sets
        self._delegations = delegations
        #: `verify(token)` and `require_verified(token)`: decided and recorded on the one batched path.
        self.verify = authorizer.verify
        self.require_verified = authorizer.require_verified

    async def create(
        self,
        *,
        owner_id: str,
        name: str,
        permissions: Sequence[PermissionLike] = (),
        type: AgentType | str = AgentType.AUTONOMOUS,
        ttl: Duration | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, object] | None = None,
        grantable: PermissionSet | None = None,
    ) -> Agent:
        """Make an agent for an owner; its `token` is on the result and nowhere else, ever.

        `ttl` is inactivity, `"2h"` or seconds: unused for so long, the agent ends. `expires_at` is absolute.
        `grantable` is the most that whoever asks may give; None for the app itself.

        Raises `InvalidInput`, `GrantNotAllowed`, `OwnerSuspended`, and `LimitReached` at the owner's limit of live
        agents, which cannot be raced past.
        """
        draft = make_draft(
            name=name, type=_own_type(type), permissions=permissions, ttl=ttl, expires_at=expires_at, metadata=metadata
        )
        if grantable is not None:
            _check_grant(grantable, draft.permissions)
        return await self._store.transact(self._create, require_owner_id(owner_id), draft)

    async def ensure(
        self,
        *,
        owner_id: str,
        name: str,
        permissions: Sequence[PermissionLike] = (),
        type: AgentType | str = AgentType.AUTONOMOUS,
        ttl: Duration | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Agent:
        """Return the live agent of this name that an owner has, or make it: once, however many processes ask at once.

        One that is there is left as it is, whatever else is given; of several it is the oldest, and never one that was
        made by delegating. There is a `token` only on one that was made now. Raises as `create`.
        """
        draft = make_draft(
            name=name, type=_own_type(type), permissions=permissions, ttl=ttl, expires_at=expires_at, metadata=metadata
        )
        return await self._store.transact(self._ensure, require_owner_id(owner_id), draft)

    async def get(self, agent_id: str) -> Agent:
        """Return an agent, live or not. Raises `NotFound`."""
        return await self._store.read(self._get, ids.AGENT.raw(agent_id))

    async def list(
        self,
        *,
        owner_id: str | None = None,
        status: AgentStatus | str | None = None,
        type: AgentType | str | None = None,
        limit: int = 10_000,
        offset: int = 0,
    ) -> Page[Agent]:
        """Return matching agents, newest first, with the total up to 10,000. Raises `InvalidInput`."""
        wanted = AgentFilter(
            owner_id=None if owner_id is None else require_owner_id(owner_id),
            status=None if status is None else one_of(AgentStatus, status, "status"),
            type=None if type is None else one_of(AgentType, type, "type"),
        )
        return await self._store.read(self._list, wanted, PageRequest(limit=limit, offset=offset))

    async def update(
        self,
        agent_id: str,
        *,
        name: str | Unset = UNSET,
        permissions: Sequence[PermissionLike] | Unset = UNSET,
        ttl: Duration | Unset | None = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        metadata: Mapping[str, object] | Unset = UNSET,
        grantable: PermissionSet | None = None,
    ) -> Agent:
        """Change what is given and leave the rest. Narrowed permissions narrow every chain below, on the next call.

        `grantable` is the most that whoever asks may add to what the agent has; None for the app itself.

        Raises `NotFound`, `FinalState` for an agent that has ended, `Conflict` for new permissions or a later end of an
        agent that has only what was delegated to it, `GrantNotAllowed` and `InvalidInput`.
        """
        changes = make_changes(name=name, permissions=permissions, ttl=ttl, expires_at=expires_at, metadata=metadata)
        return await self._store.transact(self._update, ids.AGENT.raw(agent_id), changes, grantable)

    async def rotate(self, agent_id: str, *, cut_children: bool = False) -> RotatedAgent:
        """Give an agent a new token; the old one is dead from the next call on, everywhere.

        The result names the live delegations made since the last rotation; `cut_children` ends them as well, in the
        same transaction. Raises `NotFound` and `FinalState`.
        """
        return await self._store.transact(self._rotate, ids.AGENT.raw(agent_id), cut_children)

    async def revoke(self, agent_id: str) -> None:
        """End an agent for good, and with it every delegation from and to it: one row, seen by the next decision.

        Revoking twice changes nothing. Raises `NotFound`.
        """
        await self._store.transact(self._revoke, ids.AGENT.raw(agent_id))

    async def delegate(
        self,
        *,
        from_: str,
        permissions: Sequence[PermissionLike],
        ttl: Duration | None = None,
        expires_at: datetime | None = None,
        max_depth: int | None = None,
        purpose: str | None = None,
        name: str | None = None,
    ) -> DelegatedAgent:
        """Make a new agent that has a part of what another has, and lives no longer than the delegation to it.

        It belongs to the giver's owner. `ttl` is its inactivity, at most the giver's; `expires_at` the end of agent and
        delegation, clamped to the giver's. `token` and `delegation_id` are on the result.

        Raises as `delegations.create` does, and `LimitReached` at the owner's limit of live agents.
        """
        terms = make_terms(permissions, expires_at=expires_at, max_depth=max_depth, purpose=purpose)
        draft = make_draft(name=name or "sub-agent", type=AgentType.DELEGATED, ttl=ttl)
        return await self._store.transact(self._delegate, ids.AGENT.raw(from_, field="from"), terms, draft)

    async def _create(self, tx: Transaction, owner_id: str, draft: Draft) -> Agent:
        if draft.expires_at <= tx.now:
            raise InvalidInput("The end lies in the past.", field="expiresAt")
        await self._make_room(tx, await owners.lock(tx, self._project, owner_id))
        row = draft.to_row(tx, owner_id)
        token = await self._insert(tx, row, draft)
        return Agent(**queries.public_fields(row, draft.permissions, tx.now), token=token)

    async def _ensure(self, tx: Transaction, owner_id: str, draft: Draft) -> Agent:
        # The lock comes before the look: whoever else asks at this moment waits, and then finds what was made.
        await owners.lock(tx, self._project, owner_id)
        row = await queries.find_named(tx, self._project, owner_id, draft.name)
        if row is None:
            return await self._create(tx, owner_id, draft)
        return (await queries.to_models(tx, self._sets, [row]))[0]

    async def _make_room(self, tx: Transaction, owner: OwnerRow) -> None:
        """See that an owner may have one more agent; the lock that is held on them keeps the count true."""
        if owner.suspended:
            raise OwnerSuspended("The owner is suspended.")
        live = AgentFilter(owner_id=owner.id, status=AgentStatus.ACTIVE)
        if await queries.count(tx, self._project, live, most=self._most) >= self._most:
            raise LimitReached(f"An owner has at most {self._most} live agents.", details={"limit": self._most})

    async def _insert(self, tx: Transaction, row: AgentRow, draft: Draft) -> str:
        """Write an agent and return its token."""
        minted = tokens.mint(TokenKind.AGENT)
        await self._sets.keep(tx, draft.permissions)
        await queries.insert(tx, self._project, row, minted.digest)
        await self._announce(tx, "agent.created", row, name=row.name, type=row.type)
        return minted.token

    async def _get(self, tx: Transaction, agent_id: bytes) -> Agent:
        row = await queries.find(tx, self._project, agent_id)
        return (await queries.to_models(tx, self._sets, [_require(row)]))[0]

    async def _list(self, tx: Transaction, wanted: AgentFilter, part: PageRequest) -> Page[Agent]:
        rows = await queries.page(tx, self._project, wanted, part)
        return Page(await queries.to_models(tx, self._sets, rows), await queries.count(tx, self._project, wanted))

    async def _update(
        self, tx: Transaction, agent_id: bytes, changes: Changes, grantable: PermissionSet | None
    ) -> Agent:
        old = await self._lock_live(tx, agent_id)
        row = changes.applied_to(old, tx.now)
        if old.founding_id is not None:
            _check_delegated(old, row, changes)
        if grantable is not None:
            held = (await self._sets.load(tx, [old.permissions]))[old.permissions]
            asked = held if changes.permissions is None else changes.permissions
            if _lives_longer(old, row):
                # To let an agent live on is to give it all it has once more, what it received included.
                received = await self._delegations.received_in(tx, agent_id)
                _check_grant(grantable, PermissionSet.of([*asked, *received]))
            else:
                _check_grant(grantable, asked, held=tuple(held))
        if changes.permissions is not None:
            await self._sets.keep(tx, changes.permissions)
        await queries.update(tx, self._project, row)
        await self._announce(tx, "agent.updated", row, changed=changes.names)
        return (await queries.to_models(tx, self._sets, [row]))[0]

    async def _rotate(self, tx: Transaction, agent_id: bytes, cut_children: bool) -> RotatedAgent:
        row = await self._lock_live(tx, agent_id)
        minted = tokens.mint(TokenKind.AGENT)
        await queries.replace_token(tx, self._project, agent_id, minted.digest)
        made = await self._delegations.end_made_since(tx, agent_id, row.rotated_at, cut=cut_children)
        row = row._replace(rotated_at=tx.now, updated_at=tx.now)
        await queries.update(tx, self._project, row)
        await self._announce(tx, "agent.rotated", row, cut=cut_children)
        permissions = (await self._sets.load(tx, [row.permissions]))[row.permissions]
        fields = queries.public_fields(row, permissions, tx.now)
        return RotatedAgent(**fields, token=minted.token, delegations=made, cut=cut_children)

    async def _revoke(self, tx: Transaction, agent_id: bytes) -> None:
        row = _require(await queries.lock(tx, self._project, agent_id))
        if row.revoked_at is None:
            row = row._replace(revoked_at=tx.now, updated_at=tx.now)
            await queries.update(tx, self._project, row)
            await self._announce(tx, "agent.revoked", row)

    async def _delegate(self, tx: Transaction, giver_id: bytes, terms: Terms, draft: Draft) -> DelegatedAgent:
        facts = await load_facts(tx, self._project, self._sets, agents=(giver_id,))
        giver = require_live(facts, giver_id)
        await self._make_room(tx, await self._delegations.lock_owner(tx, giver_id, giver.owner_id))
        row = draft.to_row(tx, giver.owner_id)
        delegation = await self._delegations.grant(tx, facts, giver_id, row.id, terms)
        row = row._replace(
            founding_id=ids.DELEGATION.raw(delegation.id),
            ttl=_shorter(row.ttl, giver.ttl),
            idle_at=clock.idle_from(tx.now, _shorter(row.ttl, giver.ttl)),
            expires_at=clock.NEVER if delegation.expires_at is None else clock.to_micros(delegation.expires_at),
        )
        token = await self._insert(tx, row, draft)
        return DelegatedAgent(
            **queries.public_fields(row, draft.permissions, tx.now),
            token=token,
            delegation_id=delegation.id,
            delegated_permissions=delegation.permissions,
        )

    async def _lock_live(self, tx: Transaction, agent_id: bytes) -> AgentRow:
        row = _require(await queries.lock(tx, self._project, agent_id))
        status = row.status(tx.now)
        if status is not AgentStatus.ACTIVE:
            raise FinalState(f"The agent is {status.value}; that is final.", details={"status": status.value})
        return row

    async def _announce(self, tx: Transaction, event: str, row: AgentRow, **data: object) -> None:
        subject = ids.AGENT.text(row.id)
        await announce(tx, self._project, event, subject=subject, owner_id=row.owner_id, data=data)


def _own_type(value: AgentType | str) -> AgentType:
    """The type of an agent that has permissions of its own. Raises `InvalidInput`."""
    kind = one_of(AgentType, value, "type")
    if kind is AgentType.DELEGATED:
        raise InvalidInput("Agents of type delegated are made by delegating.", field="type")
    return kind


def _check_delegated(old: AgentRow, new: AgentRow, changes: Changes) -> None:
    """An agent that was made by delegating stays within what its giver let it."""
    if changes.permissions is not None:
        raise Conflict("A delegated agent has only what was delegated to it.")
    if new.expires_at > old.expires_at or new.idle_at > old.idle_at:
        raise Conflict("A delegated agent lives no longer than its giver let it; it can only end earlier.")


def _lives_longer(old: AgentRow, new: AgentRow) -> bool:
    return new.expires_at > old.expires_at or (old.ttl is not None and (new.ttl is None or new.ttl > old.ttl))


def _check_grant(grantable: PermissionSet, asked: PermissionSet, held: Sequence[Permission] = ()) -> None:
    """Every permission asked for is grantable, or a narrower form of one that is held.

    One with a rate may only be kept, with the same rate or a lower one: cut into pieces, each would count by itself.
    """
    if not isinstance(grantable, PermissionSet):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInput("grantable is a PermissionSet.", field="grantable")
    unrated = [permission for permission in held if permission.constraints.max_calls_per_hour is None]
    rated = {permission.key: permission for permission in held if permission not in unrated}
    new = [
        permission
        for permission in asked
        if permission.key not in rated or not covers(rated[permission.key], permission)
    ]
    missing = uncovered(PermissionSet.of([*unrated, *grantable]), new)
    if missing:
        raise GrantNotAllowed("These permissions may not be given here.", details={"uncovered": missing[:_SHOWN]})


def _require(row: AgentRow | None) -> AgentRow:
    if row is None:
        raise NotFound("There is no such agent.")
    return row


def _shorter(first: int | None, second: int | None) -> int | None:
    return min((ttl for ttl in (first, second) if ttl is not None), default=None)
