"""Options that several commands share, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="KAVACH_DATABASE_URL",
        metavar="URL",
        help="sqlite:///kavach.db (the default) or postgresql://...; prefer the variable for a URL with a password.",
    ),
]
Project = Annotated[str, typer.Option("--project", metavar="NAME", help="Whose world to look at.")]
PgBouncer = Annotated[bool, typer.Option("--pgbouncer", help="A PgBouncer in transaction mode stands before it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Limit = Annotated[int, typer.Option("--limit", min=0, max=10_000, help="At most so many rows.")]
Offset = Annotated[int, typer.Option("--offset", min=0, help="Skip so many rows.")]
AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="An agent's id, agt_...")]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, key_...")]
OwnerId = Annotated[str, typer.Argument(metavar="OWNER", help="An owner's id, as the app names them.")]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help='From then on: "24h" ago, or ISO 8601.')]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help='Up to then: "24h" ago, or ISO 8601.')]
OutputFile = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", dir_okay=False, help="Write here and not to the screen.")
]
