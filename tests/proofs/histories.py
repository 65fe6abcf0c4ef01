"""Small histories of callers who do things at once, and what must be true of each however its steps were ordered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from kavach_core import Decision, Kavach
from kavach_core.config import load_config
from kavach_core.errors import KavachError, StoreUnavailable
from kavach_core.runtime import Runtime
from kavach_core.store import Store
from tests.capabilities.support import limited
from tests.proofs.stepping import SteppedStore, SteppingLoop, Stuck, run_stepped

CALLS, COST, RATE = 8, 150, 2
#: What a caller may do next, and how often it is chosen.
_VERBS = {
    "read": 10,
    "list": 4,
    "pay": 5,
    "settle": 5,
    "approve": 4,
    "deny": 1,
    "verify": 2,
    "cancel": 3,
    "suspend": 0.6,
    "resume": 1.5,
    "revoke": 0.4,
    "close": 0.3,
}
#: What somebody may hear who is not told the truth about a decision: it may or may not have been made.
_LOST = ("cancelled", "STORE_UNAVAILABLE", "too long")
#: And what else may come of an action that is no decision.
_FINE = frozenset({"ok", "CONFLICT", "FINAL_STATE", "NOT_FOUND", *_LOST})

MakeStore = Callable[[SteppingLoop, str], Store]


@dataclass(frozen=True, slots=True)
class Told:
    """One action: the steps at which it began and ended, and what whoever did it was told."""

    who: int
    verb: str
    began: int
    ended: int
    code: str
    audit_id: str | None = None
    cost: int | None = None


@dataclass(slots=True)
class World:
    """One project with one agent, and what its callers know of each other."""

    loop: SteppingLoop
    kavach: Kavach
    agent_id: str = ""
    token: str = ""
    told: list[Told] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    settleable: list[str] = field(default_factory=list)
    approvals: list[str] = field(default_factory=list)


async def play(loop: SteppingLoop, store: Store, project: str) -> World:
    """Let a few callers do what chance has them do, all at once, and close."""
    config = load_config(database="sqlite:///unused.db", project=project, clock=loop.clock)
    world = World(loop, Kavach(Runtime(store, config)))
    try:
        await _prepare(world)
        chance = loop.chance
        plans = [
            chance.choices(list(_VERBS), list(_VERBS.values()), k=chance.randint(1, 5))
            for _ in range(chance.randint(3, 9))
        ]
        world.tasks = [loop.create_task(_act(world, who, plan)) for who, plan in enumerate(plans)]
        await asyncio.wait(world.tasks)
        for task in world.tasks:
            if not task.cancelled():
                task.result()
    finally:
        await world.kavach.close()
    return world


async def _prepare(world: World) -> None:
    agent = await world.kavach.agents.create(
        owner_id="alice",
        name="agent",
        permissions=[
            "read:repos",
            limited("repos", "list", maxCallsPerHour=RATE),
            limited("bills", "pay", requireApproval=True),
        ],
    )
    world.agent_id, world.token = agent.id, agent.token or ""
    for measure, limit in (("calls", CALLS), ("cost", COST)):
        await world.kavach.budgets.create(measure=measure, limit=limit, per="forever", agent_id=agent.id)


async def _act(world: World, who: int, plan: Sequence[str]) -> None:
    for planned in plan:
        verb, began = _possible(world, planned), len(world.loop.trace)
        code, audit_id, cost = "cancelled", None, None
        try:
            if verb in ("read", "list", "pay"):
                cost = world.loop.chance.choice([None, 0, 10, 40, 90]) if verb == "read" else None
                decision = await _decide(world, verb, cost)
                code, audit_id = decision.code.value, decision.audit_id
            else:
                code = await _ACTIONS[verb](world)
        except StoreUnavailable as error:
            code = "too long" if "too long" in error.message else error.public_code
        except KavachError as error:
            code = error.public_code
        finally:
            world.told.append(Told(who, verb, began, len(world.loop.trace), code, audit_id, cost))


def _possible(world: World, verb: str) -> str:
    """Where there is nothing to settle or answer yet, the call that makes such a thing."""
    if verb == "settle" and not world.settleable:
        return "read"
    return "pay" if verb in ("approve", "deny") and not world.approvals else verb


async def _decide(world: World, verb: str, cost: int | None) -> Decision:
    decision = await world.kavach.authorize(
        world.token,
        action=verb,
        resource="bills" if verb == "pay" else "repos",
        arguments={"to": world.loop.chance.choice(["bob", "eve"])} if verb == "pay" else None,
        cost=cost,
    )
    if decision.allowed and cost is not None and decision.audit_id:
        world.settleable.append(decision.audit_id)
    if decision.approval_id is not None:
        world.approvals.append(decision.approval_id)
    return decision


async def _settle(world: World) -> str:
    await world.kavach.settle(world.loop.chance.choice(world.settleable), world.loop.chance.choice([0, 5, 60]))
    return "ok"


def _answer(verb: str) -> Callable[[World], Awaitable[str]]:
    async def answer(world: World) -> str:
        await getattr(world.kavach.approvals, verb)(world.loop.chance.choice(world.approvals), by="alice")
        return "ok"

    return answer


async def _verify(world: World) -> str:
    identity = await world.kavach.agents.verify(world.token)
    return "ok" if identity.valid else identity.code.value


async def _cancel(world: World) -> str:
    world.loop.chance.choice(world.tasks).cancel()
    await asyncio.sleep(0)
    return "ok"


def _change(change: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[str]]:
    async def carry_out(world: World) -> str:
        await change(world)
        return "ok"

    return carry_out


_ACTIONS: dict[str, Callable[[World], Awaitable[str]]] = {
    "settle": _settle,
    "approve": _answer("approve"),
    "deny": _answer("deny"),
    "verify": _verify,
    "cancel": _cancel,
    "suspend": _change(lambda world: world.kavach.owners.suspend("alice")),
    "resume": _change(lambda world: world.kavach.owners.resume("alice")),
    "revoke": _change(lambda world: world.kavach.agents.revoke(world.agent_id)),
    "close": _change(lambda world: world.kavach.close()),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed: what was told in which order of steps, and what is wrong with that."""

    told: list[Told]
    trace: list[str]
    wrong: list[str]


def run_history(path: str, seed: int, *, make_store: MakeStore = SteppedStore) -> Outcome:
    """Run the history of one seed on a migrated file. Every other seed is in a hurry."""
    project, hurry = f"seed-{seed}", bool(seed % 2)

    async def main(loop: SteppingLoop) -> World:
        return await play(loop, make_store(loop, path), project)

    loop, world, error = run_stepped(seed, main, hurry=hurry)
    if world is None:
        if not isinstance(error, Stuck):
            return Outcome([], loop.trace, [f"{type(error).__name__}: {error}"])
        return Outcome([], loop.trace, [str(error)])
    with closing(sqlite3.connect(path)) as file:
        file.row_factory = sqlite3.Row
        wrong = [*loop.complaints, *_check_told(world.told, hurry), *_check_record(file, project, world.told)]
    return Outcome(world.told, loop.trace, wrong)


def _check_told(told: Sequence[Told], hurry: bool) -> list[str]:
    """What can be seen by those who called alone."""
    wrong: list[str] = []
    revoked = min((each.ended for each in told if (each.verb, each.code) == ("revoke", "ok")), default=None)
    closed = min((each.ended for each in told if (each.verb, each.code) == ("close", "ok")), default=None)
    for each in told:
        if not hurry and each.code == "too long":
            wrong.append(f"forgotten: {each}")
        if each.verb in _ACTIONS and each.verb != "verify" and each.code not in _FINE:
            wrong.append(f"unexpected: {each}")
        let_in = each.code in ("ALLOWED", "ok") and each.verb in ("read", "list", "pay", "verify")
        if let_in and revoked is not None and each.began > revoked:
            wrong.append(f"allowed after the revoke at {revoked}: {each}")
        if let_in and _suspended_all_along(each, told):
            wrong.append(f"allowed while suspended: {each}")
        if let_in and closed is not None and each.began > closed:
            wrong.append(f"answered after the close at {closed}: {each}")
    return wrong


def _suspended_all_along(call: Told, told: Sequence[Told]) -> bool:
    """Whether the owner was suspended before the call, and nobody resumed until it was answered."""
    suspended = [each for each in told if (each.verb, each.code) == ("suspend", "ok") and each.ended < call.began]
    return any(
        not any(each.verb == "resume" and each.ended > one.began and each.began < call.ended for each in told)
        for one in suspended
    )


def _check_record(file: sqlite3.Connection, project: str, told: Sequence[Told]) -> list[str]:
    """What is on record, against what was told and against budgets that are simply counted."""
    wrong: list[str] = []
    rows = file.execute("select * from kavach_audit where project_id = ? order by sequence", (project,)).fetchall()
    if [row["sequence"] for row in rows] != list(range(len(rows))) or len({row["writer"] for row in rows}) > 1:
        wrong.append("the record has gaps, or two writers")
    if [row["id"] for row in rows] != sorted(row["id"] for row in rows):
        wrong.append("ids and sequence disagree")
    by_id = {f"aud_{row['id'].hex()}": row for row in rows}
    known = {each.audit_id: each for each in told if each.audit_id is not None}
    wrong += [
        f"told but not on record: {each}"
        for audit_id, each in known.items()
        if audit_id not in by_id or by_id[audit_id]["code"] != each.code
    ]
    wrong += _check_counts(rows, told)
    return wrong + _Books().check(file, project, rows, known)


def _check_counts(rows: Sequence[sqlite3.Row], told: Sequence[Told]) -> list[str]:
    """Everybody who was told has one row of their own, and who was not told at most one."""
    wrong: list[str] = []
    decisions = [row for row in rows if row["code"] != "SETTLED"]
    asked = [each for each in told if each.verb in ("read", "list", "pay", "verify")]
    recorded = [each for each in asked if each.audit_id or (each.verb == "verify" and each.code not in ("ok", *_LOST))]
    lost = [each for each in asked if each.code in _LOST]
    if not len(recorded) <= len(decisions) <= len(recorded) + len(lost):
        wrong.append(f"{len(decisions)} decisions on record, {len(recorded)} told and {len(lost)} lost")
    silent = [each for each in asked if each.verb != "verify" and each.code not in _LOST and each.audit_id is None]
    wrong += [f"told without a record: {each}" for each in silent]
    settled = [row["settles"] for row in rows if row["code"] == "SETTLED"]
    if len(settled) != len(set(settled)):
        wrong.append("a decision was settled twice")
    return wrong


class _Books:
    """Budgets, rate and approvals as the record says, kept in its order; and whether the database agrees."""

    def __init__(self) -> None:
        self._calls = self._cost = self._listed = 0
        self._reserved: dict[bytes, int] = {}
        self._used: Counter[bytes] = Counter()
        self._wrong: list[str] = []

    def check(
        self,
        file: sqlite3.Connection,
        project: str,
        rows: Sequence[sqlite3.Row],
        known: dict[str, Told],
    ) -> list[str]:
        for row in rows:
            self._enter(row, known.get(f"aud_{row['id'].hex()}"))
        budgets = dict(file.execute("select measure, spent from kavach_budgets where project_id = ?", (project,)))
        self._expect("budgets", budgets, {"calls": self._calls, "cost": self._cost})
        reserved = file.execute("select audit_id, amount from kavach_reservations where project_id = ?", (project,))
        self._expect("reservations", dict(tuple(row) for row in reserved), self._reserved)
        used = file.execute("select id from kavach_approvals where project_id = ? and status = 'used'", (project,))
        self._expect("approvals used", Counter(row[0] for row in used), self._used)
        (counted,) = file.execute("select count(*) from kavach_approvals where project_id = ?", (project,)).fetchone()
        (asked,) = file.execute(
            "select count(*) from kavach_events where project_id = ? and type = 'approval.requested'", (project,)
        ).fetchone()
        self._expect("approvals and their events", counted, asked)
        return self._wrong

    def _enter(self, row: sqlite3.Row, told: Told | None) -> None:
        code, cost = row["code"], row["cost"] or 0
        if code == "ALLOWED":
            self._take(row, cost)
        elif code == "SETTLED":
            self._cost += cost
            self._reserved.pop(row["settles"], None)
        elif code == "BUDGET_EXCEEDED" and told is not None:
            asked = told.cost or 0
            if self._calls < CALLS and (not asked or asked <= COST - self._cost):
                self._wrong.append(f"refused although there was enough: {told}")
        elif code == "RATE_LIMITED" and self._listed < RATE:
            self._wrong.append(f"refused although there was room: {told}")

    def _take(self, row: sqlite3.Row, cost: int) -> None:
        if self._calls >= CALLS or (cost and cost > COST - self._cost):
            self._wrong.append(f"overspent: {tuple(row)}")
        self._calls += 1
        self._cost += cost
        if row["cost"] is not None:
            self._reserved[row["id"]] = cost
        if row["action"] == "list":
            self._listed += 1
            if self._listed > RATE:
                self._wrong.append("more than the rate")
        if row["action"] == "pay":
            self._used[row["approval_id"]] += 1

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._wrong.append(f"{what}: {found}, but the record says {expected}")
