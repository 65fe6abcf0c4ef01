"""`kavach budgets`: what may be spent, how it stands, and what is left for an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import AgentId, AsJson, Database, PgBouncer, Project
from kavach_core.cli.output import moment, optional_iso, show, show_json, table
from kavach_core.primitives.unset import UNSET

if TYPE_CHECKING:
    from kavach_core.capabilities.budgets import Budget

app = typer.Typer(help="What may be spent: calls and cost.", no_args_is_help=True)

_Agent = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="The agent it is about.")]
_Delegation = Annotated[str | None, typer.Option("--delegation", metavar="ID", help="The delegation it is about.")]
_Owner = Annotated[str | None, typer.Option("--owner", metavar="OWNER", help="The owner it is about.")]
_Most = Annotated[int, typer.Option("--limit", min=0, help="Calls, or units of cost; 0 is none at all.")]
_Per = Annotated[str, typer.Option("--per", help="hour, day, month or forever; windows of the calendar, in UTC.")]
_Measure = Annotated[str, typer.Option("--measure", help="calls or cost.")]
_Action = Annotated[str, typer.Option("--action", help="warn, block, or revoke what it hangs on.")]
_BudgetId = Annotated[str, typer.Argument(metavar="BUDGET", help="A budget's id, bdg_...")]


@app.command("create")
def create(
    limit: _Most,
    per: _Per,
    measure: _Measure = "calls",
    action: _Action = "block",
    agent: _Agent = None,
    delegation: _Delegation = None,
    owner: _Owner = None,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Bound what may be spent by an agent, a delegation or an owner; by everybody if none is named."""
    made = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.budgets.create(
            agent_id=UNSET if agent is None else agent,
            delegation_id=UNSET if delegation is None else delegation,
            owner_id=UNSET if owner is None else owner,
            limit=limit,
            per=per,
            measure=measure,
            action=action,
        )
    )
    typer.echo(made.id)


@app.command("list")
def list_(
    agent: _Agent = None,
    delegation: _Delegation = None,
    owner: _Owner = None,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """List budgets as they stand: of an agent or delegation, of an owner with all that is theirs, or all."""
    found = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.budgets.list(agent_id=agent, delegation_id=delegation, owner_id=owner)
    )
    _show(list(found), as_json=as_json)


@app.command("remaining")
def remaining(
    agent_id: AgentId,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Tell what an agent may still spend, and by which budgets."""
    left = Target(database, project, pgbouncer).run(lambda kavach: kavach.remaining(agent_id))
    if as_json:
        budgets = [_to_json(budget) for budget in left.budgets]
        show_json({"calls": left.calls, "cost": left.cost, "budgets": budgets})
        return
    typer.echo(f"calls: {_amount(left.calls)}, cost: {_amount(left.cost)}")
    _show(list(left.budgets), as_json=False)


@app.command("update")
def update(
    budget_id: _BudgetId,
    limit: Annotated[int | None, typer.Option("--limit", min=0, help="The new limit.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="warn, block or revoke.")] = None,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Change the limit or the action of a budget; what was spent stays spent."""
    Target(database, project, pgbouncer).run(
        lambda kavach: kavach.budgets.update(budget_id, limit=limit, action=action)
    )
    typer.echo(f"Updated {budget_id}.")


@app.command("delete")
def delete(
    budget_id: _BudgetId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """Take a budget away."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.budgets.delete(budget_id))
    typer.echo(f"Deleted {budget_id}.")


def _show(budgets: list[Budget], *, as_json: bool) -> None:
    if as_json:
        show_json([_to_json(budget) for budget in budgets])
        return
    rows = [
        (
            budget.id,
            _about(budget),
            budget.measure.value,
            f"{budget.spent} of {budget.limit}",
            budget.per.value,
            budget.action.value,
            moment(budget.resets_at),
        )
        for budget in budgets
    ]
    show(table("id", "about", "measure", "spent", "per", "action", "begins anew", rows=rows))


def _about(budget: Budget) -> str:
    if budget.owner_id is not None:
        return f"owner {budget.owner_id}"
    return budget.agent_id or budget.delegation_id or "everybody"


def _amount(left: int | None) -> str:
    return "unbounded" if left is None else f"{left} left"


def _to_json(budget: Budget) -> dict[str, object]:
    return {
        "id": budget.id,
        "agentId": budget.agent_id,
        "delegationId": budget.delegation_id,
        "ownerId": budget.owner_id,
        "measure": budget.measure.value,
        "per": budget.per.value,
        "limit": budget.limit,
        "action": budget.action.value,
        "setBy": budget.set_by.value,
        "spent": budget.spent,
        "left": budget.left,
        "resetsAt": optional_iso(budget.resets_at),
        "createdAt": optional_iso(budget.created_at),
        "updatedAt": optional_iso(budget.updated_at),
    }
