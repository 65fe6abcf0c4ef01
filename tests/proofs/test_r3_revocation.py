"""R3: no allow of a call that begins after an end was acknowledged. Four processes call while a fifth ends things."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from kavach_core import Kavach, create_kavach
from tests.proofs.calling import calling
from tests.proofs.crew import Hand, ask_all, crew
from tests.proofs.ends import ENDS, PROJECT_SUSPENDED, Make, Subject

_PROCESSES = 4
_PROJECTS = ("default", "suspended")
#: One call as a process saw it: when it began, when it was answered, and whether by yes.
Call = tuple[int, int, bool]


@dataclass
class Found:
    """What the histories of all processes say."""

    ends: Counter[str] = field(default_factory=Counter[str])
    #: Calls that began after an acknowledged end, and those of them that were allowed.
    after: int = 0
    late: int = 0


_scales = pytest.mark.parametrize(
    "ends", [50, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)


@_scales
async def test_no_call_begun_after_an_acknowledged_end_is_allowed(
    database_url: str, ends: int, figure: Callable[[str], None]
) -> None:
    found = await _race(database_url, "fresh", ends)
    figure(
        f"R3 allows begun after an acknowledged end: {found.late} of {found.after} calls,"
        f" {found.ends.total()} ends of {len(found.ends)} kinds, {_PROCESSES} processes ({database_url.split(':')[0]})"
    )
    assert found.late == 0
    assert found.after > _PROCESSES * found.ends.total() and len(found.ends) == len(ENDS) + 1


async def test_the_same_check_catches_a_cache_of_decisions(sqlite_database: str) -> None:
    """The negative control: with answers remembered for 50 ms, calls after an end are allowed."""
    found = await _race(sqlite_database, "cached", 10, kinds=ENDS[:-1])
    assert found.late > 0


async def _race(database: str, variant: str, ends: int, *, kinds: Sequence[Make] = ENDS) -> Found:
    found = Found()
    async with (
        await create_kavach(database=database) as kavach,
        await create_kavach(database=database, project=_PROJECTS[1]) as other,
        crew(_PROCESSES, calling, database, variant, *_PROJECTS) as hands,
    ):
        while found.ends.total() < ends:
            await other.project.resume()
            subjects = await _make_all(kavach, other, kinds, wave=found.ends.total())
            await _end_all(hands, subjects, found)
    return found


async def _make_all(kavach: Kavach, other: Kavach, kinds: Sequence[Make], *, wave: int) -> list[Subject]:
    """One of each kind, and one that hangs on a project that will be suspended."""
    made = [make(kavach, f"owner-{wave}-{number}") for number, make in enumerate(kinds)]
    return await asyncio.gather(*made, PROJECT_SUSPENDED(other, f"owner-{wave}"))


async def _end_all(hands: Sequence[Hand], subjects: list[Subject], found: Found) -> None:
    random.shuffle(subjects)
    called = [(each.project, each.credential, each.may_call) for each in subjects]
    await ask_all(hands, "begin", called)
    acknowledged: list[int | None] = []
    for three in range(0, len(subjects), 3):
        acknowledged += await asyncio.gather(*[each.end() for each in subjects[three : three + 3]])
    histories = await ask_all(hands, "stop")
    for subject, at, seen in zip(subjects, acknowledged, zip(*histories, strict=True), strict=True):
        judge(subject, at, seen, found)


def judge(subject: Subject, acknowledged: int | None, histories: Sequence[Sequence[Call]], found: Found) -> None:
    """Add what one subject's histories say. Where a call was itself the end, its answer is the acknowledgement."""
    allows = [call for calls in histories for call in calls if call[2]]
    if not subject.may_call:
        assert len(allows) == (acknowledged is None), "an approval lets one call pass, and a refusal none"
    if acknowledged is None:
        end = allows[0][1]
    else:
        end = acknowledged
        assert all(calls[-1][0] > end for calls in histories), "a process never called after the end"
    found.ends[subject.kind] += 1
    found.after += sum(began > end for calls in histories for began, _, _ in calls)
    found.late += sum(began > end for began, _, _ in allows)
