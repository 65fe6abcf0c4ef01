"""Who acts in a bench: ten thousand agents of each shape, written in bulk, and calls that are allowed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice, repeat
from typing import Final, cast

from kavach_core.capabilities.agents.queries import AgentRow
from kavach_core.capabilities.audit import Record
from kavach_core.capabilities.audit import queries as audit
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.budgets.ledger import BudgetRow
from kavach_core.capabilities.budgets.model import MOST, Action, Holder, Measure, Period, SetBy
from kavach_core.capabilities.delegation.queries import DelegationRow
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.capabilities.project import queries as projects
from kavach_core.primitives import tokens
from kavach_core.primitives.clock import DAY, HOUR, NEVER
from kavach_core.primitives.ids import IdSource
from kavach_core.primitives.permissions import Permission, PermissionSet
from kavach_core.primitives.tokens import TokenKind
from kavach_core.store import Store, Transaction

PROJECT: Final = "default"
AGENTS: Final = 10_000
ACTION: Final = "read"
RESOURCE: Final = "app:repos:1"

_OWNERS: Final = 100
_AUDIT_CHUNK: Final = 10_000

_ADD_OWNER: Final = "insert into kavach_owners (project_id, id, created_at) values ($1, $2, $3)"
_ADD_TOKEN: Final = "insert into kavach_agent_tokens (project_id, token_hash, agent_id) values ($1, $2, $3)"


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 2))
    return f"insert into {table} (project_id, {', '.join(columns)}) values ({places})"


_ADD_AGENT: Final = _insert("kavach_agents", AgentRow._fields)
_ADD_DELEGATION: Final = _insert("kavach_delegations", DelegationRow._fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a group of agents is like."""

    #: Delegations above the agents that act; the agents above count among the ten thousand.
    chain: int = 0
    permissions: int = 10
    #: Sets that differ, shared among the agents.
    distinct: int = 16
    agents: int = AGENTS
    #: With one, the time of last use is written every sixth minute; without, it may be with every call.
    ttl: int | None = 2 * HOUR
    #: Whether the permission that is used has a rate, at every link.
    rate: bool = False
    #: What hangs on each agent that acts, and, if `levels`, on every owner and on the project as well.
    budget: Measure | None = None
    levels: bool = False


@dataclass(slots=True)
class _Rows:
    """What is to be written."""

    now: int
    new_id: IdSource = field(default_factory=IdSource)
    agents: list[AgentRow] = field(default_factory=list[AgentRow])
    delegations: list[DelegationRow] = field(default_factory=list[DelegationRow])
    hashes: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    tokens: list[str] = field(default_factory=list[str])


async def settle(store: Store, shape: Shape) -> list[str]:
    """Write a group of agents; returns the tokens of those that act."""
    return await store.transact(_settle, shape)


async def analyse(store: Store) -> None:
    """Gather statistics, as autovacuum does on PostgreSQL within a minute or two of large changes."""
    await store.transact(_analyse)


async def fill_audit(store: Store, rows: int) -> None:
    """Write so many audit rows about the agents that are there, spread over the last thirty days."""
    agents = await store.read(_agent_ids)
    records = _past_records(agents, rows)
    while chunk := list(islice(records, _AUDIT_CHUNK)):
        await store.transact(audit.insert, PROJECT, chunk)


def permission_set(size: int, variant: int = 0, *, rate: bool = False) -> PermissionSet:
    """A set of so many permissions that allows the calls of the benches; variants differ in one action."""
    limits = {"maxCallsPerHour": MOST} if rate else None
    used = Permission(resource=RESOURCE, actions=[ACTION, f"variant{variant}"], constraints=limits)
    others = (Permission(resource=f"app:thing{number}:*", actions=[ACTION, "list"]) for number in range(size - 1))
    return PermissionSet.of([used, *others])


def other_resources(permissions: int) -> Iterator[str]:
    """Resources that such a set allows, by each of its other permissions in turn, and none of them twice."""
    if permissions == 1:
        return repeat(RESOURCE)
    return (f"app:thing{number % (permissions - 1)}:{number}" for number in count())


async def _settle(tx: Transaction, shape: Shape) -> list[str]:
    sets = [permission_set(shape.permissions, variant, rate=shape.rate) for variant in range(shape.distinct)]
    keeper = PermissionSets(PROJECT)
    for each in (*sets, PermissionSet.of(())):
        await keeper.keep(tx, each)
    rows = _Rows(tx.now)
    owners = [f"owner-{tx.new_id().hex()}" for _ in range(_OWNERS)]
    for number in range(shape.agents // (shape.chain + 1)):
        _add_chain(rows, shape, owners[number % _OWNERS], sets[number % shape.distinct])
    await tx.execute_each(_ADD_OWNER, [(PROJECT, owner, tx.now) for owner in owners])
    await tx.execute_each(_ADD_AGENT, [(PROJECT, *row) for row in rows.agents])
    await tx.execute_each(_ADD_DELEGATION, [(PROJECT, *row) for row in rows.delegations])
    await tx.execute_each(_ADD_TOKEN, [(PROJECT, *pair) for pair in rows.hashes])
    if shape.budget is not None:
        holders = [Holder.agent(agent_id) for _, agent_id in rows.hashes]
        if shape.levels:
            await projects.make(tx, PROJECT)
            holders += [Holder.project(), *map(Holder.owner, owners)]
        await _hang(tx, shape.budget, holders)
    return rows.tokens


async def _hang(tx: Transaction, measure: Measure, holders: Sequence[Holder]) -> None:
    """Hang a budget on each of these in which there is enough for ever."""
    for holder in holders:
        row = BudgetRow(
            holder=holder.raw,
            id=tx.new_id(),
            measure=measure.value,
            per=Period.MONTH.value,
            most=MOST,
            action=Action.BLOCK.value,
            set_by=SetBy.APP.value,
            window_at=Period.MONTH.start(tx.now),
            spent=0,
            leases="",
            told_at=None,
            created_at=tx.now,
            updated_at=tx.now,
        )
        await budgets.note(tx, PROJECT, holder, +1)
        await budgets.insert(tx, PROJECT, row)


def _add_chain(rows: _Rows, shape: Shape, owner: str, permissions: PermissionSet) -> None:
    """An agent, and as many below it, each made by the one above; the last one acts."""
    giver = _agent(rows, shape, owner, permissions.digest, founding=None)
    source: bytes | None = None
    for depth in range(1, shape.chain + 1):
        edge = rows.new_id.new(rows.now)
        receiver = _agent(rows, shape, owner, PermissionSet.of(()).digest, founding=edge)
        rows.delegations.append(
            DelegationRow(
                id=edge,
                from_agent=giver.id,
                to_agent=receiver.id,
                source_id=source,
                depth=depth,
                max_depth=max(3, shape.chain),
                permissions=permissions.digest,
                purpose="bench",
                expires_at=NEVER,
                created_at=rows.now,
                revoked_at=None,
            )
        )
        giver, source = receiver, edge
    minted = tokens.mint(TokenKind.AGENT)
    rows.hashes.append((minted.digest, giver.id))
    rows.tokens.append(minted.token)


def _agent(rows: _Rows, shape: Shape, owner: str, permissions: bytes, *, founding: bytes | None) -> AgentRow:
    row = AgentRow(
        id=rows.new_id.new(rows.now),
        owner_id=owner,
        name="bench",
        type="autonomous" if founding is None else "delegated",
        permissions=permissions,
        metadata="{}",
        founding_id=founding,
        ttl=shape.ttl,
        idle_at=NEVER if shape.ttl is None else rows.now + shape.ttl,
        expires_at=NEVER,
        created_at=rows.now,
        updated_at=rows.now,
        rotated_at=rows.now,
        last_used_at=rows.now,
        revoked_at=None,
    )
    rows.agents.append(row)
    return row


async def _analyse(tx: Transaction) -> None:
    await tx.execute("analyze")


async def _agent_ids(tx: Transaction) -> tuple[int, list[bytes]]:
    return tx.now, [cast(bytes, row[0]) for row in await tx.fetch("select id from kavach_agents")]


def _past_records(known: tuple[int, Sequence[bytes]], rows: int) -> Iterator[Record]:
    now, agents = known
    new_id, writer, chance = IdSource(), bytes(16), random.Random(1)
    digest = permission_set(10).digest
    start, step = now - 30 * DAY, 30 * DAY // max(rows, 1)
    for number in range(rows):
        agent = chance.choice(agents)
        yield Record(
            id=new_id.new(start + number * step),
            writer=writer,
            sequence=number,
            agent_id=agent,
            owner_id="owner",
            path=f'[["{agent.hex()}",null,"{digest.hex()}"]]',
            action=ACTION,
            resource=RESOURCE,
            arguments=None,
            arguments_hash=None,
            result="allowed",
            code="ALLOWED",
            grant_used=None,
            permissions=digest,
            dry_run=False,
            calls=1,
            duration=800,
            cost=None,
            address="192.0.2.1",
            user_agent="bench/1.0",
            request_id=None,
        )
