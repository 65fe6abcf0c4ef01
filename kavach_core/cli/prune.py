"""`kavach prune`: the only way rows ever leave the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import Database, PgBouncer, Project
from kavach_core.cli.times import ago

if TYPE_CHECKING:
    from kavach_core.kavach import Kavach


def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help='Such as "90d".')],
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Delete audit entries older than this, for good, in small transactions beside the running app.

    Approvals and reservations that ended before that go as well, and counters that nobody counted in for a day.
    """
    before = ago(older_than, field="--older-than")

    async def delete(kavach: Kavach) -> int:
        await kavach.limits.prune()
        await kavach.budgets.prune(before=before)
        await kavach.approvals.prune(before=before)
        return await kavach.audit.prune(before=before)

    typer.echo(f"Deleted {Target(database, project, pgbouncer).run(delete)} entries.")
