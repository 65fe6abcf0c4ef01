"""`kavach project`: stop every agent at once, and let them go on."""

from __future__ import annotations

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import Database, PgBouncer, Project
from kavach_core.cli.output import moment

app = typer.Typer(help="All agents of all owners.", no_args_is_help=True)


@app.command("status")
def status(database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False) -> None:
    """Tell whether the agents are suspended."""
    found = Target(database, project, pgbouncer).run(lambda kavach: kavach.project.get())
    since = moment(found.suspended_at)
    typer.echo(f"{found.id}: {f'suspended since {since}' if found.suspended else 'active'}")


@app.command("suspend")
def suspend(database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False) -> None:
    """Refuse every agent of every owner from the next call on, in every process, until resumed."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.project.suspend())
    typer.echo(f"Suspended every agent of {project}.")


@app.command("resume")
def resume(database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False) -> None:
    """Let the agents go on. What expired meanwhile stays expired."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.project.resume())
    typer.echo(f"Resumed {project}.")
