"""What the decisions of one batch may take, locked until its commit: rates, budgets, approvals; and what they reserved.

Everything is locked at once, taken from in memory in the order the calls arrived, and written back once. The locks are
taken kind by kind and each kind in the order of its keys, so that two batches cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kavach_core.capabilities.approvals import queries as approvals
from kavach_core.capabilities.approvals.model import OpenApproval
from kavach_core.capabilities.audit import Record
from kavach_core.capabilities.audit import queries as audit
from kavach_core.capabilities.authorize.model import Settling
from kavach_core.capabilities.authorize.outcome import Outcome, Settled
from kavach_core.capabilities.authorize.policy import Stock, Verdict, choose, holders_of, rates_of
from kavach_core.capabilities.budgets import Charge, Ledger
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.budgets.ledger import lease_end
from kavach_core.capabilities.budgets.queries import Reservation
from kavach_core.capabilities.delegation import Facts
from kavach_core.capabilities.limits import Window, keys
from kavach_core.capabilities.limits import queries as limits
from kavach_core.errors import Conflict, LeaseEnded, NotFound
from kavach_core.primitives import ids
from kavach_core.store import Transaction
from kavach_core.store.faults import RunAgain


class Claims:
    """What one batch holds, and what was taken of it."""

    def __init__(self, facts: Facts, *, settle_within: int, fall_back: bool) -> None:
        self._facts = facts
        end = facts.now + settle_within
        self._lease_ends_at = lease_end(facts.now, settle_within) if fall_back else end
        self._fall_back = fall_back
        self._stock = Stock({}, {})
        self._approvals: dict[bytes, OpenApproval] = {}
        self._reservations: dict[bytes, Reservation] = {}
        self._records: dict[bytes, Record] = {}
        #: The budgets that what is settled was charged to, by their ids.
        self._charges: dict[bytes, Ledger] = {}
        self._taken: dict[bytes, Window] = {}
        self._charged: dict[bytes, Ledger] = {}
        self._used: dict[bytes, bytes] = {}
        self._reserved: list[Reservation] = []
        self._settled: list[bytes] = []
        #: Budgets that had not enough, and were not told about in their window before.
        self.exceeded: list[Ledger] = []
        #: Budgets that end what they hang on, because there was not enough in them.
        self.ending: dict[bytes, Ledger] = {}

    async def lock(
        self, tx: Transaction, project: str, outcomes: Sequence[Outcome], settlings: Sequence[Settling]
    ) -> None:
        """Lock and read everything that deciding these may look at.

        Raises `RunAgain` if budgets moved to another holder after the facts were read.
        """
        plans = [outcome.plan for outcome in outcomes if outcome.plan is not None]
        counters = {key for plan in plans for key in rates_of(plan)}
        # Nobody else asks this owner until the commit, so that how many questions wait does not change.
        counters.update(
            keys.asking(each.agent.owner_id) for each in outcomes if each.binding is not None and each.agent
        )
        windows = await limits.lock(tx, project, counters) if counters else {}
        charged = await self._lock_reservations(tx, project, settlings) if settlings else {}
        holders = {holder for plan in plans for holder in holders_of(plan)} if self._facts.any_budgets else set[bytes]()
        locking = holders.union(charged.values())
        ledgers = await budgets.lock_holders(tx, project, locking) if locking else {}
        self._stock = Stock(windows, ledgers)
        self._charges = {ledger.row.id: ledger for holder in ledgers.values() for ledger in holder} if charged else {}
        self._require_whole(holders, charged)
        bindings = {outcome.binding for outcome in outcomes if outcome.binding is not None}
        if bindings:
            self._approvals = await approvals.lock(tx, project, bindings)

    @property
    def expired_approvals(self) -> dict[bytes, bytes]:
        """Approvals that are over, by what they are bound to."""
        held = self._approvals.values()
        return {each.binding: each.id for each in held if each.expires_at <= self._facts.now}

    async def _lock_reservations(
        self, tx: Transaction, project: str, settlings: Sequence[Settling]
    ) -> dict[bytes, bytes]:
        """Lock what was reserved; returns the budgets that were charged, with what they hang on now."""
        audit_ids = [each.audit_id for each in settlings]
        self._reservations = await budgets.lock_reservations(tx, project, audit_ids)
        self._records = {row.id: row for row in await audit.records(tx, project, audit_ids)}
        charges = {charge.budget_id for each in self._reservations.values() for charge in each.charges}
        return await budgets.holders_now(tx, project, charges) if charges else {}

    def _require_whole(self, holders: set[bytes], charged: Mapping[bytes, bytes]) -> None:
        noted = self._facts.budgets_by_holder() if holders else {}
        moved = any(len(self._stock.ledgers[holder]) < noted[holder] for holder in holders)
        if moved or any(budget_id not in self._charges for budget_id in charged):
            raise RunAgain

    def choose(self, outcome: Outcome) -> Verdict:
        """Decide the counted part of one call against what is left for it."""
        if outcome.agent is None or outcome.plan is None:
            raise RuntimeError("only a plan of an agent is chosen from")
        approval = None if outcome.binding is None else self._approvals.get(outcome.binding)
        cost = outcome.question.cost or 0
        return choose(outcome.agent, outcome.plan, self._facts, self._stock, approval=approval, cost=cost)

    def take(self, outcome: Outcome) -> None:
        """Take what a call uses up if it is allowed, all of it; and note the budgets that had not enough for it."""
        verdict = outcome.verdict
        if verdict is None or outcome.question.dry_run:
            return
        for ledger in verdict.short:
            self._note_exceeded(ledger)
        if outcome.consumes and outcome.record_id is not None:
            self._take(outcome, verdict, outcome.record_id)

    def _take(self, outcome: Outcome, verdict: Verdict, record_id: bytes) -> None:
        for key in verdict.rates:
            window = self._stock.windows[key]
            window.take()
            self._taken[key] = window
        if verdict.approval is not None and outcome.binding is not None:
            self._used[verdict.approval] = record_id
            del self._approvals[outcome.binding]
        self._charge(outcome.question.cost, verdict, record_id)

    def _charge(self, cost: int | None, verdict: Verdict, record_id: bytes) -> None:
        lease = self._lease_ends_at if self._fall_back else 0
        charges: list[Charge] = []
        for ledger in verdict.budgets:
            self._charged[ledger.row.id] = ledger
            if ledger.measures_calls:
                ledger.take(1)
            elif cost is not None:
                charges.append(ledger.take(cost, lease_ends_at=lease))
        if cost is not None:
            self._reserved.append(Reservation(record_id, cost, tuple(charges), self._lease_ends_at))

    def _note_exceeded(self, ledger: Ledger) -> None:
        self._charged[ledger.row.id] = ledger
        if ledger.tell():
            self.exceeded.append(ledger)
        if ledger.ends_its_holder:
            self.ending[ledger.row.holder] = ledger

    def settle(self, settling: Settling, record_id: bytes) -> Settled:
        """Put what a call cost in the place of what it reserved.

        Raises `NotFound` for a decision that is not on record, `Conflict` for one that reserved nothing or is settled,
        `LeaseEnded`.
        """
        record = self._records.get(settling.audit_id)
        if record is None:
            raise NotFound("There is no such audit entry.")
        reservation = self._reservations.pop(settling.audit_id, None)
        if reservation is None:
            raise Conflict("This decision reserved nothing, or is settled.", details={"auditId": settling.public_id})
        if reservation.lease_ends_at <= self._facts.now or self._fell_back(reservation):
            raise LeaseEnded("The time to settle this decision is over.", details={"auditId": settling.public_id})
        corrected = self._correct(reservation, settling.actual)
        exceeded = [ledger for ledger in corrected if ledger.is_exceeded and settling.actual > reservation.amount]
        for ledger in exceeded:
            self._note_exceeded(ledger)
        self._settled.append(settling.audit_id)
        return Settled(
            settling=settling,
            record=record,
            reserved=reservation.amount,
            exceeded=tuple(ids.BUDGET.text(ledger.row.id) for ledger in exceeded),
            record_id=record_id,
        )

    def _fell_back(self, reservation: Reservation) -> bool:
        """Whether somebody else, who read the time later and came first, may have been given what it held."""
        charged = ((self._charges.get(charge.budget_id), charge) for charge in reservation.charges)
        return any(ledger is not None and ledger.has_let_go(charge, reservation.amount) for ledger, charge in charged)

    def _correct(self, reservation: Reservation, actual: int) -> list[Ledger]:
        """Correct every budget that was charged and is still there; returns those whose window is still open."""
        corrected: list[Ledger] = []
        for charge in reservation.charges:
            ledger = self._charges.get(charge.budget_id)
            if ledger is not None and ledger.correct(charge, reservation.amount, actual):
                self._charged[ledger.row.id] = ledger
                corrected.append(ledger)
        return corrected

    async def write(self, tx: Transaction, project: str) -> None:
        """Write back what was taken."""
        if self._taken:
            await limits.write(tx, project, self._taken)
        if self._charged:
            await budgets.write(tx, project, self._charged.values())
        if self._used:
            await approvals.use(tx, project, self._used)
        if self._settled:
            await budgets.forget(tx, project, self._settled)
        if self._reserved:
            await budgets.reserve(tx, project, self._reserved)
