"""How results look: tables for people, JSON for scripts. What was asked for goes to stdout, all else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from kavach_core.errors import KavachError, StoreUnavailable
from kavach_core.primitives.clock import iso_datetime

# Wide enough for every row where nobody looks: a pipe should get whole lines.
_PIPE_WIDTH = 1000

#: How states look, wherever they appear.
_STYLES = {
    "active": "green",
    "allowed": "green",
    "applied": "green",
    "approved": "green",
    "denied": "red",
    "due": "yellow",
    "ended": "yellow",
    "expired": "yellow",
    "pending": "yellow",
    "rate_limited": "yellow",
    "revoked": "red",
}


def show(*renderables: RenderableType) -> None:
    """Print to stdout. Names come from outside, so neither markup nor emoji codes in them mean anything."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(*renderables)


def note(message: str) -> None:
    """Tell people something that is not the result: on stderr, so that the result can be piped."""
    Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True).print(message, style="dim")


def print_error(error: KavachError) -> None:
    """Tell an expected failure in one red line, with the option or field it is about."""
    about = f" ({error.details['field']})" if "field" in error.details else ""
    cause = f" ({error.cause})" if isinstance(error, StoreUnavailable) and error.cause else ""
    line = f"{error.public_code}: {' '.join(error.message.split())}{about}{cause}"
    Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True).print(line, style="red")


def show_json(value: object) -> None:
    """Print a value as indented JSON, in ASCII: metadata may hold a lone surrogate, which only an escape can carry."""
    typer.echo(json.dumps(value, indent=2))


def table(*columns: str, rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table that never cuts a value off; on a narrow screen values go on in the next line."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def state(value: str) -> Text:
    """A status, in its colour."""
    return Text(value, style=_STYLES.get(value, ""))


def moment(at: datetime | None, *, none: str = "-") -> str:
    """A time for people: UTC, to the second."""
    return none if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def optional_iso(at: datetime | None) -> str | None:
    """A time for scripts, as it goes over the wire."""
    return None if at is None else iso_datetime(at)
