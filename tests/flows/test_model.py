"""Random histories, told to Kavach and to the reference model: both must say the same, every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kavach_core import create_kavach
from kavach_core.capabilities.authorize import policy
from kavach_core.capabilities.delegation import Facts
from kavach_core.primitives.clock import to_datetime
from kavach_core.testing import FrozenClock
from tests.flows.histories import Step, histories
from tests.flows.reference_grammar import Call, Given
from tests.flows.reference_model import LEASE, Decision, Link, Model, Taken
from tests.flows.worlds import Disagreement, KavachWorld, ModelWorld, Told, tell

DAY, MINUTE = 24 * 60, 60_000_000

#: Opens `proofs/conftest.py`'s way of telling figures to these tests too.
Figure = Callable[[str], None]


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    return lambda line: record_property("figure", line)


def histories_of(examples: int, *phases: Phase) -> Any:
    """Runs a test for this many histories."""
    return settings(
        max_examples=examples,
        database=None,
        # Without shrinking it is a negative control: it must find the same every time.
        derandomize=not phases,
        phases=[Phase.generate, *phases],
        suppress_health_check=list(HealthCheck),
    )


def check_kavach(database: str, runner: asyncio.Runner, examples: int, *phases: Phase) -> Told:
    """Tell histories to one Kavach; each has a day of its own, and begins at its midnight.

    On SQLite what nobody settles falls back; on PostgreSQL it stays spent.
    """
    clock, names, told = FrozenClock(), iter(range(10**6)), Told()
    release = database.startswith("sqlite")
    kavach = runner.run(
        create_kavach(
            database=database,
            clock=clock,
            unsettled="release" if release else "keep",
            settle_within=f"{LEASE}m",
            answer_within="10m",
        )
    )

    async def tell_one(history: list[Step]) -> None:
        midnight = (clock() // MINUTE // DAY + 1) * DAY
        clock.move_to(to_datetime(midnight * MINUTE))
        world = KavachWorld(kavach, clock, next(names))
        try:
            await tell(history, Model(midnight, release=release), world, told)
        finally:
            await world.leave()

    @histories_of(examples, *phases)
    @given(history=histories)
    def check(history: list[Step]) -> None:
        runner.run(tell_one(history))

    try:
        check()
    finally:
        runner.run(kavach.close())
    return told


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("times", [1, pytest.param(110, marks=pytest.mark.long)])
def test_kavach_decides_as_the_reference_model(
    database_url: str, runner: asyncio.Runner, figure: Figure, times: int
) -> None:
    kind = "sqlite" if database_url.startswith("sqlite") else "postgres"
    told = check_kavach(database_url, runner, times * {"sqlite": 45, "postgres": 20}[kind], Phase.shrink)
    figure(f"R11 disagreements with the reference model: 0 in {told.steps} steps, {told.decisions} decisions ({kind})")


def _lives_anyway(facts: Facts, edge_id: bytes) -> bool:
    """Delegations live whatever became of what they stand on."""
    return edge_id in facts.edges


def _always_usable(approval: Any, now: int) -> bool:
    """Any question to a human is as good as an answer."""
    return approval is not None


@pytest.mark.parametrize(
    "where, what, broken",
    [(Facts, "_find_edge_life", _lives_anyway), (policy, "is_usable", _always_usable)],
)
def test_a_kavach_that_is_broken_is_caught(
    sqlite_database: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, where: Any, what: str, broken: Any
) -> None:
    """The negative controls. Further mistakes are told from the model by models that make them, which is cheaper."""
    monkeypatch.setattr(where, what, broken)
    with pytest.raises(Disagreement):
        check_kavach(sqlite_database, runner, 400)


class ForgetsAncestors(Model):
    def binding(self, path: list[Link]) -> list[Link]:
        return path[-1:]


class ForgetsTheSource(Model):
    def lives(self, number: int) -> bool:
        edge = self.edges[number]
        return not (edge.revoked or self.now >= edge.expires or self.dead(edge.giver))


class LendsAnotherGrant(Model):
    """A cut link is replaced by another delegation into the same agent."""

    def lives(self, number: int) -> bool:
        edge = self.edges[number]
        if edge.revoked or self.now >= edge.expires or self.dead(edge.giver):
            return False
        return edge.source is None or any(
            self.lives(position) for position, other in enumerate(self.edges) if other.receiver == edge.giver
        )


class ForgetsTheFoundingLink(Model):
    def dead(self, number: int) -> set[str]:
        return super().dead(number) - {"CHAIN_CUT"}


class ForgetsSuspensions(Model):
    def dead(self, number: int) -> set[str]:
        return super().dead(number) - {"OWNER_SUSPENDED"}


class ForgetsTheProject(Model):
    def dead(self, number: int) -> set[str]:
        return super().dead(number) - {"PROJECT_SUSPENDED"}


class NeverIdle(Model):
    def ended(self, number: int) -> set[str]:
        return super().ended(number) - {"AGENT_IDLE"}


class CountsPerResource(Model):
    def rate_key(self, link: Link, given: Given, call: Call) -> object:
        return (super().rate_key(link, given, call), call.resource)


class ForgetsTheHuman(Model):
    def humans(self, path: list[Link]) -> list[Link]:
        return []


class ForgetsTheOwnersBudgets(Model):
    def on(self, path: list[Link]) -> list[int]:
        return [number for number in super().on(path) if self.budgets[number].holder[0] != "owner"]


class ForgetsBudgetsAbove(Model):
    """Only the acting agent pays."""

    def on(self, path: list[Link]) -> list[int]:
        return super().on(path[-1:])


class CountsForEver(Model):
    def is_charged(self, number: int, decision: Decision) -> bool:
        return not self.budgets[number].gone and self.budgets[number].measure == "cost"

    def spent(self, number: int) -> int:
        per, self.budgets[number].per = self.budgets[number].per, "forever"
        found = super().spent(number)
        self.budgets[number].per = per
        return found


class KeepsWhatFellBack(Model):
    def cost_of(self, decision: Decision) -> int:
        return (decision.cost or 0) if decision.actual is None else decision.actual


class NeverSettles(Model):
    def cost_of(self, decision: Decision) -> int:
        return decision.cost or 0


class SettlesTwice(Model):
    def settle(self, number: int, actual: int) -> set[str]:
        return super().settle(number, actual) - {"CONFLICT"}


class EndsNothing(Model):
    def end(self, number: int) -> None:
        return None


class ApprovesAnyArguments(Model):
    def about(self, call: Call) -> tuple[Any, ...]:
        return (call.action, call.resource, call.cost)


class ApprovesAnyCost(Model):
    def about(self, call: Call) -> tuple[Any, ...]:
        return (call.action, call.resource, call.q)


class UsesAnApprovalTwice(Model):
    def charge(self, path: list[Link], call: Call, taken: Taken) -> None:
        super().charge(path, call, Taken(rates=taken.rates))


class ChargesRefusedCalls(Model):
    """A rate is taken although a budget refuses the call."""

    def take(self, path: list[Link], call: Call, asked: int | None) -> Taken | None:
        taken = super().take(path, call, asked)
        if taken is not None and taken.refused == "BUDGET_EXCEEDED":
            self.charges += [(key, self.now) for key in taken.rates]
        return taken


BROKEN = (
    ForgetsAncestors,
    ForgetsTheSource,
    LendsAnotherGrant,
    ForgetsTheFoundingLink,
    ForgetsSuspensions,
    ForgetsTheProject,
    NeverIdle,
    CountsPerResource,
    ForgetsTheHuman,
    ForgetsTheOwnersBudgets,
    ForgetsBudgetsAbove,
    CountsForEver,
    KeepsWhatFellBack,
    NeverSettles,
    SettlesTwice,
    EndsNothing,
    ApprovesAnyArguments,
    ApprovesAnyCost,
    UsesAnApprovalTwice,
    ChargesRefusedCalls,
)


@pytest.fixture(scope="module")
def drawn() -> list[list[Step]]:
    """The same histories each time, drawn once for all who are told them."""
    found: list[list[Step]] = []

    @histories_of(600)
    @given(history=histories)
    def draw(history: list[Step]) -> None:
        found.append(history)

    draw()
    return found


@pytest.mark.parametrize("broken", BROKEN)
def test_the_histories_would_find_a_mistake(
    broken: type[Model], drawn: list[list[Step]], runner: asyncio.Runner
) -> None:
    """The negative controls: a world that decides wrongly is told from the model by some history."""
    with pytest.raises(Disagreement):
        for history in drawn:
            runner.run(tell(history, Model(0, release=True), ModelWorld(broken(0, release=True))))
