"""What a decision costs as things grow: callers, the audit, chains, permissions, agents. `benchmarks.plot` draws it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from benchmarks.databases import Backend, Opened, on_both, opened
from benchmarks.report import Goal, Row, print_goals, print_rows
from benchmarks.turns import USUAL, Calls, Plan, compare
from benchmarks.variants import batched
from benchmarks.world import Shape, analyse, fill_audit, other_resources, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is measured. The first of each is what the others are measured by."""

    concurrencies: Sequence[int]
    chains: Sequence[int]
    permissions: Sequence[int]
    audit_rows: Sequence[int]
    agents: Sequence[int]
    #: Agents that act, where their number is not what varies, and sets of permissions that differ.
    acting: int = 1_000
    distinct: int = 500


_QUICK: Final = Plan(window=0.2, rounds=2)
_FULL: Final = Plan(window=0.5, rounds=4, whole=True)

_FEW: Final = Sizes(
    concurrencies=(64, 1, 16, 256),
    chains=(0, 3, 10),
    permissions=(10, 1000),
    audit_rows=(0, 10_000),
    agents=(10, 10_000),
    distinct=120,
)
_ALL: Final = Sizes(
    concurrencies=(64, 1, 2, 4, 8, 16, 32, 128, 256),
    chains=(0, 1, 2, 3, 5, 7, 10),
    permissions=(10, 1, 30, 100, 300, 1000),
    audit_rows=(0, 10_000, 100_000, 1_000_000),
    agents=(10, 100, 1_000, 10_000),
)

#: What the largest may cost by the first.
_TARGETS: Final = {
    ("permissions, sets cached", 1000): 1.5,
    ("permissions, none cached", 1000): 4,
    ("agents", 10_000): 1.5,
    ("audit rows", 1_000_000): 1.25,
}
#: Sets that differ where all of them are to fit the cache.
_FEW_SETS: Final = 16
#: Bytes of a cache that holds one set, as every cache does, and in a batch of sets that differ never the right one.
_NO_CACHE: Final = 1


async def run(quick: bool) -> Sequence[Row]:
    """Measure both databases, print the tables and the targets, return the rows."""
    plan, sizes = (_QUICK, _FEW) if quick else (_FULL, _ALL)
    rows = await on_both(partial(measure, plan=plan, sizes=sizes))
    print_goals([*goals_of(rows)])
    return rows


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The targets, as far as they were measured."""
    for row in rows:
        most = None if row.size is None else _TARGETS.get((row.variant, row.size))
        if most is not None:
            yield Goal(f"{row.backend}: CPU with {row.size:,} {row.variant}, by the least", row.cpu_ratio or 0, most)


async def measure(backend: Backend, plan: Plan, sizes: Sizes) -> list[Row]:
    """Measure one database and print its table."""
    bench = _Bench(backend, sizes)
    rows: list[Row] = []
    for sweep in (bench.callers, bench.chains, bench.permissions, bench.agents, bench.audit_rows):
        async with AsyncExitStack() as stack:
            for contenders in await sweep(stack):
                rows += await compare("sizes", plan, contenders)
    print_rows(f"sizes on {backend.version}", rows)
    return rows


class _Bench:
    """The sweeps on one backend. Each returns contenders that are compared with each other."""

    def __init__(self, backend: Backend, sizes: Sizes) -> None:
        self._backend = backend
        self._sizes = sizes

    async def callers(self, stack: AsyncExitStack) -> list[list[Calls]]:
        """More of them at a time."""
        place = await self._open(stack, "callers")
        sweeps: list[list[Calls]] = []
        for chain in (0, 3):
            one = await self._calls(place, "callers", Shape(chain=chain, agents=self._acting(chain)))
            sweeps.append([replace(one, concurrency=each) for each in self._sizes.concurrencies])
        return sweeps

    async def chains(self, stack: AsyncExitStack) -> list[list[Calls]]:
        """Longer ones."""
        place = await self._open(stack, "chains")
        shapes = [Shape(chain=each, agents=self._acting(each)) for each in self._sizes.chains]
        return [[await self._calls(place, "chain", shape, size=shape.chain) for shape in shapes]]

    async def permissions(self, stack: AsyncExitStack) -> list[list[Calls]]:
        """More for each agent; with few sets, which the cache holds, and with many for a cache that holds none.

        Calls ask for all of them in turn, so that no answer is remembered.
        """
        place = await self._open(stack, "permissions")
        sweeps: list[list[Calls]] = []
        for name, distinct, cache_bytes in (
            ("permissions, sets cached", _FEW_SETS, None),
            ("permissions, none cached", self._sizes.distinct, _NO_CACHE),
        ):
            shapes = [
                Shape(permissions=each, distinct=distinct, agents=self._acting()) for each in self._sizes.permissions
            ]
            calls = partial(self._calls, place, name, cache_bytes=cache_bytes)
            sweeps.append(
                [
                    await calls(shape, size=shape.permissions, resources=other_resources(shape.permissions))
                    for shape in shapes
                ]
            )
        return sweeps

    async def agents(self, stack: AsyncExitStack) -> list[list[Calls]]:
        """More in the database: all of them act, or ten of them."""
        everyone: list[Calls] = []
        ten: list[Calls] = []
        for each in self._sizes.agents:
            place = await self._open(stack, f"agents_{each}")
            all_act = await self._calls(place, "agents", Shape(agents=each), size=each)
            same = batched(place.store, place.config, "agents, ten act")
            everyone.append(all_act)
            ten.append(replace(all_act, variant=same, tokens=all_act.tokens[:10]))
        return [everyone, ten]

    async def audit_rows(self, stack: AsyncExitStack) -> list[list[Calls]]:
        """More on record already."""
        contenders: list[Calls] = []
        for each in self._sizes.audit_rows:
            place = await self._open(stack, f"audit_{each}")
            contenders.append(await self._calls(place, "audit rows", Shape(agents=self._acting()), size=each))
            await fill_audit(place.store, each)
        return [contenders]

    def _acting(self, chain: int = 0) -> int:
        """As many that act, however long their chains."""
        return self._sizes.acting * (chain + 1)

    async def _open(self, stack: AsyncExitStack, name: str) -> Opened:
        return await stack.enter_async_context(opened(self._backend, name))

    async def _calls(self, place: Opened, name: str, shape: Shape, *, size: int | None = None, **more: Any) -> Calls:
        tokens = await settle(place.store, shape)
        if self._backend.name == "postgres":
            await analyse(place.store)
        variant = batched(place.store, place.config, name, **more)
        return Calls(variant, tokens, self._backend, concurrency=USUAL, chain=shape.chain, size=size)
