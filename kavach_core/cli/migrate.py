"""`kavach migrate`: bring a database up to this release, or show what that would take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import AsJson, Database
from kavach_core.cli.output import show, show_json, state, table

if TYPE_CHECKING:
    from kavach_core.store.dialect import Dialect

_DialectName = Annotated[
    str | None, typer.Option("--dialect", metavar="sqlite|postgres", help="With --sql: for this kind of database.")
]


def migrate(
    database: Database = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL of this release and change nothing.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show which migrations are applied; exit code 1 if any is due.")
    ] = False,
    dialect: _DialectName = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to this release, whole or not at all. Many processes may do so at once."""
    if sql and status:
        raise typer.BadParameter("--sql and --status exclude each other.")
    if dialect is not None and not sql:
        raise typer.BadParameter("--dialect goes with --sql.")
    if sql:
        _print_sql(database, dialect)
    elif status:
        _print_status(_url(database), as_json)
    else:
        _apply(_url(database))


def _url(database: str | None) -> str:
    return Target(database, "default").config().database


def _print_sql(database: str | None, dialect: str | None) -> None:
    from kavach_core.store import migrate

    typer.echo(migrate.sql(_dialect(database, dialect)), nl=False)


def _dialect(database: str | None, name: str | None) -> Dialect:
    from kavach_core.store.dialect import Dialect, parse_database

    if name is None:
        return parse_database(_url(database)).dialect
    try:
        return Dialect(name)
    except ValueError:
        raise typer.BadParameter("--dialect is sqlite or postgres.") from None


def _print_status(url: str, as_json: bool) -> None:
    from kavach_core.store import migrate

    found = asyncio.run(migrate.status(url))
    if as_json:
        show_json([{"name": name, "applied": applied} for name, applied in found])
    else:
        show(table("migration", "status", rows=[(name, state("applied" if has else "due")) for name, has in found]))
    if not all(applied for _, applied in found):
        raise typer.Exit(1)


def _apply(url: str) -> None:
    from kavach_core.store import migrate

    applied = asyncio.run(migrate.migrate(url))
    for name in applied:
        typer.echo(f"applied {name}")
    if not applied:
        typer.echo("Nothing was due.")
