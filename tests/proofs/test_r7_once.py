"""R7: what holds once is used once, whoever uses it how often at once. Two processes, eight at once in each."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from kavach_core import Kavach, create_kavach
from tests.proofs.crew import Hand, ask_all, crew
from tests.proofs.once import MANY, ONCE, using

_PROCESSES, _AT_ONCE = 2, 8
_LEAD = 3_000_000


@pytest.mark.parametrize("rounds", [2, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
async def test_of_all_who_use_a_thing_at_once_exactly_one_does(
    database_url: str, rounds: int, figure: Callable[[str], None]
) -> None:
    used: dict[str, list[int]] = {kind: [] for kind in ONCE}
    async with _racing(database_url, "locked") as (kavach, hands):
        for _ in range(rounds):
            for kind in ONCE:
                used[kind].append(await _race(kavach, hands, kind, at_once=_AT_ONCE))
    tried = _PROCESSES * _AT_ONCE
    kinds = ", ".join(f"{kind} {sum(times)} of {len(times)}" for kind, times in used.items())
    figure(f"R7 used once by {tried} at once in {_PROCESSES} processes: {kinds} ({database_url.partition(':')[0]})")
    assert all(times == [1] * rounds for times in used.values())


async def test_the_same_check_catches_a_look_without_a_lock(postgres_database: str) -> None:
    """The negative control: one use in each process, since among several the others ask for what only one can ask for.

    On SQLite there is nothing to forget, since whoever writes is alone; and a sign-up has a second lock, because a
    passkey is one account's.
    """
    left = set(ONCE) - {"sign-ups"}
    async with _racing(postgres_database, "only looked") as (kavach, hands):
        for _ in range(50):
            left -= {kind for kind in left if await _race(kavach, hands, kind, at_once=1) > 1}
    assert not left, "used once although nothing was locked"


@asynccontextmanager
async def _racing(database: str, variant: str) -> AsyncGenerator[tuple[Kavach, list[Hand]]]:
    async with (
        await create_kavach(database=database, attempts_per_account=MANY, attempts_per_address=MANY) as kavach,
        crew(_PROCESSES, using, database, variant) as hands,
    ):
        yield kavach, hands


async def _race(kavach: Kavach, hands: list[Hand], kind: str, *, at_once: int) -> int:
    """How often one thing was used by so many in each process. Where it was once, the record has to say so too."""
    thing = await ONCE[kind].make(kavach)
    answers = await ask_all(hands, "use", kind, thing, at_once, time.monotonic_ns() + _LEAD)
    codes = [code for each in answers for code in each]
    used = codes.count("ok")
    assert len(codes) == _PROCESSES * at_once
    assert used != 1 or await ONCE[kind].check(kavach, *thing), codes
    return used
