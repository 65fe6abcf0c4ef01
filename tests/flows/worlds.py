"""What a history is told to: a model, or a Kavach; and the telling, which compares the two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from kavach_core import Decision, DelegatedAgent, Delegation, Kavach
from kavach_core.errors import KavachError
from kavach_core.testing import FrozenClock
from tests.flows.histories import MOST_AGENTS, OPENING, PROBES, Step
from tests.flows.reference_grammar import Call, Given
from tests.flows.reference_model import FOREVER, Answer, Budget, Holder, Model


class World(Protocol):
    """What the model is compared with. Everything is numbered in the order of its making; ends are minutes from now.

    A change answers with the codes that refuse it; a call with an answer of one code.
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
    async def permit(self, owner: str, rights: list[Given] | None) -> set[str]: ...
    async def stop(self) -> set[str]: ...
    async def go(self) -> set[str]: ...
    async def bound(self, holder: Holder, measure: str, per: str, limit: int, action: str) -> set[str]: ...
    async def adjust(self, budget: int, limit: int, action: str) -> set[str]: ...
    async def unbound(self, budget: int) -> set[str]: ...
    async def settle(self, decision: int, actual: int) -> set[str]: ...
    async def answer(self, question: int, yes: bool) -> set[str]: ...
    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]: ...
    async def standing(self) -> list[int | None]: ...


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

    async def permit(self, owner: str, rights: list[Given] | None) -> set[str]:
        self.model.rights.pop(owner, None)
        self.model.rights.update({} if rights is None else {owner: rights})
        return set()

    async def stop(self) -> set[str]:
        self.model.stopped = True
        return set()

    async def go(self) -> set[str]:
        self.model.stopped = False
        return set()

    async def bound(self, holder: Holder, measure: str, per: str, limit: int, action: str) -> set[str]:
        self.model.budgets.append(Budget(holder, measure, per, limit, action))
        return set()

    async def adjust(self, budget: int, limit: int, action: str) -> set[str]:
        changed = self.model.budgets[budget]
        changed.limit, changed.action = limit, action
        return {"NOT_FOUND"} if changed.gone else set()

    async def unbound(self, budget: int) -> set[str]:
        was_gone, self.model.budgets[budget].gone = self.model.budgets[budget].gone, True
        return {"NOT_FOUND"} if was_gone else set()

    async def settle(self, decision: int, actual: int) -> set[str]:
        return self.model.settle(decision, actual)

    async def answer(self, question: int, yes: bool) -> set[str]:
        return self.model.answer(question, yes)

    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]:
        return [self.model.authorize(agent, call, consume=consume) for agent, call in asked]

    async def standing(self) -> list[int | None]:
        return self.model.standing()

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
        self._budgets: list[str] = []
        self._questions: list[str] = []
        self._decisions: list[str] = []

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

    async def permit(self, owner: str, rights: list[Given] | None) -> set[str]:
        said = None if rights is None else _wire(rights)
        return await self._make(self._kavach.owners.set_permissions(self._owner(owner), said))

    async def stop(self) -> set[str]:
        return await self._make(self._kavach.project.suspend())

    async def go(self) -> set[str]:
        return await self._make(self._kavach.project.resume())

    async def bound(self, holder: Holder, measure: str, per: str, limit: int, action: str) -> set[str]:
        kind, which = holder
        named = {
            "agent": lambda: {"agent_id": self._ids[which]},
            "edge": lambda: {"delegation_id": self._edges[which]},
            "owner": lambda: {"owner_id": self._owner(which)},
            "project": dict[str, str],
        }[kind]()
        made = await self._kavach.budgets.create(**named, measure=measure, per=per, limit=limit, action=action)
        self._budgets.append(made.id)
        return set()

    async def adjust(self, budget: int, limit: int, action: str) -> set[str]:
        return await self._make(self._kavach.budgets.update(self._budgets[budget], limit=limit, action=action))

    async def unbound(self, budget: int) -> set[str]:
        return await self._make(self._kavach.budgets.delete(self._budgets[budget]))

    async def settle(self, decision: int, actual: int) -> set[str]:
        return await self._make(self._kavach.settle(self._decisions[decision], actual))

    async def answer(self, question: int, yes: bool) -> set[str]:
        say = self._kavach.approvals.approve if yes else self._kavach.approvals.deny
        return await self._make(say(self._questions[question], by="somebody"))

    async def ask(self, asked: Sequence[tuple[int, Call]], *, consume: bool) -> list[Answer]:
        """Calls that wait together share a transaction, and are decided in the order they came."""
        decisions = await asyncio.gather(
            *[self._decide(self._tokens[agent], call, not consume) for agent, call in asked]
        )
        page = await self._kavach.audit.query(limit=len(asked))
        entries = {entry.id: entry for entry in page}
        assert len(entries) == len(asked) and {entry.dry_run for entry in page} == {not consume}
        if consume:
            self._decisions += [decision.audit_id or "" for decision in decisions if decision]
            new = (decision.approval_id for decision in decisions if decision.approval_id not in self._questions)
            self._questions += dict.fromkeys(each for each in new if each)
        return [
            Answer(
                decision.allowed,
                frozenset({decision.code.value}),
                [self._ids.index(link.agent_id) for link in entries[decision.audit_id or ""].path] if decision else [],
                None if decision.approval_id is None else self._questions.index(decision.approval_id),
            )
            for decision in decisions
        ]

    async def standing(self) -> list[int | None]:
        spent = {budget.id: budget.spent for budget in await self._kavach.budgets.list()}
        return [spent.get(budget_id) for budget_id in self._budgets]

    async def leave(self) -> None:
        """Take back what would be noticed by the next history."""
        for budget in await self._kavach.budgets.list():
            await self._kavach.budgets.delete(budget.id)
        await self._kavach.project.resume()

    async def _decide(self, token: str, call: Call, dry_run: bool) -> Decision:
        arguments = None if call.q is None else {"q": call.q}
        return await self._kavach.authorize(
            token, action=call.action, resource=call.resource, arguments=arguments, cost=call.cost, dry_run=dry_run
        )

    async def _make(self, change: Awaitable[Any]) -> set[str]:
        try:
            made = await change
        except KavachError as error:
            return {error.code}
        if getattr(made, "token", None):
            self._ids.append(made.id)
            self._tokens.append(made.token)
        if isinstance(made, DelegatedAgent):
            self._edges.append(made.delegation_id)
        elif isinstance(made, Delegation):
            self._edges.append(made.id)
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


class Told:
    """How much was told."""

    steps = decisions = 0


async def tell(history: list[Step], model: Model, world: World, told: Told | None = None) -> None:
    """Tell a history to both, and after each change ask everyone what they may do, without consequences."""
    truth, told = ModelWorld(model), told or Told()
    for verb, step in OPENING:
        assert not await getattr(truth, verb)(*step) and not await getattr(world, verb)(*step)
    for number, (verb, details) in enumerate(history):
        told.steps += 1
        if verb == "call":
            asked = [(agent % len(model.agents), call) for agent, call in details[0]]
            # A budget that ends its holder does so for the next transaction: those who came with it may pass.
            apart = any(budget.action == "revoke" and not budget.gone for budget in model.budgets)
            for part in [[each] for each in asked] if apart else [asked]:
                await _compare(truth, world, part, told, consume=True)
        elif (step := _numbered(verb, details, model)) is not None:
            expected, seen = await getattr(truth, verb)(*step), await getattr(world, verb)(*step)
            if bool(seen) != bool(expected) or not seen <= expected:
                raise Disagreement(f"{verb}{step}: refused with {seen}, by the model with {expected}")
            probes = PROBES[number % 2 :: 2]
            everyone = [(agent, call) for agent in range(len(model.agents)) for call in probes]
            await _compare(truth, world, everyone, told, consume=False)
        if model.budgets and await truth.standing() != await world.standing():
            raise Disagreement(f"{verb}: spent {await world.standing()}, by the model {await truth.standing()}")


def _numbered(verb: str, details: tuple[Any, ...], model: Model) -> tuple[Any, ...] | None:
    """The step with numbers of things that exist; None if there is nothing to do."""
    if verb in ("create", "delegate") and len(model.agents) >= MOST_AGENTS:
        return None
    if verb == "bound":
        (kind, which), *terms = details
        if kind == "edge":
            which %= len(model.edges)
        return ((kind, which % len(model.agents) if kind == "agent" else which), *terms)
    of: dict[str, Sequence[object]] = {
        **dict.fromkeys(("delegate", "link", "narrow", "revoke"), model.agents),
        "cut": model.edges,
        **dict.fromkeys(("adjust", "unbound"), model.budgets),
        "settle": model.decisions,
        "answer": model.questions,
    }
    if verb not in of:
        return details
    numbers = 2 if verb == "link" else 1
    if not of[verb]:
        return None
    return (*(number % len(of[verb]) for number in details[:numbers]), *details[numbers:])


async def _compare(
    truth: ModelWorld, world: World, asked: list[tuple[int, Call]], told: Told, *, consume: bool
) -> None:
    told.decisions += len(asked)
    expected, seen = await truth.ask(asked, consume=consume), await world.ask(asked, consume=consume)
    for question, one, other in zip(asked, expected, seen, strict=True):
        same = (one.allowed, one.path, one.question) == (other.allowed, other.path, other.question)
        if not same or not other.codes <= one.codes:
            raise Disagreement(f"{question}: {other}, by the model {one}")
