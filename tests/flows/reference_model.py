"""What Kavach decides, written a second time: slow and obvious, with none of its code.

Plain values and recursion; patterns are compared by trying resources out, and what was spent is added up from every
charge there ever was. Agents, delegations, budgets, questions and decisions are numbers, the order of their making.
Times are minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.flows.reference_grammar import Call, Given, all_covered, holds, means

FOREVER = 10**12
DEEPEST, USUAL_DEPTH = 10, 3
#: How long a question and then its answer wait, and a cost can be settled.
PATIENCE, LEASE = 60, 16

#: The codes of a denial that depends on nothing counted.
STATELESS = frozenset(
    {
        "NOT_GRANTED",
        "DELEGATION_ENDED",
        "CHAIN_NARROWED",
        "OWNER_NOT_PERMITTED",
        "ARGUMENT_NOT_ALLOWED",
        "OUTSIDE_TIME_WINDOW",
    }
)
#: The others, the closest last.
COUNTED = ("APPROVAL_REQUIRED", "APPROVAL_DENIED", "RATE_LIMITED", "BUDGET_EXCEEDED")
#: What is the same throughout a window.
WINDOWS = {"hour": "%Y-%m-%d %H", "day": "%Y-%m-%d", "month": "%Y-%m", "forever": ""}


@dataclass
class Agent:
    owner: str
    own: list[Given]
    founding: int | None = None
    ttl: int | None = None
    expires: int = FOREVER
    used: int = 0
    revoked: bool = False


@dataclass
class Edge:
    giver: int
    receiver: int
    source: int | None
    lent: list[Given]
    depth: int
    max_depth: int
    expires: int
    revoked: bool = False


#: What a budget hangs on: a kind, and which one of it.
Holder = tuple[str, Any]


@dataclass
class Budget:
    holder: Holder
    measure: str
    per: str
    limit: int
    action: str
    gone: bool = False


@dataclass
class Question:
    """What a human was asked."""

    agent: int
    about: tuple[Any, ...]
    expires: int
    answer: str | None = None
    used: bool = False


@dataclass
class Decision:
    """An allowed call: when, what it said it costs, which budgets it was charged to, and what it really cost."""

    at: int
    cost: int | None
    budgets: list[int]
    actual: int | None = None


@dataclass
class Answer:
    """Whether a call is allowed, which codes may say so, the agents on the path used, and the question it is about."""

    allowed: bool
    codes: frozenset[str]
    path: list[int] = field(default_factory=list)
    question: int | None = None


@dataclass(frozen=True)
class Link:
    holder: Holder
    agent: int
    edge: int | None
    has: tuple[Given, ...]


@dataclass
class Taken:
    """What a call on one path takes, or why it must not."""

    refused: str | None = None
    rates: list[object] = field(default_factory=list)
    question: int | None = None
    short: list[int] = field(default_factory=list)


class Model:
    """The world. Verbs return the set of codes with which a change may be refused; empty if it is made."""

    def __init__(self, now: int, *, release: bool = False) -> None:
        self.now = now
        #: Whether a cost that nobody settles falls back.
        self.release = release
        self.agents: list[Agent] = []
        self.edges: list[Edge] = []
        self.suspended: set[str] = set()
        self.stopped = False
        self.rights: dict[str, list[Given]] = {}
        self.charges: list[tuple[object, int]] = []
        self.budgets: list[Budget] = []
        self.questions: list[Question] = []
        self.decisions: list[Decision] = []

    # Life.

    def ended(self, number: int) -> set[str]:
        """Why an agent itself has ended."""
        agent = self.agents[number]
        return {
            code
            for code, holds in (
                ("AGENT_REVOKED", agent.revoked),
                ("AGENT_EXPIRED", self.now >= agent.expires),
                ("AGENT_IDLE", agent.ttl is not None and self.now >= agent.used + agent.ttl),
            )
            if holds
        }

    def dead(self, number: int) -> set[str]:
        """Every reason why an agent does not live."""
        agent, why = self.agents[number], self.ended(number)
        if agent.owner in self.suspended:
            why.add("OWNER_SUSPENDED")
        if self.stopped:
            why.add("PROJECT_SUSPENDED")
        if agent.founding is not None and not self.lives(agent.founding):
            why.add("CHAIN_CUT")
        return why

    def lives(self, number: int) -> bool:
        """Whether a delegation lives, with all that it stands on."""
        edge = self.edges[number]
        if edge.revoked or self.now >= edge.expires or self.dead(edge.giver):
            return False
        return edge.source is None or self.lives(edge.source)

    # Changes.

    def create(self, owner: str, own: list[Given], ttl: int | None, expires: int) -> set[str]:
        if owner in self.suspended:
            return {"OWNER_SUSPENDED"}
        self.agents.append(Agent(owner, own, ttl=ttl, expires=expires, used=self.now))
        return set()

    def delegate(self, giver: int, lent: list[Given], ttl: int | None, expires: int, max_depth: int | None) -> set[str]:
        """To a new agent, which lives by the delegation."""
        refused = self.link(giver, len(self.agents), lent, expires, max_depth)
        if not refused:
            edge, above = self.edges[-1], self.agents[giver]
            shorter = min((each for each in (ttl, above.ttl) if each is not None), default=None)
            born = Agent(above.owner, [], len(self.edges) - 1, shorter, edge.expires, self.now)
            self.agents.append(born)
        return refused

    def link(self, giver: int, receiver: int, lent: list[Given], expires: int, max_depth: int | None) -> set[str]:
        """To an agent that is there, or to the next new one."""
        refused = set(DEAD) if self.dead(giver) else set()
        if receiver < len(self.agents):
            refused |= DEAD if self.dead(receiver) else set()
            refused |= {"CROSS_OWNER"} if self.agents[giver].owner != self.agents[receiver].owner else set()
        path = next((path for path in self.paths(giver) if all_covered(path[-1].has, lent)), None)
        if path is None:
            return refused | {"WIDENS"}
        source = None if path[-1].edge is None else self.edges[path[-1].edge]
        depth, ceiling = (source.depth + 1, min(DEEPEST, source.max_depth)) if source else (1, DEEPEST)
        deepest = max_depth if max_depth is not None else ceiling if source else min(USUAL_DEPTH, ceiling)
        refused |= {"TOO_DEEP"} if deepest > ceiling or depth > deepest else set()
        refused |= {"CYCLE"} if receiver in [link.agent for link in path] else set()
        end = min(expires, self.agents[giver].expires, source.expires if source else FOREVER)
        if not refused:
            self.edges.append(Edge(giver, receiver, path[-1].edge, lent, depth, deepest, end))
        return refused

    def answer(self, number: int, yes: bool) -> set[str]:
        """A human says something to a question."""
        question = self.questions[number]
        if question.answer or self.now >= question.expires or self.dead(question.agent):
            return {"FINAL_STATE"}
        question.answer = "approved" if yes else "denied"
        question.expires = self.now + PATIENCE
        return set()

    def settle(self, number: int, actual: int) -> set[str]:
        """What a call really cost takes the place of what it reserved."""
        decision = self.decisions[number]
        if decision.cost is None or decision.actual is not None:
            return {"CONFLICT"}
        if self.now >= decision.at + LEASE:
            return {"LEASE_ENDED"}
        decision.actual = actual
        for budget in decision.budgets:
            if actual > decision.cost and self.is_charged(budget, decision) and self.left(budget) < 0:
                self.end(budget)
        return set()

    def end(self, number: int) -> None:
        """A budget that revokes ends what it hangs on."""
        budget = self.budgets[number]
        kind, which = budget.holder
        if budget.action != "revoke":
            return
        if kind == "agent":
            self.agents[which].revoked = True
        elif kind == "edge":
            self.edges[which].revoked = True
        elif kind == "owner":
            self.suspended.add(which)
        else:
            self.stopped = True

    def narrow(self, number: int, own: list[Given]) -> set[str]:
        if self.ended(number):
            return {"FINAL_STATE"}
        if self.agents[number].founding is not None:
            return {"CONFLICT"}
        self.agents[number].own = own
        return set()

    # Spending.

    def is_charged(self, number: int, decision: Decision) -> bool:
        """Whether what a decision cost counts in a budget now: they have in common the window, and the measure."""
        budget = self.budgets[number]
        same = _window(budget, self.now) == _window(budget, decision.at)
        return not budget.gone and budget.measure == "cost" and same

    def spent(self, number: int) -> int:
        """Everything that was charged in the window that is open, added up."""
        budget = self.budgets[number]
        return sum(
            1 if budget.measure == "calls" else self.cost_of(decision)
            for decision in self.decisions
            if number in decision.budgets and _window(budget, decision.at) == _window(budget, self.now)
        )

    def cost_of(self, decision: Decision) -> int:
        if decision.actual is not None:
            return decision.actual
        fell_back = self.release and self.now >= decision.at + LEASE
        return 0 if fell_back else decision.cost or 0

    def left(self, number: int) -> int:
        return self.budgets[number].limit - self.spent(number)

    def on(self, path: list[Link]) -> list[int]:
        """The budgets that a call on this path is charged to."""
        holders: list[Holder] = [("owner", self.agents[path[-1].agent].owner), ("project", None)]
        for link in self.binding(path):
            holders += [("agent", link.agent), ("edge", link.edge)]
        return [number for number, budget in enumerate(self.budgets) if not budget.gone and budget.holder in holders]

    def standing(self) -> list[int | None]:
        """What is spent of each budget; None for one that is gone."""
        return [None if budget.gone else self.spent(number) for number, budget in enumerate(self.budgets)]

    # Decisions.

    def paths(self, number: int) -> Iterator[list[Link]]:
        """Every grant of an agent that lives: its own, then delegations by age."""
        yield [self.own(number)]
        for position, edge in enumerate(self.edges):
            if edge.receiver == number and self.lives(position):
                yield self.path(position)

    def own(self, number: int) -> Link:
        return Link(("agent", number), number, None, tuple(self.agents[number].own))

    def path(self, number: int) -> list[Link]:
        """From the agent whose own permissions a delegation comes from, down."""
        edge = self.edges[number]
        above = [self.own(edge.giver)] if edge.source is None else self.path(edge.source)
        return [*above, Link(("edge", number), edge.receiver, number, tuple(edge.lent))]

    def authorize(self, number: int, call: Call, *, consume: bool) -> Answer:
        why = self.dead(number)
        if why:
            return Answer(False, frozenset(why))
        asked = self.asked(number, call)
        refused: list[Taken] = []
        for path in self.paths(number):
            taken = self.take(path, call, asked)
            if taken is not None and taken.refused is None:
                if consume:
                    self.charge(path, call, taken)
                return Answer(True, frozenset({"ALLOWED"}), [link.agent for link in path], taken.question)
            refused += [] if taken is None else [taken]
        if not refused:
            return Answer(False, self.stateless(number, call))
        code = max((taken.refused or "" for taken in refused), key=COUNTED.index)
        if consume:
            for budget in {budget for taken in refused for budget in taken.short}:
                self.end(budget)
        waits = code in COUNTED[:2]
        if waits and asked is None and consume:
            asked = len(self.questions)
            self.questions.append(Question(number, self.about(call), self.now + PATIENCE))
        return Answer(False, frozenset({code}), question=asked if waits else None)

    def about(self, call: Call) -> tuple[Any, ...]:
        """What an approval is good for, beside the agent."""
        return (call.action, call.resource, call.q, call.cost)

    def asked(self, number: int, call: Call) -> int | None:
        """The question about this very call that waits, or whose answer holds."""
        for position, question in enumerate(self.questions):
            same = question.agent == number and question.about == self.about(call)
            if same and not question.used and self.now < question.expires:
                return position
        return None

    def take(self, path: list[Link], call: Call, asked: int | None) -> Taken | None:
        """What a call would take on this path; None if a link, or the human, does not let it through."""
        passing = [self.passing(link, call) for link in [*self.binding(path), *self.humans(path)]]
        if not all(passing):
            return None
        taken = self.pick(passing, approved=False)
        answer = None if asked is None else self.questions[asked].answer
        if taken.refused and answer == "approved":
            taken = self.pick(passing, approved=True)
            taken.question = asked
        if taken.refused == "APPROVAL_REQUIRED" and answer == "denied":
            taken.refused = "APPROVAL_DENIED"
        if taken.refused is None:
            taken.short = [number for number in self.on(path) if self.is_short(number, call)]
            taken.refused = "BUDGET_EXCEEDED" if taken.short else None
        return taken

    def is_short(self, number: int, call: Call) -> bool:
        """Whether a budget refuses a call. What costs nothing passes even where nothing is left."""
        budget = self.budgets[number]
        units = 1 if budget.measure == "calls" else call.cost or 0
        return budget.action != "warn" and units > 0 and self.left(number) < units

    def pick(self, passing: list[list[tuple[object, Given]]], *, approved: bool) -> Taken:
        """At each link the permission that needs least: nothing, then room in its rate, then a human."""
        taken = Taken()
        for choice in passing:
            usable = [(key, given) for key, given in choice if approved or not given.approval]
            if not usable:
                return Taken("APPROVAL_REQUIRED")
            room = [(key, given) for key, given in usable if self.has_room(key, given)]
            if not room:
                return Taken("RATE_LIMITED")
            key, given = min(room, key=lambda each: (each[1].approval, each[1].rate is not None))
            taken.rates += [] if given.rate is None else [key]
        return taken

    def charge(self, path: list[Link], call: Call, taken: Taken) -> None:
        self.charges += [(key, self.now) for key in taken.rates]
        self.decisions.append(Decision(self.now, call.cost, self.on(path)))
        if taken.question is not None:
            self.questions[taken.question].used = True
        for link in path:
            self.agents[link.agent].used = self.now

    def binding(self, path: list[Link]) -> list[Link]:
        """The links that must allow a call, and whose budgets pay for it: all of them."""
        return path

    def humans(self, path: list[Link]) -> list[Link]:
        """What the human behind a path may do, if that is said."""
        owner = self.agents[path[-1].agent].owner
        has = self.rights.get(owner)
        return [] if has is None else [Link(("owner", owner), path[-1].agent, None, tuple(has))]

    def passing(self, link: Link, call: Call) -> list[tuple[object, Given]]:
        """The permissions of a link that let the call through, each with the name of its rate."""
        return [
            (self.rate_key(link, given, call), given)
            for given in link.has
            if means(given, call) and holds(given, call, self.now)
        ]

    def has_room(self, key: object, given: Given) -> bool:
        return given.rate is None or given.rate > sum(
            charged == key and at > self.now - 60 for charged, at in self.charges
        )

    def rate_key(self, link: Link, given: Given, call: Call) -> object:
        return (link.holder, given)

    def stateless(self, number: int, call: Call) -> frozenset[str]:
        held = [
            *self.agents[number].own,
            *(given for edge in self.edges if edge.receiver == number for given in edge.lent),
        ]
        return STATELESS if any(means(given, call) for given in held) else frozenset({"NOT_GRANTED"})


#: How a change is refused that needs an agent which does not live.
DEAD = frozenset({"FINAL_STATE", "OWNER_SUSPENDED", "PROJECT_SUSPENDED"})


def _window(budget: Budget, at: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=at)
    return moment.strftime(WINDOWS[budget.per])
