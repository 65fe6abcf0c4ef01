"""`python -m benchmarks NAME [--quick] [--json FILE]`: run one bench, print its table, write its rows."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import alone, authorize, claims, decide, guard, over_http, peers, sign_in
from benchmarks.report import Row

Bench = Callable[[bool], Coroutine[Any, Any, Sequence[Row]]]

BENCHES: Final[dict[str, Bench]] = {
    "alone": alone.run,
    "authorize": authorize.run,
    "claims": claims.run,
    "decide": decide.run,
    "guard": guard.run,
    "http": over_http.run,
    "peers": peers.run,
    "sign_in": sign_in.run,
}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--quick", action="store_true", help="shorter windows and no large tables: within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as one JSON array")
    chosen = parser.parse_args()
    rows = asyncio.run(BENCHES[chosen.name](chosen.quick))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")


main()
