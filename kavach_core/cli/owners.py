"""`kavach owners`: stop everything of one human, let it go on, or follow a change of their id."""

from __future__ import annotations

from typing import Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import Database, OwnerId, PgBouncer, Project
from kavach_core.cli.output import note
from kavach_core.primitives.clock import iso_datetime

app = typer.Typer(help="The humans agents act for.", no_args_is_help=True)

_BaseUrl = Annotated[
    str | None, typer.Option("--base-url", envvar="KAVACH_BASE_URL", metavar="URL", help="The app's own public origin.")
]
_Mount = Annotated[str, typer.Option("--mount", metavar="PATH", help="Where the routes are.")]
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


@app.command("recover")
def recover(
    owner_id: OwnerId,
    base_url: _BaseUrl = None,
    mount: _Mount = "/api/kavach",
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Print a link that lets somebody who lost their passkeys add a new one: once, within a day.

    Whoever opens it first gets in: hand it over in person.
    """
    link = Target(database, project, pgbouncer).run(lambda kavach: kavach.auth.recovery.issue_link(owner_id))
    note(f"Works once, until {iso_datetime(link.expires_at)}.")
    typer.echo(f"{(base_url or '').rstrip('/')}{mount}/recover#token={link.token}")
