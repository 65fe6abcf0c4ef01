"""One budget as a value: windows of the calendar, reservations that fall back once, corrections."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core.capabilities.budgets import Charge, Ledger
from kavach_core.capabilities.budgets.ledger import BudgetRow, lease_end
from kavach_core.capabilities.budgets.model import Holder, Period
from kavach_core.primitives.clock import DAY, HOUR, MINUTE, NEVER, SECOND, to_datetime, to_micros

NOON = to_micros(datetime(2030, 1, 31, 12, tzinfo=UTC))
LEASE = 16 * MINUTE


def row(**terms: Any) -> BudgetRow:
    usual = BudgetRow(
        holder=Holder.project().raw,
        id=bytes(16),
        measure="cost",
        per="forever",
        most=10,
        action="block",
        set_by="app",
        window_at=0,
        spent=0,
        leases="",
        told_at=None,
        created_at=0,
        updated_at=0,
    )
    return usual._replace(**terms)


def stored(ledger: Ledger) -> BudgetRow:
    """What is written back of a budget."""
    return ledger.row._replace(
        window_at=ledger.window_at, spent=ledger.spent, leases=ledger.leases, told_at=ledger.told_at
    )


# Windows.


@pytest.mark.parametrize(
    "per, now, start, end",
    [
        ("hour", "2030-01-01T12:59:59.999999", "2030-01-01T12:00", "2030-01-01T13:00"),
        ("hour", "2030-01-01T13:00", "2030-01-01T13:00", "2030-01-01T14:00"),
        ("day", "2030-12-31T23:59:59.999999", "2030-12-31", "2031-01-01"),
        ("day", "2032-02-29", "2032-02-29", "2032-03-01"),
        ("month", "2030-01-31T23:59:59.999999", "2030-01-01", "2030-02-01"),
        ("month", "2030-02-28T12:00", "2030-02-01", "2030-03-01"),
        ("month", "2032-02-29T23:59:59.999999", "2032-02-01", "2032-03-01"),
        ("month", "2100-02-28", "2100-02-01", "2100-03-01"),
        ("month", "2030-04-30", "2030-04-01", "2030-05-01"),
        ("month", "2030-12-01", "2030-12-01", "2031-01-01"),
        ("forever", "2030-01-01", "1970-01-01", None),
    ],
)
def test_a_window_is_that_of_the_calendar(per: str, now: str, start: str, end: str | None) -> None:
    begins = Period(per).start(_micros(now))
    assert begins == _micros(start)
    assert Period(per).end(begins) == (NEVER if end is None else _micros(end))


def _micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


moments = st.integers(0, to_micros(datetime(2400, 1, 1, tzinfo=UTC)))


@given(now=moments, per=st.sampled_from(Period))
def test_windows_follow_each_other_without_a_gap(now: int, per: Period) -> None:
    start = per.start(now)
    end = per.end(start)
    assert start <= now < end and per.start(start) == start == per.start(end - 1)
    if end != NEVER:
        assert per.start(end) == end
        begins = to_datetime(start)
        parts = {"hour": 3, "day": 4, "month": 5}[per]
        assert not any((begins.microsecond, begins.second, begins.minute, begins.hour, begins.day - 1)[:parts])


def test_a_window_that_was_closed_is_never_opened_again() -> None:
    """By a clock that is behind: what it takes belongs to the newer window."""
    ahead = Ledger(row(per="hour", window_at=Period.HOUR.start(NOON), spent=7), NOON + HOUR)
    ahead.take(3)
    behind = Ledger(stored(ahead), NOON)
    assert (behind.window_at, behind.spent) == (Period.HOUR.start(NOON + HOUR), 3)
    behind.take(2)
    assert Ledger(stored(behind), NOON + HOUR).spent == 5


def test_looking_changes_nothing_that_is_stored() -> None:
    for now in (NOON, NOON + HOUR, NOON + DAY):
        assert not Ledger(row(per="hour", window_at=Period.HOUR.start(NOON), spent=7), now).changed


# Counting.


def test_what_a_call_takes_depends_on_what_is_measured() -> None:
    calls, cost = Ledger(row(measure="calls"), NOON), Ledger(row(measure="cost"), NOON)
    assert (calls.measures_calls, cost.measures_calls) == (True, False)
    assert [ledger.units(units) for ledger in (calls, cost) for units in (0, 5)] == [1, 1, 0, 5]


@pytest.mark.parametrize(
    "spent, units, room, left, exceeded",
    [
        (0, 10, True, 10, False),
        (0, 11, False, 10, False),
        (9, 1, True, 1, False),
        (10, 1, False, 0, False),
        (10, 0, True, 0, False),
        (12, 0, True, 0, True),
        (12, 1, False, 0, True),
    ],
)
def test_there_is_room_for_what_is_left(spent: int, units: int, room: bool, left: int, exceeded: bool) -> None:
    """What costs nothing always passes: it takes nothing."""
    ledger = Ledger(row(spent=spent), NOON)
    assert (ledger.has_room(units), ledger.left, ledger.is_exceeded) == (room, left, exceeded)


@pytest.mark.parametrize(
    "action, warns, ends", [("warn", True, False), ("block", False, False), ("revoke", False, True)]
)
def test_what_a_budget_does_is_its_action(action: str, warns: bool, ends: bool) -> None:
    ledger = Ledger(row(action=action), NOON)
    assert (ledger.only_warns, ledger.ends_its_holder) == (warns, ends)


def test_that_it_was_not_enough_is_news_once_a_window() -> None:
    ledger = Ledger(row(per="hour", window_at=Period.HOUR.start(NOON)), NOON)
    assert [ledger.tell(), ledger.tell()] == [True, False] and ledger.changed
    again = Ledger(stored(ledger), NOON + HOUR - 1)
    assert not again.tell() and not again.changed
    assert Ledger(stored(ledger), NOON + HOUR).tell()


@pytest.mark.parametrize(
    "terms, seconds",
    [
        ({"per": "hour", "window_at": NOON}, 3600),
        ({"per": "day", "window_at": NOON - 12 * HOUR}, 12 * 3600),
        ({"per": "month", "window_at": Period.MONTH.start(NOON)}, 12 * 3600),
        ({}, 24 * 3600),
        ({"leases": f"{NOON + 90 * SECOND}:5,{NOON + 40 * SECOND}:5"}, 40),
        ({"leases": f"{NOON + 1}:5"}, 1),
        ({"leases": f"{NOON + SECOND + 1}:5"}, 2),
        ({"per": "hour", "window_at": NOON, "leases": f"{NOON + 2 * HOUR}:5"}, 3600),
        ({"per": "hour", "window_at": NOON + HOUR}, 7200),
    ],
)
def test_the_wait_is_until_the_next_window_or_the_end_of_a_lease(terms: dict[str, Any], seconds: int) -> None:
    """A day for a budget that never begins anew. Whole seconds, rounded up: who waits so long does not come early."""
    ledger = Ledger(row(spent=10, **terms), NOON)
    assert ledger.retry_after(NOON) == seconds


def test_what_only_warns_stays_full_where_the_database_cannot_count_on() -> None:
    ledger = Ledger(row(measure="cost", action="warn", spent=2**63 - 3), NOON)
    charge = ledger.take(2**53 - 1)
    assert ledger.spent == 2**63 - 1
    assert ledger.correct(charge, 0, 5) and ledger.spent == 2**63 - 1
    assert ledger.correct(charge, 7, 5) and ledger.spent == 2**63 - 3


# Leases.


@given(now=moments, length=st.integers(SECOND, 10 * DAY))
def test_a_lease_ends_a_sixteenth_late_at_most_and_never_early(now: int, length: int) -> None:
    end = lease_end(now, length)
    assert now + length <= end <= now + length + length // 16
    # So few marks that a ledger stays short.
    marks = {lease_end(now + step * length // 100, length) for step in range(100)}
    assert len(marks) <= 18


def test_what_is_reserved_falls_back_when_its_lease_ends_and_once() -> None:
    ledger, end = Ledger(row(), NOON), lease_end(NOON, LEASE)
    ledger.take(3, lease_ends_at=end)
    ledger.take(2, lease_ends_at=end)
    ledger.take(4)
    ledger.take(0, lease_ends_at=end + 1)  # nothing is nothing to keep in mind
    assert (ledger.spent, ledger.leases) == (9, f"{end}:5")
    kept = Ledger(stored(ledger), end - 1)
    assert (kept.spent, kept.changed) == (9, False)
    for _ in range(2):
        kept = Ledger(stored(kept), end)
        assert (kept.spent, kept.leases) == (4, "")
    assert Ledger(stored(ledger), end).changed and not kept.changed
    assert Ledger(stored(kept), end - 1).spent == 4  # by a clock that is behind, too


def test_a_correction_takes_its_own_share_of_a_mark() -> None:
    ledger, end = Ledger(row(), NOON), lease_end(NOON, LEASE)
    first, second = (ledger.take(units, lease_ends_at=end) for units in (3, 5))
    assert ledger.correct(first, 3, 1) and (ledger.spent, ledger.leases) == (6, f"{end}:5")
    assert ledger.correct(second, 5, 9) and (ledger.spent, ledger.leases) == (10, "")
    assert Ledger(stored(ledger), end).spent == 10


def test_a_charge_says_what_was_taken_of_what_and_when() -> None:
    ledger = Ledger(row(id=bytes(15) + b"b", per="hour", window_at=Period.HOUR.start(NOON)), NOON)
    assert ledger.take(5) == Charge(bytes(15) + b"b", Period.HOUR.start(NOON), 0)
    assert ledger.take(0, lease_ends_at=7) == Charge(bytes(15) + b"b", Period.HOUR.start(NOON), 7)


def test_a_window_that_is_over_is_not_corrected() -> None:
    ledger = Ledger(row(per="hour", window_at=Period.HOUR.start(NOON)), NOON)
    charge = ledger.take(5)
    later = Ledger(stored(ledger), NOON + HOUR)
    assert not later.correct(charge, 5, 9)
    assert (later.spent, later.changed, ledger.changed) == (0, False, True)


def test_what_has_fallen_back_by_a_clock_that_is_ahead_is_not_taken_off_twice() -> None:
    ledger, end = Ledger(row(), NOON), lease_end(NOON, LEASE)
    charge = ledger.take(5, lease_ends_at=end)
    ahead = Ledger(stored(ledger), end)
    behind = Ledger(stored(ahead), end - 1)
    assert behind.correct(charge, 5, 3) and behind.spent == 3


# Everything together.


class Step(NamedTuple):
    """One thing that happens to a budget."""

    verb: str
    after: int
    units: int
    which: int


@dataclass
class Spending:
    """One call: what it reserved, and what became of that."""

    charge: Charge
    reserved: int
    costs: int
    settled: bool = False


@dataclass
class Told:
    """A budget by its history: every call is kept, and everything else is worked out from them."""

    per: Period
    window: int = 0
    calls: list[Spending] = field(default_factory=list)

    def spent(self, now: int) -> int:
        self.window = max(self.window, self.per.start(now))
        for call in self.calls:
            if not call.settled and 0 < call.charge.lease_ends_at <= now:
                call.costs = 0
        return sum(call.costs for call in self.calls if call.charge.window_at == self.window)


steps = st.builds(
    Step,
    st.sampled_from(["take", "take", "lease", "lease", "settle", "settle", "look"]),
    st.sampled_from([0, 1, SECOND, MINUTE, 5 * MINUTE, LEASE, HOUR, DAY, 31 * DAY]),
    st.integers(0, 9),
    st.integers(0, 9),
)


@given(per=st.sampled_from(Period), start=moments, history=st.lists(steps, max_size=25))
def test_a_budget_that_is_read_and_written_each_time_counts_as_its_history_says(
    per: Period, start: int, history: list[Step]
) -> None:
    now, told, kept = start, Told(per), row(per=per.value, window_at=per.start(start))
    for step in history:
        now += step.after
        ledger = Ledger(kept, now)
        assert ledger.spent == told.spent(now)
        if step.verb in ("take", "lease"):
            end = lease_end(now, LEASE) if step.verb == "lease" else 0
            told.calls.append(Spending(ledger.take(step.units, lease_ends_at=end), step.units, step.units))
        elif step.verb == "settle":
            open_ = [
                call
                for call in told.calls
                if not call.settled and (now < call.charge.lease_ends_at or not call.charge.lease_ends_at)
            ]
            for call in open_[step.which : step.which + 1]:
                call.settled = True
                assert ledger.correct(call.charge, call.reserved, step.units) is (call.charge.window_at == told.window)
                call.costs = step.units
        assert ledger.spent == told.spent(now) >= 0
        kept = stored(ledger) if ledger.changed else kept
        assert Ledger(kept, now).spent == ledger.spent and Ledger(kept, now).leases == ledger.leases


@given(history=st.lists(st.tuples(steps, st.booleans()), max_size=25))
def test_clocks_that_disagree_count_nothing_below_none_and_lose_nothing(history: list[tuple[Step, bool]]) -> None:
    """Two processes, one of them behind. When every lease has ended, what is left is what was settled or kept."""
    now, costs, open_, kept = NOON, 0, list[tuple[Charge, int]](), row()
    for step, is_behind in history:
        now += min(step.after, 5 * MINUTE)
        moment = now - LEASE // 2 if is_behind else now
        ledger = Ledger(kept, moment)
        if step.verb == "take":
            ledger.take(step.units)
            costs += step.units
        elif step.verb == "lease":
            open_.append((ledger.take(step.units, lease_ends_at=lease_end(moment, LEASE)), step.units))
        elif step.verb == "settle" and step.which < len(open_) and open_[step.which][0].lease_ends_at > moment:
            charge, reserved = open_.pop(step.which)
            assert ledger.correct(charge, reserved, step.units)
            costs += step.units
        assert ledger.spent >= 0
        kept = stored(ledger) if ledger.changed else kept
    assert Ledger(kept, now + 2 * LEASE).spent == costs
