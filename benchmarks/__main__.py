"""`python -m benchmarks [NAME] [--quick] [--json FILE]`: run one bench or all, print tables and targets, write rows."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import alone, authorize, claims, decide, guard, over_http, peers, sign_in, sizes
from benchmarks.authorize_goals import goals_of as authorize_goals_of
from benchmarks.report import Goal, Row, say


class Bench(NamedTuple):
    """What measures, in its quick form or whole; and what is to be reached by what was measured."""

    run: Callable[[bool], Coroutine[Any, Any, Sequence[Row]]]
    goals_of: Callable[[Sequence[Row]], Iterable[Goal]]


BENCHES: Final = {
    "decide": Bench(decide.run, decide.goals_of),
    "authorize": Bench(authorize.run, authorize_goals_of),
    "claims": Bench(claims.run, claims.goals_of),
    "alone": Bench(alone.run, alone.goals_of),
    "sizes": Bench(sizes.run, sizes.goals_of),
    "guard": Bench(guard.run, guard.goals_of),
    "http": Bench(over_http.run, over_http.goals_of),
    "peers": Bench(peers.run, peers.goals_of),
    "sign_in": Bench(sign_in.run, sign_in.goals_of),
}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHES), help="without it, all of them")
    parser.add_argument("--quick", action="store_true", help="shorter windows and no large tables: a minute or so each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as one JSON array")
    chosen = parser.parse_args()
    rows = _all(chosen.quick) if chosen.name is None else _one(chosen.name, chosen.quick)
    if chosen.json is not None:
        # A row a line, so that two runs can be compared.
        chosen.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def _one(name: str, quick: bool) -> list[dict[str, object]]:
    return [row.to_json() for row in asyncio.run(BENCHES[name].run(quick))]


def _all(quick: bool) -> list[dict[str, object]]:
    """Each in a process of its own, so that none inherits the memory and the threads of those before it."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in BENCHES:
            say(f"[bold]python -m benchmarks {name}[/]")
            began = time.monotonic()
            written = Path(folder, f"{name}.json")
            options = ["--quick"] if quick else []
            subprocess.run([sys.executable, "-m", "benchmarks", name, *options, "--json", written], check=True)
            rows += json.loads(written.read_text())
            say(f"{name} took {time.monotonic() - began:.0f} s")
    return rows


if __name__ == "__main__":
    main()
