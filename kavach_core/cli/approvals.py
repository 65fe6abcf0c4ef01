"""`kavach approvals`: what agents asked their humans, and an answer in the name of whoever runs this."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import AsJson, Database, PgBouncer, Project
from kavach_core.cli.output import moment, optional_iso, show, show_json, state, table

if TYPE_CHECKING:
    from kavach_core.capabilities.approvals import Approval

app = typer.Typer(help="Calls that wait for a human.", no_args_is_help=True)

_Owner = Annotated[str | None, typer.Option("--owner", help="Only of this owner's agents.")]
_Status = Annotated[str | None, typer.Option("--status", help="pending, approved, denied, used or expired.")]
_ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval's id, apr_...")]
_By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so, for the record.")]


@app.command("list")
def list_(
    owner: _Owner = None,
    status: _Status = "pending",
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """List approvals, newest first; those that wait for an answer unless another status is named."""
    found = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.approvals.list(owner_id=owner, status=status)
    )
    if as_json:
        show_json([_to_json(approval) for approval in found])
        return
    rows = [
        (
            approval.id,
            approval.owner_id,
            approval.agent_id,
            f"{approval.action}:{approval.resource}",
            json.dumps(approval.arguments) if approval.arguments else "-",
            state(approval.status.value),
            moment(approval.expires_at),
        )
        for approval in found
    ]
    show(table("id", "owner", "agent", "call", "arguments", "status", "expires", rows=rows))


@app.command("approve")
def approve(
    approval_id: _ApprovalId,
    by: _By,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Let the one call that was asked about go ahead, once."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.approvals.approve(approval_id, by=by))
    typer.echo(f"Approved {approval_id}.")


@app.command("deny")
def deny(
    approval_id: _ApprovalId,
    by: _By,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Refuse the call that was asked about."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.approvals.deny(approval_id, by=by))
    typer.echo(f"Denied {approval_id}.")


def _to_json(approval: Approval) -> dict[str, object]:
    return {
        "id": approval.id,
        "agentId": approval.agent_id,
        "agentName": approval.agent_name,
        "ownerId": approval.owner_id,
        "action": approval.action,
        "resource": approval.resource,
        "arguments": approval.arguments,
        "argumentsHash": approval.arguments_hash,
        "cost": approval.cost,
        "status": approval.status.value,
        "createdAt": optional_iso(approval.created_at),
        "expiresAt": optional_iso(approval.expires_at),
        "decidedAt": optional_iso(approval.decided_at),
        "decidedBy": approval.decided_by,
        "auditId": approval.audit_id,
    }
