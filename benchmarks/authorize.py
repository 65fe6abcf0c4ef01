"""What a decision costs: batched against one transaction per call, and what should not make it dearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from benchmarks.authorize_goals import goals_of
from benchmarks.databases import Backend, Opened, on_both, opened
from benchmarks.report import Row, print_goals, print_rows
from benchmarks.turns import Calls, Plan, compare
from benchmarks.variants import Direct, batched, per_call
from benchmarks.world import AGENTS, Shape, analyse, fill_audit, other_resources, settle
from kavach_core.capabilities.audit import Audit
from kavach_core.kavach import Kavach
from kavach_core.runtime import Runtime

_CONCURRENCIES: Final = (1, 16, 64, 256)
_CHAINS: Final = (0, 3)
_MANY_AUDIT_ROWS: Final = 1_000_000

_QUICK: Final = Plan(window=0.15, rounds=2)
_FULL: Final = Plan(window=1.0, rounds=4, whole=True)


async def run(quick: bool) -> Sequence[Row]:
    """Measure both databases, print the tables and the targets, return the rows."""
    rows = await on_both(partial(measure, plan=_QUICK if quick else _FULL))
    print_goals(goals_of(rows))
    return rows


async def measure(backend: Backend, plan: Plan, agents: int = AGENTS) -> list[Row]:
    """Measure one database and print its table."""
    bench = _Bench(backend, plan, agents)
    async with opened(backend, "main") as main:
        rows = await bench.on_one_database(main)
    rows += await bench.statistics()
    if plan.whole:
        rows += await bench.audit_rows()
    print_rows(f"authorize on {backend.version}", rows)
    return rows


class _Bench:
    """The comparisons on one backend."""

    def __init__(self, backend: Backend, plan: Plan, agents: int) -> None:
        self._backend = backend
        self._agents = agents
        self._calls = partial(Calls, backend=backend)
        self._compare = partial(compare, "authorize", plan)
        self._whole = plan.whole

    async def on_one_database(self, main: Opened) -> list[Row]:
        """Everything that needs no database of its own."""
        tokens = {chain: await self._settle(main, Shape(chain=chain)) for chain in _CHAINS}
        if self._backend.name == "postgres":
            await analyse(main.store)
        rows: list[Row] = []
        for chain, acting in tokens.items():
            rows += await self._batching(main, acting, chain)
        for chain, acting in tokens.items():
            rows += await self._resources(main, acting, chain)
        rows += await self._permissions(main)
        rows += await self._export(main, tokens[0])
        if self._whole:
            rows += await self._use(main)
        return rows

    async def _batching(self, main: Opened, tokens: Sequence[str], chain: int) -> list[Row]:
        """Batched against one transaction per call."""
        rows: list[Row] = []
        pair = (per_call(main.store, main.config), batched(main.store, main.config))
        for concurrency in _CONCURRENCIES:
            rows += await self._compare(
                [self._calls(each, tokens, concurrency=concurrency, chain=chain) for each in pair]
            )
        return rows

    async def _resources(self, main: Opened, tokens: Sequence[str], chain: int) -> list[Row]:
        """One resource, as a route asks for it, against another with every call."""
        others = other_resources(Shape().permissions)
        pair = (
            batched(main.store, main.config, "one_resource"),
            batched(main.store, main.config, "other_resources", resources=others),
        )
        return await self._compare([self._calls(each, tokens, chain=chain) for each in pair])

    async def _use(self, main: Opened) -> list[Row]:
        """The same where nearly every call writes the time of last use of four agents."""
        tokens = await self._settle(main, Shape(chain=3, ttl=None))
        pair = (
            per_call(main.store, main.config, "per_call, use written"),
            batched(main.store, main.config, "batched, use written"),
        )
        return await self._compare([self._calls(each, tokens, chain=3) for each in pair])

    async def _permissions(self, main: Opened) -> list[Row]:
        """A thousand permissions against ten; calls ask for all of them, so that no answer is remembered."""
        contenders: list[Calls] = []
        for size in (10, 1000):
            tokens = await self._settle(main, Shape(permissions=size))
            variant = batched(main.store, main.config, f"permissions_{size}", resources=other_resources(size))
            contenders.append(self._calls(variant, tokens))
        return await self._compare(contenders)

    async def _export(self, main: Opened, tokens: Sequence[str]) -> list[Row]:
        """While the whole audit is exported in this process, against quiet."""
        audit = Kavach(Runtime(main.store, main.config)).audit
        exporting = batched(main.store, main.config, "export")
        return await self._compare(
            [
                self._calls(batched(main.store, main.config, "quiet"), tokens),
                self._calls(exporting, tokens, beside=lambda: _export_on_and_on(audit)),
            ]
        )

    async def statistics(self) -> list[Row]:
        """With plans made while the tables were nearly empty and no statistics ever gathered, against with them."""
        async with opened(self._backend, "known") as known, opened(self._backend, "unknown") as unknown:
            return await self._compare(
                [
                    self._calls(*await self._grown(known, "analysed", analysed=True), chain=3),
                    self._calls(*await self._grown(unknown, "never_analysed", analysed=False), chain=3),
                ]
            )

    async def _grown(self, database: Opened, name: str, *, analysed: bool) -> tuple[Direct, list[str]]:
        """A variant that decided something before its database grew."""
        variant = batched(database.store, database.config, name)
        await variant((await settle(database.store, Shape(chain=3, agents=4)))[0])
        tokens = await self._settle(database, Shape(chain=3))
        if analysed:
            await analyse(database.store)
        return variant, tokens

    async def audit_rows(self) -> list[Row]:
        """With a million audit rows, against a database that began with none."""
        async with opened(self._backend, "none") as none, opened(self._backend, "many") as many:
            tokens = [await self._settle(database, Shape()) for database in (none, many)]
            await fill_audit(many.store, _MANY_AUDIT_ROWS)
            return await self._compare(
                [
                    self._calls(batched(none.store, none.config, "audit_0"), tokens[0]),
                    self._calls(batched(many.store, many.config, "audit_1000000"), tokens[1]),
                ]
            )

    async def _settle(self, database: Opened, shape: Shape) -> list[str]:
        return await settle(database.store, replace(shape, agents=self._agents))


async def _export_on_and_on(audit: Audit) -> None:
    while True:
        async for _ in audit.export(format="json"):
            pass
