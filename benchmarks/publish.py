"""The figures that docs/performance.md shows: `python -m benchmarks.publish` takes them from docs/performance.json.

Tables need nothing but the rows; the plots need the extra `bench`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import BENCHES
from benchmarks.report import Row

DOCS: Final = Path(__file__).parents[1] / "docs"
ROWS: Final = DOCS / "performance.json"
PAGE: Final = DOCS / "performance.md"

_BACKENDS: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL", "none": "no database", "memory": "in memory"}

#: What a column shows of a row.
Column = Callable[[Row], str]


def read() -> list[Row]:
    """The rows that are published."""
    return [Row.from_json(values) for values in json.loads(ROWS.read_text(encoding="utf-8"))]


def up_to_date(page: str, rows: Sequence[Row]) -> str:
    """The page with every table as the rows say."""
    by_bench = {name: [row for row in rows if row.bench == name] for name in BENCHES}
    for name, lines in _tables(by_bench).items():
        begin, end = f"<!-- {name}: made by benchmarks/publish.py -->\n", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, mark, after = rest.partition(end)
        if not found or not mark:
            raise ValueError(f"the page has no table {name}")
        page = before + begin + "".join(f"{line}\n" for line in lines) + end + after
    return page


def _tables(rows: Mapping[str, Sequence[Row]]) -> dict[str, Iterable[str]]:
    return {
        "machine": _machine(rows["authorize"]),
        "targets": _targets(rows),
        "decisions": _table(
            [row for row in rows["authorize"] if row.variant == "batched"],
            {"callers": lambda row: str(row.concurrency), "chain": lambda row: str(row.chain), **_SPEED, **_CPU},
        ),
        "claims": _table(
            rows["claims"],
            {"": _variant, "chain": lambda row: str(row.chain), "callers": lambda row: str(row.concurrency), **_CPU},
        ),
        "alone": _table(rows["alone"], {"": _variant, "chain": lambda row: str(row.chain), **_LATENCY, **_CPU}),
        "http": _table(rows["http"], {"": _variant, **_SPEED, **_CPU, "throughput x": _ratio}),
        "peers": _table(rows["peers"], {"": _variant, **_SPEED, **_CPU, "throughput x": _ratio}),
    }


def _machine(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0]
    yield f"Python {first.python} on {first.cores} cores."
    for version, durability in {row.database_version: row.durability for row in rows}.items():
        yield f"{version}: {durability}."


def _targets(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    yield "| bench | | measured | target | |"
    yield "|---|---|---|---|---|"
    for name, bench in BENCHES.items():
        for goal in bench.goals_of(rows[name]):
            sign = "≥" if goal.at_least else "≤"
            verdict = "met" if goal.met else "**missed**"
            yield f"| `{name}` | {goal.what} | {_three(goal.measured)} | {sign} {_three(goal.target)} | {verdict} |"


def _table(rows: Sequence[Row], columns: Mapping[str, Column]) -> Iterator[str]:
    yield f"| | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {_BACKENDS[row.backend]} | {' | '.join(show(row) for show in columns.values())} |"


def _variant(row: Row) -> str:
    return row.variant


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}"


def _three(number: float) -> str:
    """Three digits that count."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


_LATENCY: Final[Mapping[str, Column]] = {
    "p50 ms": lambda row: f"{row.p50_ms:.2f}",
    "p99 ms": lambda row: f"{row.p99_ms:.2f}",
}
_SPEED: Final[Mapping[str, Column]] = {"per second": lambda row: f"{row.ops_per_s:,.0f}", **_LATENCY}
_CPU: Final[Mapping[str, Column]] = {
    "CPU µs": lambda row: f"{row.cpu_us:,.0f}",
    "server µs": lambda row: f"{row.server_cpu_us:,.0f}" if row.server_cpu_us else "",
}


def main() -> None:
    """Write the tables and draw the plots."""
    rows = read()
    PAGE.write_text(up_to_date(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    plot: Any = importlib.import_module("benchmarks.plot")
    plot.draw(rows, DOCS)


if __name__ == "__main__":
    main()
