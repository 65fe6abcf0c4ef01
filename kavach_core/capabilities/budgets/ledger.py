"""One budget while it is counted in, as a value: read, rolled over to now, taken from, written back.

Nothing happens when a window ends; whoever looks next sees that it has.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kavach_core.capabilities.budgets.model import Action, Holder, Measure, Period
from kavach_core.primitives.clock import NEVER, SECOND

#: What falls back does so on one of so many marks in a lease's length, so that a ledger holds few: a sixteenth late
#: at most.
_MARKS: Final = 16
#: What a refused caller is told to wait for a budget that never begins anew. Only a change of the budget helps.
_FAR: Final = 24 * 60 * 60
#: What a database can count to. Only a budget that warns and refuses nothing ever gets there, and stays.
_FULL: Final = 2**63 - 1


class Charge(NamedTuple):
    """What one call took of one budget, as far as it is needed to correct it, whatever the budget hangs on then."""

    budget_id: bytes
    #: The window it was taken from.
    window_at: int
    #: When it falls back by itself; 0 if it does not.
    lease_ends_at: int


class BudgetRow(NamedTuple):
    """A stored budget, in the order of the columns."""

    holder: bytes
    id: bytes
    measure: str
    per: str
    most: int
    action: str
    set_by: str
    window_at: int
    spent: int
    leases: str
    told_at: int | None
    created_at: int
    updated_at: int


class Ledger:
    """A budget at one moment. What is taken here counts when it is written back and committed."""

    __slots__ = ("_leases", "changed", "row", "spent", "told_at", "window_at")

    def __init__(self, row: BudgetRow, now: int) -> None:
        self.row: Final = row
        self.window_at = row.window_at
        self.spent = row.spent
        self.told_at = row.told_at
        self.changed = False
        self._leases = _read_leases(row.leases) if row.leases else {}
        start = Period(row.per).start(now)
        # Never back: a clock that is behind another process's does not open a window again that was closed.
        if start > self.window_at:
            self.window_at, self.spent, self._leases = start, 0, {}
        elif self._leases:
            self._let_fall_back(now)

    @property
    def measures_calls(self) -> bool:
        """Whether it counts calls, and not their cost."""
        return self.row.measure == Measure.CALLS

    @property
    def only_warns(self) -> bool:
        """Whether a call goes ahead although there is not enough left."""
        return self.row.action == Action.WARN

    @property
    def ends_its_holder(self) -> bool:
        """Whether what it hangs on ends when there is not enough left for a call."""
        return self.row.action == Action.REVOKE

    @property
    def is_exceeded(self) -> bool:
        """Whether more was spent than there was."""
        return self.spent > self.row.most

    @property
    def holder(self) -> Holder:
        """What it hangs on."""
        return Holder(self.row.holder)

    @property
    def left(self) -> int:
        """What may still be spent in this window."""
        return max(0, self.row.most - self.spent)

    @property
    def leases(self) -> str:
        """The reservations that may fall back, as they are stored."""
        return ",".join(f"{end}:{amount}" for end, amount in self._leases.items())

    def units(self, cost: int) -> int:
        """What a call of this cost takes."""
        return 1 if self.measures_calls else cost

    def has_room(self, units: int) -> bool:
        """Whether so much is left."""
        return units <= self.row.most - self.spent or not units

    def retry_after(self, now: int) -> int:
        """Whole seconds until the next window, or until a reservation may fall back."""
        end = min([Period(self.row.per).end(self.window_at), *self._leases])
        return _FAR if end == NEVER else max(1, -((now - end) // SECOND))

    def take(self, units: int, *, lease_ends_at: int = 0) -> Charge:
        """Count units; with a lease they fall back when it ends."""
        self.spent = min(self.spent + units, _FULL)
        self.changed = True
        if lease_ends_at and units:
            self._leases[lease_ends_at] = self._leases.get(lease_ends_at, 0) + units
        return Charge(self.row.id, self.window_at, lease_ends_at)

    def has_let_go(self, charge: Charge, reserved: int) -> bool:
        """Whether what a call had reserved has fallen back already, in the window that is open."""
        held = self._leases.get(charge.lease_ends_at, 0) if charge.lease_ends_at else reserved
        return charge.window_at == self.window_at and held < reserved

    def correct(self, charge: Charge, reserved: int, actual: int) -> bool:
        """Put what a call cost in the place of what it had reserved; False, and nothing, if its window is over."""
        if charge.window_at != self.window_at:
            return False
        if charge.lease_ends_at:
            held = self._leases.pop(charge.lease_ends_at, 0)
            # By a clock that is ahead of this process's it may have fallen back already.
            reserved = min(reserved, held)
            if held > reserved:
                self._leases[charge.lease_ends_at] = held - reserved
        self.spent = min(self.spent + actual - reserved, _FULL)
        self.changed = True
        return True

    def tell(self) -> bool:
        """Whether that it was not enough is news in this window; it is told once."""
        if self.told_at == self.window_at:
            return False
        self.told_at, self.changed = self.window_at, True
        return True

    def _let_fall_back(self, now: int) -> None:
        for end in [end for end in self._leases if end <= now]:
            self.spent -= self._leases.pop(end)
            self.changed = True


def lease_end(now: int, length: int) -> int:
    """When what is reserved now for this length falls back: at most a sixteenth of it late, never early."""
    mark = length // _MARKS
    return -(-(now + length) // mark) * mark


def _read_leases(text: str) -> dict[int, int]:
    pairs = (pair.partition(":") for pair in text.split(","))
    return {int(end): int(amount) for end, _, amount in pairs}
