"""Operations on budgets, on what is left of them, and on what calls really cost."""

from __future__ import annotations

from kavach_core.api.entitled import owner_filter, require_agent, require_delegation
from kavach_core.api.models import In, Number, Out, Query, write_time
from kavach_core.api.operation import Call, Caller, Operation
from kavach_core.capabilities.authorize import Remaining, Settlement
from kavach_core.capabilities.budgets import Budget
from kavach_core.capabilities.budgets.model import Measure, SetBy
from kavach_core.capabilities.keys import Scope
from kavach_core.errors import CallerNotAllowed, InvalidInput, NotFound
from kavach_core.primitives.page import MAX_LIMIT, Page
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity
from kavach_core.primitives.unset import UNSET

_MANAGING = frozenset({Caller.HUMAN, Caller.SERVICE})
_LOOKING = frozenset({Caller.HUMAN, Caller.AGENT, Caller.SERVICE})


class CreateBudgetIn(In):
    """A budget: what it hangs on (one of the three ids, or for a key none, the project), and what it bounds."""

    nulls = frozenset({"agentId", "delegationId", "ownerId"})

    agent_id: str | None = None
    delegation_id: str | None = None
    owner_id: str | None = None
    limit: int
    per: str
    measure: str = "calls"
    action: str = "block"


class UpdateBudgetIn(In):
    """What changes."""

    limit: int | None = None
    action: str | None = None


class SettleIn(In):
    """What a call really cost."""

    actual: int


class BudgetQuery(Query):
    """Which budgets."""

    agent_id: str | None = None
    delegation_id: str | None = None
    user_id: str | None = None
    limit: Number = MAX_LIMIT
    offset: Number = 0


class BudgetOut(Out):
    """A budget as it stands."""

    id: str
    agent_id: str | None
    delegation_id: str | None
    owner_id: str | None
    measure: str
    #: What is counted: calls, or the unit of cost that the app names.
    unit: str
    per: str
    limit: int
    action: str
    set_by: str
    spent: int
    left: int
    resets_at: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, budget: Budget, cost_unit: str) -> BudgetOut:
        """The wire form of a budget."""
        return cls(
            id=budget.id,
            agent_id=budget.agent_id,
            delegation_id=budget.delegation_id,
            owner_id=budget.owner_id,
            measure=budget.measure.value,
            unit="calls" if budget.measure is Measure.CALLS else cost_unit,
            per=budget.per.value,
            limit=budget.limit,
            action=budget.action.value,
            set_by=budget.set_by.value,
            spent=budget.spent,
            left=budget.left,
            resets_at=write_time(budget.resets_at),
            created_at=write_time(budget.created_at) or "",
            updated_at=write_time(budget.updated_at) or "",
        )


class RemainingOut(Out):
    """What an agent may still spend; null where nothing bounds it. Agents see no budgets, since some are not theirs."""

    calls: int | None
    cost: int | None
    cost_unit: str
    budgets: list[BudgetOut]

    @classmethod
    def of(cls, remaining: Remaining, cost_unit: str, *, with_budgets: bool) -> RemainingOut:
        """The wire form of what is left."""
        budgets = [BudgetOut.of(budget, cost_unit) for budget in remaining.budgets] if with_budgets else []
        return cls(calls=remaining.calls, cost=remaining.cost, cost_unit=cost_unit, budgets=budgets)


class SettlementOut(Out):
    """A cost that was corrected."""

    audit_id: str
    settles: str
    reserved: int
    actual: int
    exceeded: list[str]

    @classmethod
    def of(cls, settlement: Settlement) -> SettlementOut:
        """The wire form of a settlement."""
        return cls(
            audit_id=settlement.audit_id,
            settles=settlement.settles,
            reserved=settlement.reserved,
            actual=settlement.actual,
            exceeded=list(settlement.exceeded),
        )


async def _create(call: Call) -> BudgetOut:
    body: CreateBudgetIn = call.body
    named = body.model_fields_set
    owner_id, is_human = body.owner_id, isinstance(call.identity, HumanIdentity)
    if body.agent_id is not None:
        await require_agent(call, body.agent_id, field="agentId")
    if body.delegation_id is not None:
        await require_delegation(call, body.delegation_id, field="delegationId")
    if isinstance(call.identity, HumanIdentity):
        if body.agent_id is None and body.delegation_id is None and owner_id is None:
            raise InvalidInput("agentId, delegationId or ownerId is required.", field="agentId")
        owner_id = None if owner_id is None else call.identity.id
        _check_may_end(owner_id, body.action)
    budget = await call.kavach.budgets.create(
        agent_id=body.agent_id if "agent_id" in named else UNSET,
        delegation_id=body.delegation_id if "delegation_id" in named else UNSET,
        owner_id=owner_id if "owner_id" in named else UNSET,
        limit=body.limit,
        per=body.per,
        measure=body.measure,
        action=body.action,
        set_by=SetBy.OWNER if is_human else SetBy.APP,
    )
    return BudgetOut.of(budget, _cost_unit(call))


def _check_may_end(owner_id: str | None, action: str | None) -> None:
    """Humans do not hang on a budget that suspends themselves: they could not lift it. Raises `CallerNotAllowed`."""
    if owner_id is not None and action == "revoke":
        raise CallerNotAllowed("Only the app sets a budget that suspends an owner.")


async def _list(call: Call) -> Page[BudgetOut]:
    query: BudgetQuery = call.query
    if query.agent_id is not None:
        await require_agent(call, query.agent_id, field="agentId")
    if query.delegation_id is not None:
        await require_delegation(call, query.delegation_id, field="delegationId")
    of_one = query.agent_id is not None or query.delegation_id is not None
    page = await call.kavach.budgets.list(
        agent_id=query.agent_id,
        delegation_id=query.delegation_id,
        owner_id=None if of_one and query.user_id is None else owner_filter(call, query.user_id),
        limit=query.limit,
        offset=query.offset,
    )
    return Page([BudgetOut.of(budget, _cost_unit(call)) for budget in page], page.total)


async def _get(call: Call) -> BudgetOut:
    return BudgetOut.of(await _require(call), _cost_unit(call))


async def _update(call: Call) -> BudgetOut:
    body: UpdateBudgetIn = call.body
    budget = await _require_own(call)
    if isinstance(call.identity, HumanIdentity):
        _check_may_end(budget.owner_id, body.action)
    changed = await call.kavach.budgets.update(budget.id, limit=body.limit, action=body.action)
    return BudgetOut.of(changed, _cost_unit(call))


async def _delete(call: Call) -> None:
    await call.kavach.budgets.delete((await _require_own(call)).id)


async def _require(call: Call) -> Budget:
    """Return a budget on something of the caller's, or any for a key. Raises `NotFound`."""
    budget = await call.kavach.budgets.get(call.param("id"))
    if not isinstance(call.identity, HumanIdentity):
        return budget
    try:
        if budget.agent_id is not None:
            await require_agent(call, budget.agent_id)
        elif budget.delegation_id is not None:
            await require_delegation(call, budget.delegation_id)
        elif budget.owner_id != call.identity.id:
            raise NotFound("There is no such owner.")
    except NotFound:  # not even what a foreign budget hangs on is told
        raise NotFound("There is no such budget.") from None
    return budget


async def _require_own(call: Call) -> Budget:
    """Like `_require`, for changing it: what the app set is not for its humans to change. Raises `CallerNotAllowed`."""
    budget = await _require(call)
    if isinstance(call.identity, HumanIdentity) and budget.set_by is not SetBy.OWNER:
        raise CallerNotAllowed("This budget was set by the app.")
    return budget


async def _remaining(call: Call) -> RemainingOut:
    agent = await require_agent(call, call.param("id"))
    is_agent = isinstance(call.identity, AgentIdentity)
    return RemainingOut.of(await call.kavach.remaining(agent), _cost_unit(call), with_budgets=not is_agent)


def _cost_unit(call: Call) -> str:
    return call.edge.config.cost_unit


async def _settle(call: Call) -> SettlementOut:
    return SettlementOut.of(await call.kavach.settle(call.param("id"), call.body.actual))


OPERATIONS = (
    Operation(
        name="createBudget",
        method="POST",
        path="/budgets",
        callers=_MANAGING,
        scope=Scope.BUDGETS_WRITE,
        summary="Bound the calls or the cost of an agent, a delegation, an owner or the project",
        tag="budgets",
        body=CreateBudgetIn,
        output=BudgetOut,
        status=201,
        handler=_create,
    ),
    Operation(
        name="listBudgets",
        method="GET",
        path="/budgets",
        callers=_MANAGING,
        scope=Scope.BUDGETS_READ,
        summary="List budgets as they stand, oldest first",
        tag="budgets",
        query=BudgetQuery,
        output=BudgetOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="getBudget",
        method="GET",
        path="/budgets/{id}",
        callers=_MANAGING,
        scope=Scope.BUDGETS_READ,
        summary="A budget as it stands",
        tag="budgets",
        output=BudgetOut,
        handler=_get,
    ),
    Operation(
        name="updateBudget",
        method="PATCH",
        path="/budgets/{id}",
        callers=_MANAGING,
        scope=Scope.BUDGETS_WRITE,
        summary="Change the limit or the action of a budget; what was spent stays spent",
        tag="budgets",
        body=UpdateBudgetIn,
        body_optional=True,
        output=BudgetOut,
        handler=_update,
    ),
    Operation(
        name="deleteBudget",
        method="DELETE",
        path="/budgets/{id}",
        callers=_MANAGING,
        scope=Scope.BUDGETS_WRITE,
        summary="Take a budget away",
        tag="budgets",
        status=204,
        handler=_delete,
    ),
    Operation(
        name="remaining",
        method="GET",
        path="/agents/{id}/remaining",
        callers=_LOOKING,
        scope=Scope.BUDGETS_READ,
        summary="What an agent may still spend",
        tag="budgets",
        output=RemainingOut,
        handler=_remaining,
    ),
    Operation(
        name="settle",
        method="POST",
        path="/audit/{id}/settle",
        callers=frozenset({Caller.SERVICE}),
        scope=Scope.AUTHORIZE,
        summary="Say what an allowed call really cost, in the place of what it reserved",
        tag="budgets",
        body=SettleIn,
        output=SettlementOut,
        handler=_settle,
    ),
)
