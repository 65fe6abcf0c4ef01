"""`kavach agents`: look at agents and end them. Making them is the app's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.padding import Padding

from kavach_core.cli.opening import Target
from kavach_core.cli.options import AgentId, AsJson, Database, Limit, Offset, PgBouncer, Project
from kavach_core.cli.output import moment, note, optional_iso, show, show_json, state, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from kavach_core.capabilities.agents import Agent
    from kavach_core.capabilities.delegation import Delegation
    from kavach_core.kavach import Kavach
    from kavach_core.primitives.permissions import Permission

app = typer.Typer(help="Agents: look at them, end them.", no_args_is_help=True)

_Owner = Annotated[str | None, typer.Option("--owner", help="Only this owner's.")]
_Status = Annotated[str | None, typer.Option("--status", metavar="active|revoked|expired", help="Only these.")]


@app.command("list")
def list_(
    owner: _Owner = None,
    status: _Status = None,
    limit: Limit = 100,
    offset: Offset = 0,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """List agents, newest first."""
    found = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.agents.list(owner_id=owner, status=status, limit=limit, offset=offset)
    )
    if as_json:
        show_json([_to_json(agent) for agent in found])
        return
    rows = [
        (agent.id, agent.owner_id, agent.name, agent.type, state(agent.status), moment(agent.last_used_at))
        for agent in found
    ]
    show(table("id", "owner", "name", "type", "status", "last used", rows=rows))
    if len(found) < found.total:
        note(f"{len(found)} of {found.total_text}; --limit and --offset show the rest.")


@app.command("show")
def show_(
    agent_id: AgentId,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Show one agent: what it is, what it may do now, and the delegations from and to it."""

    async def look(kavach: Kavach) -> tuple[Agent, Sequence[Permission], Sequence[Delegation]]:
        agent = await kavach.agents.get(agent_id)
        effective = await kavach.delegations.effective_permissions(agent_id)
        return agent, effective, await kavach.delegations.list(agent_id)

    agent, effective, delegations = Target(database, project, pgbouncer).run(look)
    if as_json:
        show_json(
            {
                **_to_json(agent),
                "effectivePermissions": [permission.to_wire() for permission in effective],
                "delegations": [_delegation_to_json(delegation) for delegation in delegations],
            }
        )
        return
    show(table("", "", rows=_facts(agent)))
    show(_permission_table(effective))
    if delegations:
        show(_delegation_table(agent, delegations))


@app.command("revoke")
def revoke(
    agent_id: AgentId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """End an agent for good, and with it every delegation from and to it."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.agents.revoke(agent_id))
    typer.echo(f"Revoked {agent_id}.")


def _facts(agent: Agent) -> list[tuple[str, str | Text]]:
    return [
        ("id", agent.id),
        ("name", agent.name),
        ("owner", agent.owner_id),
        ("type", agent.type),
        ("status", state(agent.status)),
        ("created", moment(agent.created_at)),
        ("last used", moment(agent.last_used_at, none="never")),
        ("ttl", "-" if agent.ttl is None else str(agent.ttl)),
        ("expires", moment(agent.expires_at, none="never")),
        ("revoked", moment(agent.revoked_at)),
    ]


def _permission_table(effective: Sequence[Permission]) -> RenderableType:
    from kavach_core.primitives.text import canonical_json

    if not effective:
        return "\nMay do nothing now."
    rows = [
        (
            ", ".join(permission.actions),
            permission.resource,
            canonical_json(permission.constraints.to_wire()) if permission.constraints.any else "",
        )
        for permission in effective
    ]
    return Padding(table("may now", "on", "under", rows=rows), (1, 0, 0, 0))


def _delegation_table(agent: Agent, delegations: Sequence[Delegation]) -> RenderableType:
    rows = [
        (
            each.id,
            f"from {each.from_agent}" if each.to_agent == agent.id else f"to {each.to_agent}",
            str(each.depth),
            state(each.status),
            each.purpose or "",
        )
        for each in delegations
    ]
    return Padding(table("delegation", "agent", "depth", "status", "purpose", rows=rows), (1, 0, 0, 0))


def _to_json(agent: Agent) -> dict[str, object]:
    return {
        "id": agent.id,
        "ownerId": agent.owner_id,
        "name": agent.name,
        "type": agent.type,
        "status": agent.status,
        "permissions": [permission.to_wire() for permission in agent.permissions],
        "metadata": agent.metadata,
        "ttl": None if agent.ttl is None else agent.ttl.total_seconds(),
        "expiresAt": optional_iso(agent.expires_at),
        "createdAt": optional_iso(agent.created_at),
        "updatedAt": optional_iso(agent.updated_at),
        "lastUsedAt": optional_iso(agent.last_used_at),
        "revokedAt": optional_iso(agent.revoked_at),
        "foundingDelegationId": agent.founding_delegation_id,
    }


def _delegation_to_json(delegation: Delegation) -> dict[str, object]:
    return {
        "id": delegation.id,
        "fromAgent": delegation.from_agent,
        "toAgent": delegation.to_agent,
        "sourceId": delegation.source_id,
        "permissions": [permission.to_wire() for permission in delegation.permissions],
        "depth": delegation.depth,
        "maxDepth": delegation.max_depth,
        "purpose": delegation.purpose,
        "status": delegation.status,
        "createdAt": optional_iso(delegation.created_at),
        "expiresAt": optional_iso(delegation.expires_at),
        "revokedAt": optional_iso(delegation.revoked_at),
    }
