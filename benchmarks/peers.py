"""What others from PyPI take for a part of the same work, in one run and in turns; see README for what they leave out.

`fastapi-users` looks up a token on the same guarded route; `pycasbin` and `cedarpy` decide the same policy in memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from benchmarks.decide import BATCH, USUAL, VARIED, Batch, batches_of, row_of
from benchmarks.report import Goal, Row, print_goals, print_rows, say
from benchmarks.serving import Agents, Site
from benchmarks.turns import Plan, compare
from benchmarks.world import permission_set

_QUICK: Final = Plan(window=0.8, rounds=3)
_FULL: Final = Plan(window=1.0, rounds=8)
#: Batches that each engine decides.
_QUICK_BATCHES, _FULL_BATCHES = 60, 300

_USERS: Final = 2_000
_NEEDED: Final = ("fastapi_users", "casbin", "cedarpy", "aiosqlite")
#: The throughput of the guarded route by that of `fastapi-users`.
_TIMES: Final = 5


async def run(quick: bool) -> Sequence[Row]:
    """Measure, print the tables and the target, return the rows; none where the peers are not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        say(f"[red]Not installed: {', '.join(missing)}. They are in the extra: pip install -e '.[dev,bench]'[/]")
        return []
    rows = await _guarded_route(_QUICK if quick else _FULL)
    print_rows("the same guarded route, in FastAPI, over HTTP", rows)
    decided = in_memory(_QUICK_BATCHES if quick else _FULL_BATCHES)
    print_rows("the same policy, in memory", decided)
    print_goals([*goals_of(rows)])
    return [*rows, *decided]


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The target, for each database."""
    for row in rows:
        if row.variant == "kavach":
            goal = f"{row.backend}: throughput of the guarded route by that of {row.baseline}"
            yield Goal(goal, row.ratio or 0, _TIMES, at_least=True)


async def _guarded_route(plan: Plan) -> list[Row]:
    rows: list[Row] = []
    async with Site.build() as site:
        for agents in site.agents:
            users = await _fill(agents, site)
            async with AsyncExitStack() as stack:
                contenders = [
                    await site.start(stack, "fastapi_users", name="fastapi-users", path="/search", agents=users),
                    await site.start(stack, "kavach", name="kavach", path="/search", agents=agents),
                    await site.start(stack, "bare", name="no auth", path="/open"),
                ]
                rows += await compare("peers", plan, contenders)
    return rows


async def _fill(agents: Agents, site: Site) -> Agents:
    """Users with tokens in a database of the same kind."""
    users_app: Any = importlib.import_module("benchmarks.users_app")
    tokens = site.folder / f"{agents.backend.name}.users"
    users = replace(agents, url=await agents.backend.create("users"), tokens=tokens)
    tokens.write_text("\n".join(await users_app.fill(users.url, _USERS)))
    return users


def in_memory(batches: int) -> list[Row]:
    """Decide for as many agents as there are in a batch, engine after engine, over and over."""
    engines: dict[str, Batch] = {
        "kavach decide, resources vary": batches_of(VARIED),
        "kavach decide": batches_of(USUAL),
        **_peers(),
    }
    took: dict[str, list[float]] = {name: [] for name in engines}
    for batch in engines.values():
        batch()
    for _ in range(batches):
        for name, batch in engines.items():
            took[name].append(batch())
    rows: list[Row] = []
    for name, times in took.items():
        chain = USUAL.chain if name.startswith("kavach") else 0  # flattened in the others
        rows.append(row_of("peers", name, times, chain=chain, baseline=rows[0] if rows else None))
    return rows


def _peers() -> dict[str, Batch]:
    policies: Any = importlib.import_module("benchmarks.policies")
    permissions = permission_set(USUAL.permissions)
    return {
        "pycasbin": _batch(policies.casbin_of(permissions, BATCH)),
        "cedarpy": _batch(policies.cedar_of(permissions, BATCH)),
    }


def _batch(decide: Any) -> Batch:
    def batch() -> float:
        start = time.thread_time()
        for number in range(BATCH):
            if not decide(number):
                raise RuntimeError("the bench expects to be allowed")
        return time.thread_time() - start

    return batch
