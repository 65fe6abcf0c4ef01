"""Set, look at, change and take away budgets. Charging them is part of a decision and happens there."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeGuard

from kavach_core.capabilities.budgets import queries
from kavach_core.capabilities.budgets.ledger import BudgetRow, Ledger
from kavach_core.capabilities.budgets.model import Action, Budget, Holder, Measure, Period, SetBy, require_amount
from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.project import queries as projects
from kavach_core.errors import InvalidInput, LimitReached, NotFound
from kavach_core.primitives import ids
from kavach_core.primitives.choice import one_of
from kavach_core.primitives.clock import NEVER, to_datetime, to_micros
from kavach_core.primitives.page import MAX_LIMIT, Page, PageRequest
from kavach_core.primitives.unset import UNSET, Unset
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: Budgets that may hang on one thing.
MOST_PER_HOLDER: Final = 16


class Budgets:
    """The budgets of one project."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project

    async def create(
        self,
        *,
        limit: int,
        per: Period | str,
        measure: Measure | str = Measure.CALLS,
        action: Action | str = Action.BLOCK,
        agent_id: str | Unset | None = UNSET,
        delegation_id: str | Unset | None = UNSET,
        owner_id: str | Unset | None = UNSET,
        set_by: SetBy = SetBy.APP,
    ) -> Budget:
        """Bound what may be spent by an agent, by a delegation, by an owner, or, with none of the three, by everyone.

        For everyone all three are left out. None where a holder belongs is refused, since a look-up that found nothing
        would bound everybody; beside a holder it is left out.

        A call charges every budget on its path: those of the agents and delegations it acts by, of their owner and of
        the project; all of them or none. `limit` is in calls or in units of cost, per `hour`, `day` or `month` of the
        calendar in UTC, or `forever`; 0 means nothing at all. `action` is what happens to a call for which there is not
        enough left: `warn`, `block` or `revoke`.

        Raises `InvalidInput`, `NotFound`, and `LimitReached` at 16 budgets on one thing.
        """
        row = BudgetRow(
            holder=_holder(agent_id, delegation_id, owner_id).raw,
            id=b"",
            measure=one_of(Measure, measure, "measure").value,
            per=one_of(Period, per, "per").value,
            most=require_amount(limit, "limit"),
            action=one_of(Action, action, "action").value,
            set_by=SetBy(set_by).value,
            window_at=0,
            spent=0,
            leases="",
            told_at=None,
            created_at=0,
            updated_at=0,
        )
        return await self._store.transact(self._create, row)

    async def get(self, budget_id: str) -> Budget:
        """Return a budget as it stands. Raises `NotFound`."""
        return await self._store.read(self._get, ids.BUDGET.raw(budget_id))

    async def list(
        self,
        *,
        agent_id: str | None = None,
        delegation_id: str | None = None,
        owner_id: str | None = None,
        limit: int = MAX_LIMIT,
        offset: int = 0,
    ) -> Page[Budget]:
        """Return budgets as they stand, oldest first, with the total up to 10,000.

        Those of one agent or delegation; or those of an owner, their agents and delegations; or all. Raises
        `InvalidInput`.
        """
        part = PageRequest(limit=limit, offset=offset)
        if agent_id is None and delegation_id is None:
            owner_id = None if owner_id is None else require_owner_id(owner_id)
            return await self._store.read(self._list, None, owner_id, part)
        return await self._store.read(self._list, _holder(agent_id, delegation_id, owner_id), None, part)

    async def update(self, budget_id: str, *, limit: int | None = None, action: Action | str | None = None) -> Budget:
        """Change limit or action; what was spent stays spent. Effective on the next call. Raises `NotFound`."""
        most = None if limit is None else require_amount(limit, "limit")
        act = None if action is None else one_of(Action, action, "action").value
        return await self._store.transact(self._update, ids.BUDGET.raw(budget_id), most, act)

    async def delete(self, budget_id: str) -> None:
        """Take a budget away. Raises `NotFound`."""
        await self._store.transact(self._delete, ids.BUDGET.raw(budget_id))

    async def prune(self, *, before: datetime) -> int:
        """Delete reservations whose time to be settled ended before a moment; returns how many. Never done by itself.

        What they reserved stays spent or has fallen back, as configured; this changes no budget.
        """
        return await self._store.transact(queries.prune, self._project, to_micros(before, field="before"))

    async def _create(self, tx: Transaction, row: BudgetRow) -> Budget:
        holder = Holder(row.holder)
        if holder.kind == "project":
            await projects.make(tx, self._project)
        elif holder.owner_id is not None:
            await owners.lock(tx, self._project, holder.owner_id)
        if not await queries.note(tx, self._project, holder, +1):
            raise NotFound(f"There is no such {holder.kind}.")
        if len(await queries.of_holders(tx, self._project, [holder.raw])) >= MOST_PER_HOLDER:
            raise LimitReached(f"At most {MOST_PER_HOLDER} budgets hang on one thing.")
        row = row._replace(
            id=tx.new_id(), window_at=Period(row.per).start(tx.now), created_at=tx.now, updated_at=tx.now
        )
        await queries.insert(tx, self._project, row)
        return await self._announced(tx, "budget.created", row)

    async def _get(self, tx: Transaction, budget_id: bytes) -> Budget:
        return to_budget(Ledger(_require(await queries.find(tx, self._project, budget_id)), tx.now))

    async def _list(
        self, tx: Transaction, holder: Holder | None, owner_id: str | None, part: PageRequest
    ) -> Page[Budget]:
        if holder is None and owner_id is None:
            ledgers, total = await queries.page(tx, self._project, part)
            return Page([to_budget(ledger) for ledger in ledgers], total)
        holders = [holder.raw] if holder else await queries.holders_of_owner(tx, self._project, owner_id or "")
        found = await queries.of_holders(tx, self._project, holders)
        found.sort(key=lambda ledger: ledger.row.id)
        return Page([to_budget(ledger) for ledger in found[part.offset :][: part.limit]], len(found))

    async def _update(self, tx: Transaction, budget_id: bytes, most: int | None, action: str | None) -> Budget:
        row = _require(await queries.lock(tx, self._project, budget_id))
        row = row._replace(
            most=row.most if most is None else most, action=row.action if action is None else action, updated_at=tx.now
        )
        await queries.change(tx, self._project, row)
        return await self._announced(tx, "budget.updated", row)

    async def _delete(self, tx: Transaction, budget_id: bytes) -> None:
        row = _require(await queries.lock(tx, self._project, budget_id))
        await queries.delete(tx, self._project, budget_id)
        await queries.note(tx, self._project, Holder(row.holder), -1)
        await self._announced(tx, "budget.deleted", row)

    async def _announced(self, tx: Transaction, event: str, row: BudgetRow) -> Budget:
        budget = to_budget(Ledger(row, tx.now))
        await announce(
            tx,
            self._project,
            event,
            subject=budget.id,
            owner_id=budget.owner_id,
            data=describe(budget),
        )
        return budget


def to_budget(ledger: Ledger) -> Budget:
    """The public form of a budget as it stands."""
    row, holder = ledger.row, ledger.holder
    end = Period(row.per).end(ledger.window_at)
    return Budget(
        id=ids.BUDGET.text(row.id),
        agent_id=holder.agent_id,
        delegation_id=holder.delegation_id,
        owner_id=holder.owner_id,
        measure=Measure(row.measure),
        per=Period(row.per),
        limit=row.most,
        action=Action(row.action),
        set_by=SetBy(row.set_by),
        spent=ledger.spent,
        resets_at=None if end == NEVER else to_datetime(end),
        created_at=to_datetime(row.created_at),
        updated_at=to_datetime(row.updated_at),
    )


def describe(budget: Budget) -> dict[str, object]:
    """What events say about a budget."""
    hangs_on = {"agentId": budget.agent_id, "delegationId": budget.delegation_id, "ownerId": budget.owner_id}
    return {
        **{name: value for name, value in hangs_on.items() if value is not None},
        "measure": budget.measure.value,
        "per": budget.per.value,
        "limit": budget.limit,
        "action": budget.action.value,
    }


def _holder(agent_id: str | Unset | None, delegation_id: str | Unset | None, owner_id: str | Unset | None) -> Holder:
    asked = {"agentId": agent_id, "delegationId": delegation_id, "ownerId": owner_id}
    given = list(filter(_is_given, asked.values()))
    if len(given) > 1:
        raise InvalidInput("A budget hangs on one thing: agentId, delegationId or ownerId.", field="agentId")
    nobody = [name for name, value in asked.items() if value is None]
    if nobody and not given:
        raise InvalidInput(
            f"{nobody[0]} is no id: leave out agentId, delegationId and ownerId for a budget of the whole project.",
            field=nobody[0],
        )
    if _is_given(agent_id):
        return Holder.agent(ids.AGENT.raw(agent_id, field="agentId"))
    if _is_given(delegation_id):
        return Holder.delegation(ids.DELEGATION.raw(delegation_id, field="delegationId"))
    return Holder.owner(require_owner_id(owner_id)) if _is_given(owner_id) else Holder.project()


def _is_given(holder: str | Unset | None) -> TypeGuard[str]:
    return holder is not None and not isinstance(holder, Unset)


def _require(row: BudgetRow | None) -> BudgetRow:
    if row is None:
        raise NotFound("There is no such budget.")
    return row
