"""What is on record after a proof, and what it has to agree with: the answers callers got, counters, budgets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from kavach_core import Kavach, create_kavach
from kavach_core.capabilities.budgets import Budget, Measure
from kavach_core.primitives import ids
from kavach_core.primitives.clock import HOUR, MINUTE
from tests.capabilities.support import select

T = TypeVar("T")


class Row(NamedTuple):
    """One row of the audit, as far as proofs look at it."""

    id: bytes
    writer: bytes
    sequence: int
    owner_id: str
    path: str
    result: str
    code: str
    calls: int
    cost: int | None
    request_id: str | None
    settles: bytes | None

    @property
    def audit_id(self) -> str:
        """The id as callers know it."""
        return ids.AUDIT.text(self.id)

    @property
    def spends(self) -> bool:
        """Whether it counts in budgets: an allowed call, or a cost that was corrected."""
        return self.result == "allowed"


async def with_kavach(database: str, use: Callable[[Kavach], Awaitable[T]]) -> T:
    """Use a Kavach that is opened for that and closed afterwards."""
    async with await create_kavach(database=database) as kavach:
        return await use(kavach)


async def all_rows(kavach: Kavach) -> list[Row]:
    """The whole audit, in the order of ids."""
    sql = f"select {', '.join(Row._fields)} from kavach_audit where project_id = $1 order by id"
    return [Row._make(row) for row in await select(kavach, sql, kavach.config.project)]


def lost(told: Mapping[str, str], rows: Iterable[Row]) -> list[str]:
    """The decisions callers were told, by audit id, that are not on record with the same code."""
    on_record = {row.audit_id: row.code for row in rows}
    return [audit_id for audit_id, code in told.items() if on_record.get(audit_id) != code]


def gaps(rows: Iterable[Row]) -> int:
    """How many numbers are missing from, or twice in, what each writer wrote: 0, 1, 2 and so on."""
    written: dict[bytes, list[int]] = {}
    for row in rows:
        written.setdefault(row.writer, []).append(row.sequence)
    return sum(len(set(range(max(each) + 1)).symmetric_difference(each)) + _twice(each) for each in written.values())


def _twice(numbers: list[int]) -> int:
    return len(numbers) - len(set(numbers))


async def disagreements(kavach: Kavach, rows: Iterable[Row], *, rated: str) -> list[str]:
    """Where budgets, and the one rate there is, which `rated` has, say something else than the audit."""
    spending = [row for row in rows if row.spends]
    found = [
        f"{budget.measure} of {_holder(budget) or 'the project'}: {budget.spent}, on record {on_record}"
        for budget in await kavach.budgets.list()
        if budget.spent != (on_record := spent(budget, spending))
    ]
    calls = [row for row in spending if row.calls and _plain(rated) in _agents(row.path)]
    return [*found, *await _wrong_rates(kavach, calls)]


def spent(budget: Budget, spending: Iterable[Row]) -> int:
    """What the rows say was spent of a budget that lasts for ever and whose reservations are kept."""
    holder = _holder(budget)
    charged = [row for row in spending if holder is None or holder in (row.owner_id, *_agents(row.path))]
    return sum(row.calls if budget.measure is Measure.CALLS else row.cost or 0 for row in charged)


def _holder(budget: Budget) -> str | None:
    """What it hangs on, as rows name it: an owner, an agent, or None for the project."""
    return budget.owner_id or (None if budget.agent_id is None else _plain(budget.agent_id))


def _plain(agent_id: str) -> str:
    return ids.AGENT.raw(agent_id).hex()


def _agents(path: str) -> list[str]:
    return [agent for agent, _, _ in json.loads(path)]


async def _wrong_rates(kavach: Kavach, calls: Iterable[Row]) -> list[str]:
    """Minutes for which something else was counted than there are calls on record."""
    on_record = Counter(ids.moment(row.id) // MINUTE for row in calls)
    rows = await select(kavach, "select counts from kavach_counters where project_id = $1", kavach.config.project)
    pairs = (pair.partition(":") for (counts,) in rows for pair in str(counts).split(","))
    counted = Counter({int(minute): int(count) for minute, _, count in pairs})
    # Of minutes that are older nothing has to be known any more.
    known = {each for each in on_record if each > max(on_record) - HOUR // MINUTE}
    return [
        f"minute {each}: {counted[each]}, on record {on_record[each]}"
        for each in sorted(known.union(counted))
        if counted[each] != on_record[each]
    ]
