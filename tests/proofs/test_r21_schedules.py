"""R21: failures reproduce. Histories of callers at once in an order of steps that a seed chooses, on the real SQLite
store, with its threads in steps. Whatever fails says its seed, and the seed brings it back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kavach_core.capabilities.approvals import queries as approvals
from kavach_core.capabilities.audit import queries as audit
from kavach_core.capabilities.authorize.worker import DecisionWorker
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.limits import queries as limits
from kavach_core.capabilities.owners import queries as owners
from kavach_core.store import Transaction
from kavach_core.store.batch import BatchLane, Traffic, Transact
from kavach_core.store.migrate import migrate
from kavach_core.store.store import same_turn
from tests.proofs.histories import Outcome, run_history
from tests.proofs.stepping import SteppedStore

#: Schedules that share a file, which grows with each.
_A_FILE = 5_000


def migrated(folder: Path, name: str = "kavach") -> str:
    """A file for histories, in the place of an older one of that name."""
    for old in folder.glob(f"{name}.db*"):
        old.unlink()
    asyncio.run(migrate(f"sqlite:///{folder / name}.db"))
    return f"{folder / name}.db"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A migrated file."""
    return migrated(tmp_path)


@pytest.mark.parametrize("schedules", [200, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_every_order_of_steps_leaves_the_record_whole(
    tmp_path: Path, schedules: int, figure: Callable[[str], None]
) -> None:
    codes: Counter[str] = Counter()
    steps, path = 0, ""
    for seed in range(schedules):
        path = path if seed % _A_FILE else migrated(tmp_path)
        outcome = run_history(path, seed)
        assert not outcome.wrong, f"seed {seed}: {outcome.wrong}"
        codes.update(each.code for each in outcome.told)
        steps += len(outcome.trace)
    figure(
        f"R21 schedules that break a promise: 0 of {schedules:,} seeds, {codes.total():,} actions in {steps:,} steps,"
        f" {codes['ALLOWED']:,} allowed, {codes['cancelled']:,} cancelled, {codes['too long']:,} told to come back"
    )
    assert {"ALLOWED", "BUDGET_EXCEEDED", "RATE_LIMITED", "APPROVAL_REQUIRED", "cancelled", "too long"} <= codes.keys()


def test_a_seed_is_one_order_of_events(path: str, tmp_path: Path) -> None:
    other = migrated(tmp_path, "other")
    for seed in range(20):
        first, again = run_history(path, seed), run_history(other, seed)
        assert first.trace == again.trace
        assert _without_ids(first) == _without_ids(again)
    assert len({tuple(run_history(path, seed).trace) for seed in range(100, 120)}) == 20


class Forgetful(BatchLane[Any, Any]):
    """Decides before its batch whether anybody waits, so who comes during the last batch is not seen."""

    async def step(self, transact: Transact) -> bool:
        more = len(self._waiting) > self._traffic.most
        await super().step(transact)
        self._busy = more
        return more


class ForgetfulStore(SteppedStore):
    """A store with such a lane."""

    def lane(self, worker: Any, *, turn_of: Any = same_turn, **traffic: Any) -> BatchLane[Any, Any]:
        several = Traffic(256, traffic["max_waiting"], traffic["patience"], turn_of)
        return Forgetful(worker, traffic=several, require_open=self._require_open, wake=self._serve)


def test_a_planted_race_is_found_and_its_seed_brings_it_back(path: str, tmp_path: Path) -> None:
    """The negative control."""
    seed, found = _first_failure(path, ForgetfulStore)
    assert any("forgotten" in each or "still waits" in each for each in found.wrong)
    other = migrated(tmp_path, "other")
    again = run_history(other, seed, make_store=ForgetfulStore)
    assert again.trace == found.trace and _without_ids(again) == _without_ids(found)
    assert not run_history(other, seed + 1_000_000).wrong


async def _nothing(*args: object, **more: object) -> None:
    """In the place of what is forgotten."""


async def _suspended_late(tx: Transaction, project: str, owner_id: str) -> bool:
    """Says that it is done, and has done nothing."""
    return True


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (budgets, "write", _nothing),
        (budgets, "reserve", _nothing),
        (limits, "write", _nothing),
        (approvals, "use", _nothing),
        (audit, "insert", _nothing),
        (owners, "suspend", _suspended_late),
        (DecisionWorker, "committed", lambda worker: None),
    ],
)
def test_the_same_checks_catch_what_is_half_done(
    path: str, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Callable[..., Awaitable[object]]
) -> None:
    """The other negative controls: each time one part of a change is left out."""
    monkeypatch.setattr(where, name, instead)
    _first_failure(path, SteppedStore)


def _first_failure(path: str, make_store: Callable[..., SteppedStore]) -> tuple[int, Outcome]:
    for seed in range(500):
        outcome = run_history(path, seed, make_store=make_store)
        if outcome.wrong:
            return seed, outcome
    pytest.fail("500 schedules found nothing")


def _without_ids(outcome: Outcome) -> Sequence[tuple[object, ...]]:
    return [(each.who, each.verb, each.began, each.ended, each.code, each.cost) for each in outcome.told]
