"""`kavach owners`: stop everything of one human, let it go on, or follow a change of their id."""

from __future__ import annotations

from typing import Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import Database, OwnerId, PgBouncer, Project

app = typer.Typer(help="The humans agents act for.", no_args_is_help=True)

_NewId = Annotated[str, typer.Argument(metavar="NEW", help="The new id.")]


@app.command("suspend")
def suspend(
    owner_id: OwnerId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """Refuse everything of this owner from the next call on, in every process, until resumed."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.owners.suspend(owner_id))
    typer.echo(f"Suspended {owner_id}.")


@app.command("resume")
def resume(
    owner_id: OwnerId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """Lift a suspension. What expired meanwhile stays expired."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.owners.resume(owner_id))
    typer.echo(f"Resumed {owner_id}.")


@app.command("rename")
def rename(
    owner_id: OwnerId,
    new_id: _NewId,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Move everything of an owner to a new id: agents, sessions, suspension. The audit keeps what it recorded."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.owners.rename(owner_id, new_id))
    typer.echo(f"Renamed {owner_id} to {new_id}.")
