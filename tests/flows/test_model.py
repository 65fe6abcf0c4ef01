"""Random histories, told to Kavach and to the reference model: both must say the same, every time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kavach_core import Kavach, create_kavach
from kavach_core.errors import KavachError
from kavach_core.primitives.clock import to_datetime
from kavach_core.testing import FrozenClock
from tests.flows.reference_model import FOREVER, Call, Given, Link, Model

DAY, MINUTE = 24 * 60, 60_000_000
MOST_AGENTS = 7
PROBES = (Call("read", "a", None), Call("read", "a:b", "ab"), Call("write", "b", "b"), Call("write", "a:a:b", "ab"))

Step = tuple[str, tuple[Any, ...]]


# Histories.

permissions = st.builds(
    Given,
    st.sampled_from(["*", "*", "a", "b", "a:*", "a:b", "a:**", "*:b", "**"]).map(lambda text: "*" if text == "**" else text),
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
givers, middles = st.integers(0, 1), st.integers(2, 4)
owners = st.sampled_from(["alice", "alice", "bob"])
lives = st.sampled_from([None, None, 60, 120])
ends = st.sampled_from([None, None, None, 30, 180])
depths = st.sampled_from([None, None, None, 1, 2, 4])
calls = st.one_of(
    st.sampled_from(PROBES),
    st.builds(
        Call,
        st.sampled_from(["read", "write"]),
        st.sampled_from(["a", "b", "a:a", "a:b", "a:b:a"]),
        st.sampled_from([None, "ab", "b"]),
    ),
)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("create"), st.tuples(owners, some, lives, ends)),
    st.tuples(st.just("delegate"), st.tuples(who, lent, lives, ends, depths)),
    st.tuples(st.just("delegate"), st.tuples(who, lent, lives, ends, depths)),
    st.tuples(st.just("link"), st.tuples(who, who, lent, ends, depths)),
    st.tuples(st.just("link"), st.tuples(givers, middles, plain, st.none(), st.none())),
    st.tuples(st.just("link"), st.tuples(middles, middles, plain, st.none(), st.none())),
    st.tuples(st.just("narrow"), st.tuples(who, some)),
    st.tuples(st.just("revoke"), st.tuples(who)),
    st.tuples(st.just("cut"), st.tuples(who)),
    st.tuples(st.just("advance"), st.tuples(st.sampled_from([10, 30, 61, 180, 600]))),
    st.tuples(st.just("suspend"), st.tuples(owners)),
    st.tuples(st.just("resume"), st.tuples(owners)),
    st.tuples(st.just("call"), st.tuples(st.lists(st.tuples(who, calls), min_size=1, max_size=6))),
    st.tuples(st.just("call"), st.tuples(st.lists(st.tuples(who, calls), min_size=1, max_size=6))),
)
#: Every history begins with two who have everything and three who have nothing.
OPENING: list[Step] = [("create", ("alice", own, None, None)) for own in [[Given("*", ("*",))]] * 2 + [[]] * 3]
histories = st.lists(steps, min_size=2, max_size=16).map(lambda drawn: [*OPENING, *drawn])


# Telling a history.


class Disagreement(AssertionError):
    """Kavach and the model say different things."""


class Telling:
    """One history, told to both."""

    def __init__(self, kavach: Kavach, clock: FrozenClock, model: Model, name: int) -> None:
        self._kavach = kavach
        self._clock = clock
        self._model = model
        self._name = name
        self._ids: list[str] = []
        self._tokens: list[str] = []
        self._edges: list[str] = []
        self._paths: dict[str, list[str]] = {}

    async def tell(self, history: list[Step]) -> None:
        for verb, details in history:
            await getattr(self, f"_{verb}")(*details)
            await self._probe()
        await self._compare_paths()

    async def _create(self, owner: str, own: list[Given], ttl: int | None, expires: int | None) -> None:
        if len(self._ids) < MOST_AGENTS:
            made = self._kavach.agents.create(
                owner_id=self._owner(owner), name="x", permissions=_wire(own), ttl=_minutes(ttl), expires_at=self._end(expires)
            )
            await self._agree(self._model.create(owner, own, ttl, self._until(expires)), made)

    async def _delegate(
        self, giver: int, lent: list[Given], ttl: int | None, expires: int | None, max_depth: int | None
    ) -> None:
        if len(self._ids) < MOST_AGENTS:
            giver %= len(self._ids)
            made = self._kavach.agents.delegate(
                from_=self._ids[giver],
                permissions=_wire(lent),
                ttl=_minutes(ttl),
                expires_at=self._end(expires),
                max_depth=max_depth,
            )
            await self._agree(self._model.delegate(giver, lent, ttl, self._until(expires), max_depth), made)

    async def _link(self, giver: int, receiver: int, lent: list[Given], expires: int | None, max_depth: int | None) -> None:
        giver, receiver = giver % len(self._ids), receiver % len(self._ids)
        made = self._kavach.delegations.create(
            from_agent=self._ids[giver],
            to_agent=self._ids[receiver],
            permissions=_wire(lent),
            expires_at=self._end(expires),
            max_depth=max_depth,
        )
        await self._agree(self._model.link(giver, receiver, lent, self._until(expires), max_depth), made)

    async def _narrow(self, agent: int, own: list[Given]) -> None:
        agent %= len(self._ids)
        made = self._kavach.agents.update(self._ids[agent], permissions=_wire(own))
        await self._agree(self._model.narrow(agent, own), made)

    async def _revoke(self, agent: int) -> None:
        agent %= len(self._ids)
        self._model.agents[agent].revoked = True
        await self._kavach.agents.revoke(self._ids[agent])

    async def _cut(self, edge: int) -> None:
        if self._edges:
            edge %= len(self._edges)
            self._model.edges[edge].revoked = True
            await self._kavach.delegations.revoke(self._edges[edge])

    async def _advance(self, minutes: int) -> None:
        self._model.now += minutes
        self._clock.advance(timedelta(minutes=minutes))

    async def _suspend(self, owner: str) -> None:
        self._model.suspended.add(owner)
        await self._kavach.owners.suspend(self._owner(owner))

    async def _resume(self, owner: str) -> None:
        self._model.suspended.discard(owner)
        await self._kavach.owners.resume(self._owner(owner))

    async def _call(self, asked: list[tuple[int, Call]]) -> None:
        """Calls that wait together share a transaction and are decided in the order they came."""
        await self._compare([(agent % len(self._ids), call) for agent, call in asked], dry_run=False)

    async def _probe(self) -> None:
        """Ask everyone everything, without consequences."""
        await self._compare([(agent, call) for agent in range(len(self._ids)) for call in PROBES], dry_run=True)

    async def _compare(self, asked: list[tuple[int, Call]], *, dry_run: bool) -> None:
        decisions = await asyncio.gather(
            *[
                self._kavach.authorize(
                    self._tokens[agent],
                    action=call.action,
                    resource=call.resource,
                    arguments=None if call.q is None else {"q": call.q},
                    dry_run=dry_run,
                )
                for agent, call in asked
            ]
        )
        for (agent, call), decision in zip(asked, decisions, strict=True):
            answer = self._model.authorize(agent, call, consume=not dry_run)
            if decision.allowed != answer.allowed or decision.code.value not in answer.codes or not decision.audit_id:
                raise Disagreement(f"agent {agent}, {call}: Kavach says {decision.code}, the model {answer}")
            if decision.allowed:
                self._paths[decision.audit_id] = [self._ids[number] for number in answer.path]

    async def _compare_paths(self) -> None:
        """The record tells the same paths, one row for each decision."""
        for owner in ("alice", "bob"):
            for entry in await self._kavach.audit.query(owner_id=self._owner(owner), result="allowed", limit=10_000):
                if [link.agent_id for link in entry.path] != self._paths.pop(entry.id):
                    raise Disagreement(f"{entry} took another path")
        if self._paths:
            raise Disagreement(f"no record of {self._paths}")

    async def _agree(self, refused: set[str], made: Awaitable[Any]) -> None:
        """Make a change that the model has made, or be refused as it was."""
        try:
            result = await made
        except KavachError as error:
            if error.code not in refused:
                raise Disagreement(f"Kavach refuses with {error.code}, the model with {refused or 'nothing'}") from error
            return
        if refused:
            raise Disagreement(f"Kavach makes what the model refuses: {refused}")
        if getattr(result, "token", None):
            self._ids.append(result.id)
            self._tokens.append(result.token)
        edge = getattr(result, "delegation_id", None) or (result.id if hasattr(result, "from_agent") else None)
        if edge:
            self._edges.append(edge)

    def _owner(self, name: str) -> str:
        return f"{name}-{self._name}"

    def _until(self, minutes: int | None) -> int:
        return FOREVER if minutes is None else self._model.now + minutes

    def _end(self, minutes: int | None) -> Any:
        return None if minutes is None else self._clock.now + timedelta(minutes=minutes)


def _wire(given_: list[Given]) -> list[dict[str, Any]]:
    return [each.wire() for each in given_]


def _minutes(ttl: int | None) -> timedelta | None:
    return None if ttl is None else timedelta(minutes=ttl)


# The tests.


@pytest.fixture(scope="session")
def postgres_template(migrated_template: str) -> str:
    return migrated_template


Check = Callable[[type[Model], int], None]


@pytest.fixture
def check(database_url: str) -> Iterator[Check]:
    """Tells random histories to a model and to one Kavach, each with owners and a day of its own."""
    clock, names = FrozenClock(), iter(range(10**6))
    with asyncio.Runner() as runner:
        kavach = runner.run(create_kavach(database=database_url, clock=clock))

        def run(model: type[Model], examples: int) -> None:
            @settings(
                max_examples=examples,
                database=None,
                phases=[Phase.generate] if model is not Model else [Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(history=histories)
            def tell(history: list[Step]) -> None:
                now = (clock() // MINUTE // DAY + 1) * DAY
                clock.move_to(to_datetime(now * MINUTE))
                runner.run(Telling(kavach, clock, model(now), next(names)).tell(history))

            tell()

        yield run
        runner.run(kavach.close())


@pytest.mark.timeout(180)
def test_kavach_decides_as_the_reference_model(check: Check, request: pytest.FixtureRequest) -> None:
    check(Model, 200 if "sqlite" in request.node.callspec.id else 40)


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
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.timeout(180)
def test_the_histories_would_find_a_mistake(check: Check, broken: type[Model]) -> None:
    """The negative controls: where one of the two decides wrongly, a history shows it."""
    with pytest.raises(Disagreement):
        check(broken, 2000)
