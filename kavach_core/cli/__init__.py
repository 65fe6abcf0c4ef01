"""The command line: `kavach NOUN VERB`, one file per noun.

Whatever is slow to import, or speaks to a database, is imported inside the commands.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kavach_core.cli import agents, approvals, audit, budgets, keys, owners, project
from kavach_core.cli.demo import demo
from kavach_core.cli.migrate import migrate
from kavach_core.cli.output import print_error
from kavach_core.cli.prune import prune
from kavach_core.cli.version import version
from kavach_core.errors import KavachError

__all__ = ["app", "main"]


class _Kavach(TyperGroup):
    """Tells an expected failure in one line and with exit code 1; only bugs show a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KavachError as error:
            print_error(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Kavach,
    help="Auth for AI agents and the humans behind them.",
    no_args_is_help=True,
    # Rich tracebacks show local variables, and those hold tokens and the URL of the database.
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def _options(
    shows_version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            # Not in the body: that runs only with a command.
            callback=_show_version,
            help="Print the versions of Kavach and of what it runs on.",
        ),
    ] = False,
) -> None: ...


app.command()(demo)
app.command()(migrate)
app.add_typer(keys.app, name="keys")
app.add_typer(agents.app, name="agents")
app.add_typer(owners.app, name="owners")
app.add_typer(budgets.app, name="budgets")
app.add_typer(approvals.app, name="approvals")
app.add_typer(project.app, name="project")
app.add_typer(audit.app, name="audit")
app.command()(prune)
app.command()(version)


def main() -> None:
    """Run the command line of this process."""
    sys.exit(app(prog_name="kavach"))
