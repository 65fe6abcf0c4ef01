"""Statements about budgets and reservations. What decisions count in is locked while it is read, in key order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast

from kavach_core.capabilities.budgets.ledger import BudgetRow, Charge, Ledger
from kavach_core.capabilities.budgets.model import Holder
from kavach_core.primitives.page import COUNT_LIMIT, PageRequest
from kavach_core.store import Row, Transaction
from kavach_core.store.store import Value

_COLUMNS: Final = ", ".join(BudgetRow._fields)
_PLACES: Final = ", ".join(f"${place}" for place in range(1, len(BudgetRow._fields) + 2))
_INSERT: Final = f"insert into kavach_budgets (project_id, {_COLUMNS}) values ({_PLACES})"
_FIND: Final = f"select {_COLUMNS} from kavach_budgets where project_id = $1 and id = $2"
_HOLDER: Final = "select id, holder from kavach_budgets where project_id = $1 and id = $2"
_LOCK: Final = f"update kavach_budgets set id = id where project_id = $1 and id = $2 returning {_COLUMNS}"
_OF_HOLDERS: Final = f"select {_COLUMNS} from kavach_budgets where project_id = $1 and holder in ({{keys}})"
# The key of the table begins with these two, so that the rows of one holder are locked in the order of their ids.
_LOCK_HOLDER: Final = f"update kavach_budgets set id = id where project_id = $1 and holder = $2 returning {_COLUMNS}"
_WRITE: Final = """
update kavach_budgets set window_at = $4, spent = $5, leases = $6, told_at = $7
where project_id = $1 and holder = $2 and id = $3
"""
_CHANGE: Final = "update kavach_budgets set most = $3, action = $4, updated_at = $5 where project_id = $1 and id = $2"
_DELETE: Final = "delete from kavach_budgets where project_id = $1 and id = $2"
_PAGE: Final = f"select {_COLUMNS} from kavach_budgets where project_id = $1 order by id limit $2 offset $3"
_COUNT: Final = f"""
select count(*) from (select 1 from kavach_budgets where project_id = $1 limit {COUNT_LIMIT + 1}) as counted
"""
_AGENTS_OF: Final = "select id from kavach_agents where project_id = $1 and owner_id = $2 and budgets > 0"
_DELEGATIONS_OF: Final = """
select d.id from kavach_agents g join kavach_delegations d on d.project_id = g.project_id and d.from_agent = g.id
where g.project_id = $1 and g.owner_id = $2 and d.budgets > 0
"""
_MOVE: Final = "update kavach_budgets set holder = $3 where project_id = $1 and holder = $2"

#: Where a thing says how many budgets hang on it, so that most decisions need not ask.
_COUNTED: Final = {"agent": "kavach_agents", "delegation": "kavach_delegations", "owner": "kavach_owners"}
_NOTE: Final = "update {table} set budgets = budgets + $3 where project_id = $1 and id = $2"
_NOTE_PROJECT: Final = "update kavach_projects set budgets = budgets + $2 where project_id = $1"

_RESERVE: Final = """
insert into kavach_reservations (project_id, audit_id, amount, charges, lease_ends_at) values ($1, $2, $3, $4, $5)
"""
_LOCK_RESERVATION: Final = """
update kavach_reservations set amount = amount where project_id = $1 and audit_id = $2
returning audit_id, amount, charges, lease_ends_at
"""
_FORGET: Final = "delete from kavach_reservations where project_id = $1 and audit_id = $2"
_PRUNE: Final = "delete from kavach_reservations where project_id = $1 and lease_ends_at < $2"


class Reservation(NamedTuple):
    """What an allowed call reserved."""

    audit_id: bytes
    amount: int
    charges: tuple[Charge, ...]
    lease_ends_at: int


async def insert(tx: Transaction, project: str, row: BudgetRow) -> None:
    """Write a new budget."""
    await tx.execute(_INSERT, project, *row)


async def note(tx: Transaction, project: str, holder: Holder, change: int) -> bool:
    """Count a budget more or less on what it hangs on, which is locked by that; returns whether there is such a thing.

    A budget that is deleted is deleted first: decisions lock budgets, and then agents.
    """
    if holder.kind == "project":
        return await tx.execute(_NOTE_PROJECT, project, change) == 1
    key: Value = holder.owner_id if holder.kind == "owner" else holder.raw[1:]
    return await tx.execute(_NOTE.format(table=_COUNTED[holder.kind]), project, key, change) == 1


async def find(tx: Transaction, project: str, budget_id: bytes) -> BudgetRow | None:
    """Return a budget if it is on record."""
    return _from_row(await tx.fetch_one(_FIND, project, budget_id))


async def lock(tx: Transaction, project: str, budget_id: bytes) -> BudgetRow | None:
    """Return a budget and hold its row until the commit."""
    return _from_row(await tx.fetch_one(_LOCK, project, budget_id))


async def change(tx: Transaction, project: str, row: BudgetRow) -> None:
    """Write back limit and action of a budget that was locked in this transaction."""
    await tx.execute(_CHANGE, project, row.id, row.most, row.action, row.updated_at)


async def delete(tx: Transaction, project: str, budget_id: bytes) -> bool:
    """Take a budget away; returns whether it was there."""
    return await tx.execute(_DELETE, project, budget_id) == 1


async def holders_now(tx: Transaction, project: str, budget_ids: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return what budgets hang on now, by their ids; those that were taken away are missing."""
    rows = await tx.fetch_each(_HOLDER, [(project, budget_id) for budget_id in sorted(set(budget_ids))])
    return {cast(bytes, budget_id): cast(bytes, holder) for budget_id, holder in rows}


async def of_holders(tx: Transaction, project: str, holders: Iterable[bytes]) -> list[Ledger]:
    """Return how the budgets of some holders stand, without locking."""
    rows = await tx.fetch_in(_OF_HOLDERS, (project,), sorted(set(holders)))
    return [Ledger(_made(row), tx.now) for row in rows]


async def lock_holders(tx: Transaction, project: str, holders: Iterable[bytes]) -> dict[bytes, list[Ledger]]:
    """Return the budgets of some holders as they stand, and hold their rows until the commit.

    Holders are locked in ascending order, so that two such transactions cannot wait for each other.
    """
    now = tx.now
    found: dict[bytes, list[Ledger]] = {holder: [] for holder in sorted(set(holders))}
    if tx.dialect == "sqlite":  # whoever writes is alone, so there is nothing to lock
        rows = await tx.fetch_in(_OF_HOLDERS, (project,), list(found))
    else:
        rows = await tx.fetch_each(_LOCK_HOLDER, [(project, holder) for holder in found])
    for row in rows:
        ledger = Ledger(_made(row), now)
        found[ledger.row.holder].append(ledger)
    return found


async def write(tx: Transaction, project: str, ledgers: Iterable[Ledger]) -> None:
    """Write back budgets that were locked in this transaction."""
    changed = sorted((ledger for ledger in ledgers if ledger.changed), key=lambda ledger: ledger.row[:2])
    await tx.execute_each(
        _WRITE,
        [
            (project, *ledger.row[:2], ledger.window_at, ledger.spent, ledger.leases, ledger.told_at)
            for ledger in changed
        ],
    )


async def holders_of_owner(tx: Transaction, project: str, owner_id: str) -> list[bytes]:
    """Return what has budgets and belongs to an owner now: themselves, their agents, the delegations between those."""
    agents = await tx.fetch(_AGENTS_OF, project, owner_id)
    delegations = await tx.fetch(_DELEGATIONS_OF, project, owner_id)
    return [
        Holder.owner(owner_id).raw,
        *(Holder.agent(cast(bytes, row[0])).raw for row in agents),
        *(Holder.delegation(cast(bytes, row[0])).raw for row in delegations),
    ]


async def page(tx: Transaction, project: str, part: PageRequest) -> tuple[list[Ledger], int]:
    """Return one page of all budgets, oldest first, and how many there are."""
    rows = await tx.fetch(_PAGE, project, part.limit, part.offset)
    counted = await tx.fetch_one(_COUNT, project)
    ledgers = [Ledger(_made(row), tx.now) for row in rows]
    return ledgers, 0 if counted is None else cast(int, counted[0])


async def reserve(tx: Transaction, project: str, reservations: Sequence[Reservation]) -> None:
    """Note what allowed calls reserved, so that it can be settled."""
    await tx.execute_each(
        _RESERVE,
        [
            (project, each.audit_id, each.amount, _charges_text(each.charges), each.lease_ends_at)
            for each in reservations
        ],
    )


async def lock_reservations(tx: Transaction, project: str, audit_ids: Iterable[bytes]) -> dict[bytes, Reservation]:
    """Return the reservations that are open, by the decision that made them, and hold their rows until the commit."""
    rows = await tx.fetch_each(_LOCK_RESERVATION, [(project, audit_id) for audit_id in sorted(set(audit_ids))])
    return {
        cast(bytes, audit_id): Reservation(
            cast(bytes, audit_id), cast(int, amount), _read_charges(cast(str, charges)), cast(int, ends)
        )
        for audit_id, amount, charges, ends in rows
    }


async def forget(tx: Transaction, project: str, audit_ids: Iterable[bytes]) -> None:
    """Forget reservations that were locked and settled in this transaction."""
    await tx.execute_each(_FORGET, [(project, audit_id) for audit_id in sorted(set(audit_ids))])


async def prune(tx: Transaction, project: str, before: int) -> int:
    """Delete reservations whose lease ended before a moment; returns how many."""
    return await tx.execute(_PRUNE, project, before)


async def move_owner(tx: Transaction, project: str, old_id: str, new_id: str) -> None:
    """Hang the budgets of one owner id on another."""
    await tx.execute(_MOVE, project, Holder.owner(old_id).raw, Holder.owner(new_id).raw)


def _charges_text(charges: Iterable[Charge]) -> str:
    """The stored form, as JSON; written by hand, because every call that reserves writes one."""
    return f"[{','.join(map(_charge_text, charges))}]"


def _charge_text(charge: Charge) -> str:
    budget_id, window_at, lease_ends_at = charge
    return f'["{budget_id.hex()}",{window_at},{lease_ends_at}]'


def _read_charges(text: str) -> tuple[Charge, ...]:
    return tuple(
        Charge(bytes.fromhex(budget_id), window_at, lease_ends_at)
        for budget_id, window_at, lease_ends_at in json.loads(text)
    )


def _made(row: Row) -> BudgetRow:
    return BudgetRow._make(tuple(row))


def _from_row(row: Row | None) -> BudgetRow | None:
    return None if row is None else _made(row)
