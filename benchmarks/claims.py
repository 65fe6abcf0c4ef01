"""What a claim costs: what a decision takes, charges or reserves in its own transaction, beside being recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from benchmarks.databases import Backend, Opened, on_both, opened
from benchmarks.report import Goal, Row, print_goals, print_rows
from benchmarks.turns import USUAL, Calls, Plan, compare
from benchmarks.variants import Direct, allowed, batched
from benchmarks.world import Shape, analyse, settle
from kavach_core.capabilities.budgets.model import Measure

#: Units that a call reserves, and those that it is then settled for.
_COST: Final = 5
_REALLY: Final = 3
_AGENTS: Final = 2_000

#: Microseconds of client CPU: what one claim adds at 64 callers; whole calls at 64 and alone, without and with claims.
_ADDED, _TOGETHER, _ALONE, _ALONE_WITH_CLAIMS = 35, 150, 900, 1400

_QUICK: Final = Plan(window=0.15, rounds=3)
_FULL: Final = Plan(window=0.5, rounds=6)

_NO_CLAIM: Final = "no claim"
_SETTLED: Final = "a cost, settled"


class _Case(NamedTuple):
    """What is claimed, and how many claims that is."""

    name: str
    claims: int
    shape: Shape
    #: Whether it needs a database of its own, because a budget of the project is everybody's.
    apart: bool = False


_CASES: Final = (
    _Case(_NO_CLAIM, 0, Shape()),
    _Case("a rate", 1, Shape(rate=True)),
    _Case("a budget of calls", 1, Shape(budget=Measure.CALLS)),
    _Case("budgets at three levels", 3, Shape(budget=Measure.CALLS, levels=True), apart=True),
    _Case("a cost", 1, Shape(budget=Measure.COST)),
    _Case(_SETTLED, 1, Shape(budget=Measure.COST)),
    _Case(_NO_CLAIM, 0, Shape(chain=3)),
    _Case("a rate at each of four links", 4, Shape(chain=3, rate=True)),
)


async def run(quick: bool) -> Sequence[Row]:
    """Measure both databases, print the tables and the targets, return the rows."""
    rows = await on_both(partial(measure, plan=_QUICK if quick else _FULL))
    print_goals([*goals_of(rows)])
    return rows


async def measure(backend: Backend, plan: Plan, agents: int = _AGENTS) -> list[Row]:
    """Measure one database and print its table."""
    rows: list[Row] = []
    async with opened(backend, "claims") as together, AsyncExitStack() as stack:
        contenders: list[Calls] = []
        for case in _CASES:
            place = await stack.enter_async_context(opened(backend, "apart")) if case.apart else together
            contenders.append(await _contender(case, place, backend, agents))
        for chain in (0, 3):
            for concurrency in (USUAL, 1):
                rows += await compare(
                    "claims",
                    plan,
                    [replace(each, concurrency=concurrency) for each in contenders if each.chain == chain],
                )
    print_rows(f"claims on {backend.version}", rows)
    return rows


class _Spending:
    """A variant whose calls reserve a cost, and settle it if that is part of what is measured."""

    def __init__(self, variant: Direct, *, settles: bool) -> None:
        self._variant = variant
        self._settles = settles
        self.name = variant.name

    @property
    def batches(self) -> int:
        """Transactions so far."""
        return self._variant.batches

    async def __call__(self, token: str) -> None:
        """Authorize one call that costs something."""
        authorizer = self._variant.authorizer
        decision = await allowed(authorizer, token, cost=_COST)
        if self._settles and decision.audit_id is not None:
            await authorizer.settle(decision.audit_id, _REALLY)


async def _contender(case: _Case, place: Opened, backend: Backend, agents: int) -> Calls:
    # As many that act, however long their chains.
    shape = replace(case.shape, agents=agents * (case.shape.chain + 1))
    tokens = await settle(place.store, shape)
    if backend.name == "postgres":
        await analyse(place.store)
    plain = batched(place.store, place.config, case.name)
    spends = case.shape.budget is Measure.COST
    variant = _Spending(plain, settles=case.name == _SETTLED) if spends else plain
    contender = Calls(variant, tokens, backend, chain=case.shape.chain)
    await contender.call_each()  # so that every counter is there, as it is for an agent that has acted before
    return contender


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The targets, as far as they were measured."""
    plain = {(row.backend, row.concurrency, row.chain): row for row in rows if row.variant == _NO_CLAIM}
    for (backend, concurrency, chain), row in plain.items():
        most = _TOGETHER if concurrency == USUAL else _ALONE
        where = f"{concurrency} callers" if concurrency > 1 else "alone"
        yield Goal(f"{backend}, no claim, chain {chain}, {where}: client CPU in µs", row.cpu_us, most)
    claims = {case.name: case.claims for case in _CASES if case.claims}
    for row in rows:
        # Two calls are not one.
        if row.variant not in claims or row.variant == _SETTLED:
            continue
        if row.concurrency == 1:
            yield Goal(f"{row.backend}, {row.variant}, alone: client CPU in µs", row.cpu_us, _ALONE_WITH_CLAIMS)
        else:
            added = row.cpu_us - plain[row.backend, row.concurrency, row.chain].cpu_us
            each = added / claims[row.variant]
            yield Goal(f"{row.backend}, {row.variant}: client CPU in µs that each claim adds", each, _ADDED)
