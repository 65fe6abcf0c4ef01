"""R4: no new enemy. What is excluded first stays out, however soon something is granted after it, elsewhere, and asked
for, elsewhere again. Three processes with clocks half a second apart take the three parts in turn."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from kavach_core import Kavach, create_kavach
from tests.capabilities.support import ask
from tests.proofs.crew import Hand, crew
from tests.proofs.enemies import TRIALS, trying

_SKEWS = (-500, 0, 500)


@pytest.mark.parametrize("trials", [42, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
async def test_what_is_excluded_first_is_not_let_in_by_what_is_granted_next(
    database_url: str, trials: int, figure: Callable[[str], None]
) -> None:
    async with _three(database_url, "facts") as (kavach, hands):
        let_in = [await _try(kavach, hands, number) for number in range(trials)]
    figure(
        f"R4 new enemies let in: {sum(let_in)} of {trials:,} trials of {len(TRIALS)} kinds,"
        f" 3 processes, clocks 500 ms apart ({database_url.partition(':')[0]})"
    )
    assert not any(let_in)


async def test_the_same_check_catches_ends_that_are_judged_by_clocks(sqlite_database: str) -> None:
    """The negative control: who takes a later time than their own for the future forgets what was just excluded."""
    async with _three(sqlite_database, "clocks") as (kavach, hands):
        for number in range(200):
            if await _try(kavach, hands, number):
                return
    pytest.fail("200 trials let nobody in")


async def test_every_grant_alone_would_let_in(sqlite_database: str) -> None:
    """Or the trials would try nothing."""
    async with await create_kavach(database=sqlite_database) as kavach:
        for kind, trial in TRIALS.items():
            ids = await trial.prepare(kavach, kind)
            assert not await ask(kavach, ids["token"]), kind
            await trial.grant(kavach, ids)
            assert await ask(kavach, ids["token"]), kind


@asynccontextmanager
async def _three(database: str, variant: str) -> AsyncGenerator[tuple[Kavach, list[Hand]]]:
    async with AsyncExitStack() as stack:
        kavach = await stack.enter_async_context(await create_kavach(database=database))
        crews = [await stack.enter_async_context(crew(1, trying, database, str(skew), variant)) for skew in _SKEWS]
        yield kavach, [hand for hands in crews for hand in hands]


async def _try(kavach: Kavach, hands: list[Hand], number: int) -> bool:
    """Whether an enemy was let in."""
    kind = list(TRIALS)[number % len(TRIALS)]
    ids = await TRIALS[kind].prepare(kavach, f"owner-{number}")
    excluding, granting, checking = random.Random(number).sample(hands, 3)
    await excluding.ask("change", kind, "exclude", ids)
    await granting.ask("change", kind, "grant", ids)
    return bool(await checking.ask("check", ids["token"]))
