"""`kavach prune`: the only way rows ever leave the record."""

from __future__ import annotations

from typing import Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import Database, PgBouncer, Project
from kavach_core.cli.times import ago


def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help='Such as "90d".')],
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Delete audit entries older than this, for good, in small transactions beside the running app."""
    before = ago(older_than, field="--older-than")
    deleted = Target(database, project, pgbouncer).run(lambda kavach: kavach.audit.prune(before=before))
    typer.echo(f"Deleted {deleted} entries.")
