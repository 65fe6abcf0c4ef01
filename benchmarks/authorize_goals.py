"""What `authorize` is to reach. Ratios hold on any machine; the microseconds are for a server of today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.report import Goal, Row


class _Batching(NamedTuple):
    """At 64 callers against one transaction per call: at most this CPU, at least these operations."""

    backend: str
    chain: int
    cpu: float
    ops: float


_BATCHING: Final = (
    _Batching("sqlite", 0, 1 / 3, 3),
    _Batching("sqlite", 3, 1 / 3, 3),
    _Batching("postgres", 0, 1 / 5, 2.5),
    _Batching("postgres", 3, 1 / 4, 2.5),
)
_MICROSECONDS: Final = {64: 150, 1: 900}
#: Variants whose CPU may be at most so many times that of what they are compared with.
_STEADY: Final = {"permissions_1000": 1.5, "audit_1000000": 1.25, "never_analysed": 1.5}

_Cells = Mapping[tuple[str, str, int, int], Row]


def goals_of(rows: Sequence[Row]) -> list[Goal]:
    """The targets, as far as they were measured."""
    cells = {(row.backend, row.variant, row.concurrency, row.chain): row for row in rows}
    return [
        *(goal for wanted in _BATCHING for goal in _batching(cells, wanted)),
        *(goal for row in rows for goal in _steadiness(row)),
        *_export(cells),
    ]


def _batching(cells: _Cells, wanted: _Batching) -> Iterator[Goal]:
    where = f"{wanted.backend}, chain {wanted.chain}"
    many = cells.get((wanted.backend, "batched", 64, wanted.chain))
    alone = cells.get((wanted.backend, "batched", 1, wanted.chain))
    if many is None or alone is None:
        return
    yield Goal(f"{where}, 64 callers: CPU against per_call", many.cpu_ratio or 0, wanted.cpu)
    yield Goal(f"{where}, 64 callers: operations against per_call", many.ratio or 0, wanted.ops, at_least=True)
    yield Goal(f"{where}, alone: CPU against per_call", alone.cpu_ratio or 0, 1.15)
    yield Goal(f"{where}, alone: operations against per_call", alone.ratio or 0, 0.85, at_least=True)
    for row in (many, alone):
        yield Goal(f"{where}, {row.concurrency} callers: client CPU in µs", row.cpu_us, _MICROSECONDS[row.concurrency])


def _steadiness(row: Row) -> Iterator[Goal]:
    most = _STEADY.get(row.variant)
    if most is not None:
        yield Goal(f"{row.backend}: CPU of {row.variant} against {row.baseline}", row.cpu_ratio or 0, most)


def _export(cells: _Cells) -> Iterator[Goal]:
    for (backend, variant, concurrency, chain), row in cells.items():
        if variant == "export":
            quiet = cells[backend, "quiet", concurrency, chain]
            yield Goal(f"{backend}: p99 while exporting against quiet", row.p99_ms / quiet.p99_ms, 3)
