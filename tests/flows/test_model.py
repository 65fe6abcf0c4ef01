"""Random histories, told to Kavach and to the reference model: both must say the same, every time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kavach_core import Decision, Delegation, Kavach, create_kavach
from kavach_core.capabilities.delegation import Facts
from kavach_core.errors import KavachError
from kavach_core.primitives.clock import to_datetime
from kavach_core.testing import FrozenClock
from tests.flows.reference_model import FOREVER, Answer, Call, Given, Link, Model

DAY, MINUTE = 24 * 60, 60_000_000
MOST_AGENTS = 9
PROBES = (Call("read", "a", None), Call("read", "a:b", "ab"), Call("write", "b", "b"), Call("write", "a:a:b", "ab"))

Step = tuple[str, tuple[Any, ...]]


# Histories.

permissions = st.builds(
    Given,
    st.sampled_from(["*", "*", "a", "b", "a:*", "a:b", "a:**", "*:b", "**"]).map(
        lambda text: "*" if text == "**" else text
    ),
    st.sampled_from([("read",), ("write",), ("read", "write"), ("*",)]),
    st.sampled_from([None, None, None, 0, 1, 2]),
    st.sampled_from([None, None, None, (9, 17), (10, 12), (22, 6)]),
    st.sampled_from([None, None, None, "a*", "ab", "*"]),
    st.sampled_from([False] * 7 + [True]),
)


def _one_rate(given_: list[Given]) -> list[Given]:
    """Of two rates for one call it is open which is taken; so a list has one at most, and each resource once."""
    kept: dict[str, Given] = {}
    for each in given_:
        rated = any(other.rate is not None for other in kept.values())
        kept.setdefault(each.resource, each if each.rate is None or not rated else Given(each.resource, each.actions))
    return list(kept.values())


some = st.lists(permissions, max_size=3).map(_one_rate)
lent = st.one_of(
    st.lists(permissions, min_size=1, max_size=2).map(_one_rate),
    st.sampled_from([[Given("a", ("read",))], [Given("a:b", ("read",)), Given("b", ("write",))], [Given("*", ("*",))]]),
)
plain = st.sampled_from([[Given("a", ("read",))], [Given("*", ("read",))]])
who = st.integers(0, MOST_AGENTS - 1)
roots, others = st.integers(0, 2), st.integers(3, 5)
owners = st.sampled_from(["alice", "bob", "bob"])
lives = st.sampled_from([None, None, 60, 120])
ends = st.sampled_from([None, None, None, 30, 180])
depths = st.sampled_from([None, None, None, 1, 2, 4])
none = st.none()
calls = st.one_of(
    st.sampled_from(PROBES),
    st.builds(
        Call,
        st.sampled_from(["read", "write"]),
        st.sampled_from(["a", "b", "a:a", "a:b", "a:b:a"]),
        st.sampled_from([None, "ab", "b"]),
    ),
)
together = st.lists(st.tuples(who, calls), min_size=1, max_size=6)


def _step(verb: str, *details: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(verb), st.tuples(*details))


building = st.one_of(
    _step("create", owners, some, lives, ends),
    _step("delegate", who, lent, lives, ends, depths),
    _step("delegate", who, plain, lives, none, none),
    _step("link", who, who, lent, ends, depths),
    _step("link", roots, others, plain, none, none),
    _step("link", others, others, plain, none, none),
)
changing = st.one_of(
    _step("cut", who),
    _step("cut", who),
    _step("narrow", who, some),
    _step("revoke", who),
    _step("advance", st.sampled_from([10, 30, 61, 180, 600])),
    _step("advance", st.sampled_from([10, 30])),
    _step("suspend", owners),
    _step("resume", owners),
    _step("resume", owners),
    _step("call", together),
    _step("call", together),
)
#: Every history begins with two who have everything, one who may do little often, and three who have nothing; the first
#: of these gets the same from two, and hands it on.
OPENING: list[Step] = [
    *(
        ("create", ("alice", own, None, None))
        for own in ([Given("*", ("*",))], [Given("*", ("*",))], [Given("*", ("read",), rate=1)], [], [], [])
    ),
    *(("link", (giver, receiver, [Given("a", ("read",))], None, None)) for giver, receiver in ((0, 3), (1, 3), (3, 4))),
]
histories = st.builds(
    lambda first, then: [*OPENING, *first, *then],
    st.lists(building, min_size=2, max_size=5),
    st.lists(st.one_of(building, changing, changing), min_size=4, max_size=8),
)


# The worlds a history is told to.


class World(Protocol):
    """What the model is compared with. Agents and delegations are numbered in the order of their making; ends are
    minutes from now. A change answers with the codes that refuse it; a call with an answer of one code.
    """

    async def create(self, owner: str, own: list[Given], ttl: int | None, ends: int | None) -> set[str]: ...
    async def delegate(
        self, giver: int, lent: list[Given], ttl: int | None, ends: int | None, max_depth: int | None
    ) -> set[str]: ...
    async def link(
        self, giver: int, receiver: int, lent: list[Given], ends: int | None, max_depth: int | None
    ) -> set[str]: ...
    async def narrow(self, agent: int, own: list[Given]) -> set[str]: ...
    async def revoke(self, agent: int) -> set[str]: ...
    async def cut(self, edge: int) -> set[str]: ...
    async def advance(self, minutes: int) -> set[str]: ...
    async def suspend(self, owner: str) -> set[str]: ...
    async def resume(self, owner: str) -> set[str]: ...
    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]: ...


class ModelWorld:
    """A model, asked in the way a Kavach is."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def create(self, owner: str, own: list[Given], ttl: int | None, ends: int | None) -> set[str]:
        return self.model.create(owner, own, ttl, self._at(ends))

    async def delegate(
        self, giver: int, lent: list[Given], ttl: int | None, ends: int | None, max_depth: int | None
    ) -> set[str]:
        return self.model.delegate(giver, lent, ttl, self._at(ends), max_depth)

    async def link(
        self, giver: int, receiver: int, lent: list[Given], ends: int | None, max_depth: int | None
    ) -> set[str]:
        return self.model.link(giver, receiver, lent, self._at(ends), max_depth)

    async def narrow(self, agent: int, own: list[Given]) -> set[str]:
        return self.model.narrow(agent, own)

    async def revoke(self, agent: int) -> set[str]:
        self.model.agents[agent].revoked = True
        return set()

    async def cut(self, edge: int) -> set[str]:
        self.model.edges[edge].revoked = True
        return set()

    async def advance(self, minutes: int) -> set[str]:
        self.model.now += minutes
        return set()

    async def suspend(self, owner: str) -> set[str]:
        self.model.suspended.add(owner)
        return set()

    async def resume(self, owner: str) -> set[str]:
        self.model.suspended.discard(owner)
        return set()

    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]:
        return [self.model.authorize(agent, call, consume=consume) for agent, call in asked]

    def _at(self, ends: int | None) -> int:
        return FOREVER if ends is None else self.model.now + ends


class KavachWorld:
    """A Kavach, with owners of its own for each history."""

    def __init__(self, kavach: Kavach, clock: FrozenClock, name: int) -> None:
        self._kavach = kavach
        self._clock = clock
        self._name = name
        self._ids: list[str] = []
        self._tokens: list[str] = []
        self._edges: list[str] = []

    async def create(self, owner: str, own: list[Given], ttl: int | None, ends: int | None) -> set[str]:
        made = self._kavach.agents.create(
            owner_id=self._owner(owner), name="x", permissions=_wire(own), ttl=_ttl(ttl), expires_at=self._at(ends)
        )
        return await self._make(made)

    async def delegate(
        self, giver: int, lent: list[Given], ttl: int | None, ends: int | None, max_depth: int | None
    ) -> set[str]:
        made = self._kavach.agents.delegate(
            from_=self._ids[giver],
            permissions=_wire(lent),
            ttl=_ttl(ttl),
            expires_at=self._at(ends),
            max_depth=max_depth,
        )
        return await self._make(made)

    async def link(
        self, giver: int, receiver: int, lent: list[Given], ends: int | None, max_depth: int | None
    ) -> set[str]:
        made = self._kavach.delegations.create(
            from_agent=self._ids[giver],
            to_agent=self._ids[receiver],
            permissions=_wire(lent),
            expires_at=self._at(ends),
            max_depth=max_depth,
        )
        return await self._make(made)

    async def narrow(self, agent: int, own: list[Given]) -> set[str]:
        return await self._make(self._kavach.agents.update(self._ids[agent], permissions=_wire(own)))

    async def revoke(self, agent: int) -> set[str]:
        return await self._make(self._kavach.agents.revoke(self._ids[agent]))

    async def cut(self, edge: int) -> set[str]:
        return await self._make(self._kavach.delegations.revoke(self._edges[edge]))

    async def advance(self, minutes: int) -> set[str]:
        self._clock.advance(timedelta(minutes=minutes))
        return set()

    async def suspend(self, owner: str) -> set[str]:
        return await self._make(self._kavach.owners.suspend(self._owner(owner)))

    async def resume(self, owner: str) -> set[str]:
        return await self._make(self._kavach.owners.resume(self._owner(owner)))

    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]:
        """Calls that wait together share a transaction, and are decided in the order they came."""
        decisions = await asyncio.gather(
            *[self._decide(self._tokens[agent], call, not consume) for agent, call in asked]
        )
        page = await self._kavach.audit.query(limit=len(asked))
        entries = {entry.id: entry for entry in page}
        assert len(entries) == len(asked) and {entry.dry_run for entry in page} == {not consume}
        return [
            Answer(
                decision.allowed,
                frozenset({decision.code.value}),
                [self._ids.index(link.agent_id) for link in entries[decision.audit_id or ""].path] if decision else [],
            )
            for decision in decisions
        ]

    async def _decide(self, token: str, call: Call, dry_run: bool) -> Decision:
        arguments = None if call.q is None else {"q": call.q}
        return await self._kavach.authorize(
            token, action=call.action, resource=call.resource, arguments=arguments, dry_run=dry_run
        )

    async def _make(self, change: Awaitable[Any]) -> set[str]:
        try:
            made = await change
        except KavachError as error:
            return {error.code}
        if getattr(made, "token", None):
            self._ids.append(made.id)
            self._tokens.append(made.token)
        edge = getattr(made, "delegation_id", None) or (made.id if isinstance(made, Delegation) else None)
        if edge:
            self._edges.append(edge)
        return set()

    def _owner(self, name: str) -> str:
        return f"{name}-{self._name}"

    def _at(self, ends: int | None) -> datetime | None:
        return None if ends is None else self._clock.now + timedelta(minutes=ends)


def _wire(given_: list[Given]) -> list[dict[str, Any]]:
    return [each.wire() for each in given_]


def _ttl(minutes: int | None) -> timedelta | None:
    return None if minutes is None else timedelta(minutes=minutes)


# Telling.


class Disagreement(AssertionError):
    """The model and a world say different things."""


async def tell(history: list[Step], model: Model, world: World) -> None:
    """Tell a history to both, and after each change ask everyone everything, without consequences."""
    truth = ModelWorld(model)
    for verb, details in history:
        if verb == "call":
            await _compare(
                truth, world, [(agent % len(model.agents), call) for agent, call in details[0]], consume=True
            )
        elif (step := _numbered(verb, details, model)) is not None:
            expected, seen = await getattr(truth, verb)(*step), await getattr(world, verb)(*step)
            if bool(seen) != bool(expected) or not seen <= expected:
                raise Disagreement(f"{verb}{step}: refused with {seen}, by the model with {expected}")
            everyone = [(agent, call) for agent in range(len(model.agents)) for call in PROBES]
            await _compare(truth, world, everyone, consume=False)


def _numbered(verb: str, details: tuple[Any, ...], model: Model) -> tuple[Any, ...] | None:
    """The step with numbers of agents and delegations that exist; None if there is nothing to do."""
    if verb in ("create", "delegate") and len(model.agents) >= MOST_AGENTS:
        return None
    if verb == "cut":
        return (details[0] % len(model.edges),) if model.edges else None
    numbers = {"delegate": 1, "link": 2, "narrow": 1, "revoke": 1}.get(verb, 0)
    return (*(number % len(model.agents) for number in details[:numbers]), *details[numbers:])


async def _compare(truth: ModelWorld, world: World, asked: list[tuple[int, Call]], *, consume: bool) -> None:
    expected, seen = await truth.ask(asked, consume=consume), await world.ask(asked, consume=consume)
    for question, one, other in zip(asked, expected, seen, strict=True):
        if one.allowed != other.allowed or not other.codes <= one.codes or one.path != other.path:
            raise Disagreement(f"{question}: {other}, by the model {one}")


# The tests.


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


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


def check_kavach(database: str, runner: asyncio.Runner, examples: int, *phases: Phase) -> None:
    """Tell histories to one Kavach; each has a day of its own, and begins at its midnight."""
    clock, names = FrozenClock(), iter(range(10**6))
    kavach = runner.run(create_kavach(database=database, clock=clock))

    @histories_of(examples, *phases)
    @given(history=histories)
    def check(history: list[Step]) -> None:
        midnight = (clock() // MINUTE // DAY + 1) * DAY
        clock.move_to(to_datetime(midnight * MINUTE))
        runner.run(tell(history, Model(midnight), KavachWorld(kavach, clock, next(names))))

    try:
        check()
    finally:
        runner.run(kavach.close())


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("times", [1, pytest.param(30, marks=pytest.mark.long)])
def test_kavach_decides_as_the_reference_model(database_url: str, runner: asyncio.Runner, times: int) -> None:
    check_kavach(database_url, runner, times * (60 if database_url.startswith("sqlite") else 20), Phase.shrink)


def test_a_kavach_that_looks_at_one_link_alone_is_caught(
    sqlite_database: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: its delegations live whatever became of what they stand on."""
    monkeypatch.setattr(Facts, "_find_edge_life", lambda facts, edge_id: edge_id in facts.edges)
    with pytest.raises(Disagreement):
        check_kavach(sqlite_database, runner, 60)


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


class NeverIdle(Model):
    def ended(self, number: int) -> set[str]:
        return super().ended(number) - {"AGENT_IDLE"}


class CountsPerResource(Model):
    def rate_key(self, link: Link, given: Given, call: Call) -> object:
        return (super().rate_key(link, given, call), call.resource)


BROKEN = (
    ForgetsAncestors,
    ForgetsTheSource,
    LendsAnotherGrant,
    ForgetsTheFoundingLink,
    ForgetsSuspensions,
    NeverIdle,
    CountsPerResource,
)


@pytest.mark.parametrize("broken", BROKEN)
def test_the_histories_would_find_a_mistake(broken: type[Model], runner: asyncio.Runner) -> None:
    """The negative controls: a world that decides wrongly is told from the model by some history."""

    @histories_of(2000)
    @given(history=histories)
    def check(history: list[Step]) -> None:
        runner.run(tell(history, Model(0), ModelWorld(broken(0))))

    with pytest.raises(Disagreement):
        check()
