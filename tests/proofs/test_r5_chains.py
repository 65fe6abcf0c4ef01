"""R5: cutting a chain is all or nothing, and costs the same however much hangs from it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import pytest

from kavach_core import Kavach, create_kavach
from kavach_core.capabilities.delegation import queries as delegations
from kavach_core.store import Transaction
from tests.capabilities.support import ask, limited, make_agent, run, select, tables_of
from tests.proofs.mortals import Mortal
from tests.proofs.revoking import work

_DEPTH = 10
#: Agents below the cut that are asked after each kill, besides all of them now and then.
_ASKED, _ALL_EVERY = 200, 20


class Tree(NamedTuple):
    """The delegation at the top of a tree of agents, and the ids and tokens of everybody below it."""

    delegation_id: str
    agents: list[str]
    tokens: list[str]


async def _grow(kavach: Kavach, size: int) -> Tree:
    """A tree of so many agents below one delegation, ten deep where there are enough of them."""
    chance = random.Random(size)
    root = await make_agent(kavach)
    top = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"], max_depth=_DEPTH)
    below, depths = [top], {top.id: 1}
    while len(below) < size:
        giver = below[-1] if len(below) < _DEPTH else chance.choice(below)
        if depths[giver.id] < _DEPTH:
            child = await kavach.agents.delegate(from_=giver.id, permissions=["read:repos"])
            below.append(child)
            depths[child.id] = depths[giver.id] + 1
    return Tree(top.delegation_id, [agent.id for agent in below], [agent.token or "" for agent in below])


async def _count_live(kavach: Kavach, tokens: Sequence[str]) -> int:
    """How many of these are allowed to do what was delegated to them."""
    calls = [kavach.authorize(token, action="read", resource="repos") for token in tokens]
    return sum([decision.allowed for decision in await asyncio.gather(*calls)])


async def _mend(kavach: Kavach) -> None:
    """Undo what was revoked, so that the tree can be cut again."""
    for table in ("kavach_agents", "kavach_delegations"):
        await run(kavach, f"update {table} set revoked_at = null where revoked_at is not null")


@dataclass
class Story:
    """What became of a chain that was cut again and again by somebody who was killed."""

    kills: int = 0
    acknowledged: int = 0
    #: Cut although nobody was told, which is as good.
    unheard: int = 0
    #: Some lived and some did not, or one lived after all.
    half: int = 0

    def note(self, acknowledged: bool, live: int, asked: int) -> None:
        self.kills += 1
        self.acknowledged += acknowledged
        self.unheard += live == 0 and not acknowledged
        self.half += live not in (0, asked) or (acknowledged and live > 0)


def _cut(database: str, size: int, kills: int, variant: str = "kavach", spread: float = 3.0) -> Story:
    """Kill while cutting, at moments up to `spread` times as late as cutting usually takes."""
    with asyncio.Runner() as runner:
        kavach = runner.run(
            create_kavach(database=database, max_agents_per_owner=size + 1, max_delegation_depth=_DEPTH)
        )
        try:
            tree, story, chance = runner.run(_grow(kavach, size)), Story(), random.Random(kills)
            takes = median(_kill_while_cutting(database, tree, None, variant)[1] for _ in range(3))
            runner.run(_mend(kavach))
            for number in range(kills):
                acknowledged, _ = _kill_while_cutting(database, tree, chance.uniform(0, spread * takes), variant)
                everybody = number % _ALL_EVERY == 0 or size <= _ASKED
                asked = tree.tokens if everybody else chance.sample(tree.tokens, _ASKED)
                story.note(acknowledged, runner.run(_count_live(kavach, asked)), len(asked))
                runner.run(_mend(kavach))
            return story
        finally:
            runner.run(kavach.close())


def _kill_while_cutting(database: str, tree: Tree, after: float | None, variant: str) -> tuple[bool, float]:
    """Have a process cut the chain and kill it so many seconds later; or else when it has acknowledged that.

    Returns whether it had, and how many seconds that took.
    """
    process = Mortal(work, database, variant)
    assert process.hear() is True
    began = time.monotonic()
    process.tell((tree.delegation_id, tree.agents))
    if after is None:
        process.hear()
        took = time.monotonic() - began
        process.kill()
        return True, took
    time.sleep(after)  # any moment is as good as another
    return True in process.kill(), after


long = partial(pytest.param, marks=[pytest.mark.long, pytest.mark.timeout(3600)])


@pytest.mark.parametrize(("size", "kills"), [(40, 6), long(10_000, 100)])
def test_a_chain_is_cut_whole_or_not_at_all(
    database_url: str, size: int, kills: int, figure: Callable[[str], None]
) -> None:
    story = _cut(database_url, size, kills)
    figure(
        f"R5 chains cut by half: {story.half} of {story.kills} kills while cutting above {size} agents, {_DEPTH} deep;"
        f" {story.acknowledged} acknowledged, {story.unheard} cut unheard ({database_url.partition(':')[0]})"
    )
    assert story.half == 0


def test_the_same_check_catches_a_chain_that_is_cut_agent_by_agent(database_url: str) -> None:
    """The negative control: everything below is ended, in a transaction each."""
    assert _cut(database_url, 40, 6, "one by one", spread=0.9).half > 0


@pytest.mark.parametrize("size", [60, long(10_000)])
async def test_cutting_a_chain_writes_one_row_and_its_event_however_large_it_is(
    database_url: str, size: int, figure: Callable[[str], None]
) -> None:
    async with await create_kavach(
        database=database_url, max_agents_per_owner=2 * size, max_delegation_depth=_DEPTH
    ) as kavach:
        written = [await _written_by_cutting(kavach, await _grow(kavach, agents)) for agents in (1, size)]
    figure(
        f"R5 rows written to cut a chain: {written[0]} above 1 agent, {written[1]} above {size}"
        f" ({database_url.partition(':')[0]})"
    )
    assert written == [2, 2]


@pytest.mark.parametrize("more", ["delete from kavach_agent_tokens", "update kavach_approvals set closed_at = 1"])
async def test_the_same_count_catches_more_rows_of_any_table(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """The negative control: cutting a chain tidies up below it."""
    revoke = delegations.revoke

    async def revoke_and_tidy(tx: Transaction, project: str, delegation_id: bytes) -> bool:
        await tx.execute(more)
        return await revoke(tx, project, delegation_id)

    monkeypatch.setattr(delegations, "revoke", revoke_and_tidy)
    async with await create_kavach(database=sqlite_database) as kavach:
        asking = await make_agent(kavach, limited("repos", "read", requireApproval=True))
        await ask(kavach, asking.token)
        with pytest.raises(AssertionError):
            await _written_by_cutting(kavach, await _grow(kavach, 1))


async def _written_by_cutting(kavach: Kavach, tree: Tree) -> int:
    """How many rows are new or different after the chain was cut."""
    before = await _everything(kavach)
    await kavach.delegations.revoke(tree.delegation_id)
    after = await _everything(kavach)
    written = after - before
    assert sorted(table for table, _ in written) == ["kavach_delegations", "kavach_events"]
    assert [table for table, _ in before - after] == ["kavach_delegations"], "as it was before"
    assert await _count_live(kavach, tree.tokens) == 0
    return len(written)


async def _everything(kavach: Kavach) -> set[tuple[str, tuple[Any, ...]]]:
    """Every row of every table."""
    return {(table, row) for table in await tables_of(kavach) for row in await select(kavach, f"select * from {table}")}
