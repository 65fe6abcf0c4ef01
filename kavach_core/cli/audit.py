"""`kavach audit`: read the record of every decision, follow one chain, take all of it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import (
    AgentId,
    AsJson,
    Database,
    Limit,
    Offset,
    OutputFile,
    PgBouncer,
    Project,
    Since,
    Until,
)
from kavach_core.cli.output import moment, note, show, show_json, state, table
from kavach_core.cli.times import when

if TYPE_CHECKING:
    from kavach_core.capabilities.audit import AuditEntry
    from kavach_core.capabilities.audit.service import ExportFormat, Wanted
    from kavach_core.kavach import Kavach

app = typer.Typer(help="The record of every decision.", no_args_is_help=True)

_Agent = Annotated[str | None, typer.Option("--agent", help="Only decisions about this agent.")]
_Owner = Annotated[str | None, typer.Option("--owner", help="Only agents that are this owner's now.")]
_Actions = Annotated[list[str] | None, typer.Option("--action", help="Only this action; repeat for more.")]
_Result = Annotated[str | None, typer.Option("--result", metavar="allowed|denied|rate_limited", help="Only these.")]
_Before = Annotated[str | None, typer.Option("--before", metavar="ID", help="Only entries older than this one.")]
_After = Annotated[str | None, typer.Option("--after", metavar="ID", help="Only entries newer than this one.")]
_Format = Annotated[str, typer.Option("--format", metavar="json|csv", help="One JSON array, or CSV by RFC 4180.")]

_FORMATS: Final[dict[str, ExportFormat]] = {"json": "json", "csv": "csv"}


@app.command("list")
def list_(
    agent: _Agent = None,
    owner: _Owner = None,
    action: _Actions = None,
    result: _Result = None,
    since: Since = None,
    until: Until = None,
    before: _Before = None,
    limit: Limit = 50,
    offset: Offset = 0,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """List decisions, newest first."""
    wanted = _wanted(agent, owner, action, result, since, until, before)
    found = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.audit.query(limit=limit, offset=offset, **wanted)
    )
    _show(found.items, as_json)
    if found.items and len(found) < found.total and not as_json:
        note(f"{len(found)} of {found.total_text}; --before {found[-1].id} goes on.")


@app.command("trace")
def trace(
    agent_id: AgentId,
    after: _After = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """List the calls of a whole chain, oldest first: of the agents above this one, its own, and all below."""
    found = Target(database, project, pgbouncer).run(
        lambda kavach: kavach.audit.trace(agent_id, after=after, limit=limit)
    )
    _show(found, as_json)
    if found and len(found) == limit and not as_json:
        note(f"There may be more; --after {found[-1].id} goes on.")


@app.command("export")
def export(
    format: _Format = "json",
    output: OutputFile = None,
    agent: _Agent = None,
    owner: _Owner = None,
    action: _Actions = None,
    result: _Result = None,
    since: Since = None,
    until: Until = None,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Write everything that matches, oldest first, in pieces, so that it may be larger than memory."""
    chosen = _format(format)
    wanted = _wanted(agent, owner, action, result, since, until, None)
    target = Target(database, project, pgbouncer)
    if output is None:
        target.run(lambda kavach: _export(kavach, chosen, wanted, lambda piece: typer.echo(piece, nl=False)))
        return
    with _create(output) as file:
        target.run(lambda kavach: _export(kavach, chosen, wanted, file.write))
    note(f"Wrote {output}.")


def _format(name: str) -> ExportFormat:
    if name not in _FORMATS:
        raise typer.BadParameter("--format is json or csv.")
    return _FORMATS[name]


async def _export(kavach: Kavach, format: ExportFormat, wanted: Wanted, write: Callable[[str], object]) -> None:
    async for piece in kavach.audit.export(format=format, **wanted):
        write(piece)


def _create(path: Path) -> TextIO:
    try:
        # CSV brings its own line ends.
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from None


def _wanted(
    agent: str | None,
    owner: str | None,
    actions: Sequence[str] | None,
    result: str | None,
    since: str | None,
    until: str | None,
    before: str | None,
) -> Wanted:
    return {
        "agent_id": agent,
        "owner_id": owner,
        "actions": actions or (),
        "result": result,
        "since": when(since, field="--since"),
        "until": when(until, field="--until"),
        "before": before,
    }


def _show(entries: Sequence[AuditEntry], as_json: bool) -> None:
    from kavach_core.capabilities.audit.export import to_wire

    if as_json:
        show_json([to_wire(entry) for entry in entries])
        return
    rows = [
        (
            moment(entry.at),
            entry.agent_id,
            str(len(entry.path) - 1),
            entry.action,
            entry.resource,
            state(entry.result),
            _why(entry),
        )
        for entry in entries
    ]
    show(table("time", "agent", "depth", "action", "resource", "result", "code", rows=rows))


def _why(entry: AuditEntry) -> str:
    """The code where it says more than the result, and what is unusual about the row."""
    parts = [] if entry.allowed else [entry.code.value]
    if entry.dry_run:
        parts.append("dry run")
    if entry.calls > 1:
        parts.append(f"{entry.calls} calls")
    return ", ".join(parts)
