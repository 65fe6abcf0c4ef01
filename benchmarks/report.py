"""Results as rows: the table people read, and the JSON other programs do."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of a bench. CPU is in microseconds per operation."""

    bench: str
    backend: str
    variant: str
    concurrency: int
    #: Delegations between the owner's agent and the acting one.
    chain: int
    ops_per_s: float
    p50_ms: float
    p99_ms: float
    #: Of this process, all threads together.
    cpu_us: float
    #: Of the database's processes; 0 where the database lives in this process, None where it cannot be read.
    server_cpu_us: float | None
    #: What a sweep varies: rows of the audit, permissions of an agent, agents.
    size: int | None = None
    #: Operations per second and CPU (client and server together), each divided by those of `baseline`.
    ratio: float | None = None
    cpu_ratio: float | None = None
    #: The variant it is compared with, measured in turns with it.
    baseline: str | None = None
    #: Operations that shared a transaction, on average.
    batch: float | None = None
    #: What a commit was worth, and what ran.
    durability: str
    database_version: str
    python: str = platform.python_version()
    cores: int | None = os.cpu_count()

    @property
    def total_cpu_us(self) -> float:
        """Of client and server."""
        return self.cpu_us + (self.server_cpu_us or 0)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """A row as it was written."""
        return cls(**values)

    def to_json(self) -> dict[str, object]:
        """The row with its numbers rounded to what they are worth."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Goal:
    """A target, and what was measured."""

    what: str
    measured: float
    target: float
    #: Whether the target is the least and not the most.
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.measured >= self.target if self.at_least else self.measured <= self.target


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print the table of a bench."""
    table = Table(title=title, title_justify="left", title_style="bold")
    sized = any(row.size is not None for row in rows)
    for name in ("backend", "variant"):
        table.add_column(name)
    for name in (
        *(("size",) if sized else ()),
        "chain",
        "conc.",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "server µs",
        "batch",
        "ops x",
        "CPU x",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        if row.ratio == 1.0:  # what others are measured by
            table.add_section()
        table.add_row(
            row.backend,
            row.variant,
            *(("" if row.size is None else f"{row.size:,}",) if sized else ()),
            str(row.chain),
            str(row.concurrency),
            f"{row.ops_per_s:,.0f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.cpu_us:.1f}",
            "-" if row.server_cpu_us is None else f"{row.server_cpu_us:.0f}",
            _number(row.batch, 1),
            _number(row.ratio, 2),
            _number(row.cpu_ratio, 3),
        )
    _console().print(table)


def print_goals(goals: Sequence[Goal]) -> None:
    """Print what was to be reached and what was."""
    table = Table(title="Targets", title_justify="left", title_style="bold", box=None)
    for name in ("", "measured", "target", ""):
        table.add_column(name, justify="left" if not name else "right")
    for goal in goals:
        verdict = Text("met", style="green") if goal.met else Text("missed", style="red")
        sign = "≥" if goal.at_least else "≤"
        table.add_row(goal.what, f"{goal.measured:.3g}", f"{sign} {goal.target:g}", verdict)
    _console().print(table)


def say(line: str) -> None:
    """Print one line."""
    _console().print(line)


def _console() -> Console:
    console = Console(highlight=False)
    # A table that is folded cannot be read; where nobody looks it may be as wide as it needs.
    return console if console.is_terminal else Console(highlight=False, width=140)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
