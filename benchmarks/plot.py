"""The plots of a whole run, for `benchmarks.publish`. Needs the extra `bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Row

_NAMES: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL", "none": "no auth"}
_COLOURS: Final = {"sqlite": "#1f6fb4", "postgres": "#c8551b", "none": "#777777"}

# The same rows give the same file, byte for byte.
mpl.rcParams.update({"svg.hashsalt": "kavach", "svg.fonttype": "path", "font.size": 9, "axes.grid": True})
mpl.rcParams.update({"grid.color": "#dddddd", "axes.axisbelow": True, "legend.fontsize": 8, "legend.frameon": False})


class Sweep(NamedTuple):
    """One column of the first figure: what varies, how it is written, and the lines that are drawn."""

    label: str
    x: Callable[[Row], int]
    scale: dict[str, Any]
    #: Name of the line, its style, and the rows on it.
    lines: Sequence[tuple[str, str, Callable[[Row], bool]]]


def _variant(name: str) -> Callable[[Row], bool]:
    return lambda row: row.variant == name


def _size(row: Row) -> int:
    return row.size or 0


_SWEEPS: Final = (
    Sweep(
        "callers at a time",
        lambda row: row.concurrency,
        {"value": "log", "base": 2},
        (
            ("", "-", lambda row: row.variant == "callers" and row.chain == 0),
            (", chain of 3", "--", lambda row: row.variant == "callers" and row.chain == 3),
        ),
    ),
    Sweep("rows in the audit", _size, {"value": "symlog", "linthresh": 10_000}, (("", "-", _variant("audit rows")),)),
    Sweep("delegations in the chain", _size, {"value": "linear"}, (("", "-", _variant("chain")),)),
    Sweep(
        "permissions of an agent",
        _size,
        {"value": "log"},
        (
            ("", "-", _variant("permissions, sets cached")),
            (", no set cached", "--", _variant("permissions, none cached")),
        ),
    ),
    Sweep(
        "agents in the database",
        _size,
        {"value": "log"},
        (("", "-", _variant("agents")), (", ten of them act", "--", _variant("agents, ten act"))),
    ),
)


def sizes_figure(rows: Sequence[Row]) -> Figure:
    """Throughput, latency and CPU against each thing that grows."""
    figure = Figure(figsize=(17, 8.5), layout="constrained")
    places = figure.subplots(3, len(_SWEEPS))
    # One scale for each row, but a caller alone costs so much more that the others would lie on the ground.
    for first, others in ((places[0, 0], places[0, 1:]), (places[1, 0], places[1, 1:]), (places[2, 1], places[2, 2:])):
        for place in others:
            place.sharey(first)
    for sweep, (throughput, latency, cpu) in zip(_SWEEPS, places.T, strict=True):
        for label, style, wanted in sweep.lines:
            for backend in ("sqlite", "postgres"):
                found = [row for row in rows if row.bench == "sizes" and row.backend == backend and wanted(row)]
                found.sort(key=sweep.x)
                line: dict[str, Any] = {"linestyle": style, "color": _COLOURS[backend], "marker": ".", "linewidth": 1.4}
                at = [sweep.x(row) for row in found]
                throughput.plot(at, [row.ops_per_s for row in found], **line, label=_NAMES[backend] + label)
                latency.plot(at, [row.p50_ms for row in found], **line)
                latency.plot(at, [row.p99_ms for row in found], **{**line, "marker": "", "alpha": 0.4})
                cpu.plot(at, [row.total_cpu_us for row in found], **line)
        throughput.legend(loc="best")
        for place in (throughput, latency, cpu):
            place.set_xscale(**sweep.scale)
            place.set_xticks(at, [_short(each) for each in at])
            place.minorticks_off()
        cpu.set_xlabel(sweep.label)
    _name_rows(places)
    return figure


def _name_rows(places: Any) -> None:
    throughput, latency, cpu = places
    throughput[0].set_ylabel("decisions per second")
    latency[0].set_ylabel("ms, p50 (p99 pale)")
    cpu[0].set_ylabel("µs of CPU per decision,\nclient and server")
    for place in (*throughput, *cpu):
        place.set_ylim(bottom=0)
    for place in latency:
        place.set_yscale("log")


def _short(number: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{name}"
    return str(number)


def costs_figure(rows: Sequence[Row]) -> Figure:
    """What claims add, what `require` leaves of an app's throughput, and what a peer does."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    claims, shares, peers = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    _bars(
        claims,
        [row for row in rows if row.bench == "claims" and row.concurrency == 64],
        label=lambda row: row.variant + (", chain of 3" if row.chain else ""),
        height=lambda row: row.total_cpu_us,
        title="µs of CPU per call, 64 callers, client and server",
    )
    _bars(
        shares,
        [row for row in rows if row.bench == "http" and row.variant.endswith(" require")],
        label=lambda row: row.variant.removesuffix(" require"),
        height=lambda row: 100 * (row.ratio or 0),
        title="% of the throughput without auth, uvicorn, 64 callers",
    )
    _bars(
        peers,
        [row for row in rows if row.bench == "peers" and row.backend in _NAMES and row.variant != "no auth"],
        label=lambda row: row.variant,
        height=lambda row: row.ops_per_s,
        title="requests per second, the same route in FastAPI",
    )
    figure.legend(*claims.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _bars(
    place: Axes,
    rows: Sequence[Row],
    *,
    label: Callable[[Row], str],
    height: Callable[[Row], float],
    title: str,
) -> None:
    labels = list(dict.fromkeys(map(label, rows)))
    for shift, backend in ((-0.2, "sqlite"), (0.2, "postgres")):
        mine = {label(row): height(row) for row in rows if row.backend == backend}
        at = [position + shift for position, name in enumerate(labels) if name in mine]
        values = [mine[name] for name in labels if name in mine]
        bars = place.barh(at, values, height=0.38, color=_COLOURS[backend], label=_NAMES[backend])
        place.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    place.set_yticks(range(len(labels)), labels)
    place.invert_yaxis()
    place.margins(x=0.15)
    place.grid(visible=False, axis="y")
    place.set_title(title, fontsize=9)


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Write both figures into a folder."""
    for name, figure in (("performance-sizes", sizes_figure(rows)), ("performance-costs", costs_figure(rows))):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
