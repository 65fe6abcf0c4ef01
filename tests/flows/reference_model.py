"""What Kavach decides, written a second time: slow and obvious, with none of its code.

Plain values and recursion; patterns are compared by trying resources out. One agent or delegation is a number, the
order of their making. Times are minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from typing import Any

FOREVER = 10**12
DEEPEST, USUAL_DEPTH = 10, 3

#: The codes of a denial that depends on nothing counted.
STATELESS = frozenset(
    {
        "NOT_GRANTED",
        "DELEGATION_ENDED",
        "CHAIN_NARROWED",
        "ARGUMENT_NOT_ALLOWED",
        "OUTSIDE_TIME_WINDOW",
        "APPROVAL_REQUIRED",
    }
)
_RESOURCES = [":".join(parts) for length in range(1, 6) for parts in product("abz", repeat=length)]
_TEXTS = ["", "a", "ab", "abc", "b", "ba"]


@dataclass(frozen=True)
class Given:
    """A permission."""

    resource: str
    actions: tuple[str, ...]
    rate: int | None = None
    window: tuple[int, int] | None = None  # hours
    glob: str | None = None  # for the argument q
    approval: bool = False

    def wire(self) -> dict[str, Any]:
        constraints: dict[str, Any] = {}
        if self.rate is not None:
            constraints["maxCallsPerHour"] = self.rate
        if self.window is not None:
            constraints["timeWindow"] = dict(
                zip(("start", "end"), (f"{hour:02}:00" for hour in self.window), strict=True)
            )
        if self.glob is not None:
            constraints["allowedArgPatterns"] = [f"q={self.glob}"]
        if self.approval:
            constraints["requireApproval"] = True
        return {"resource": self.resource, "actions": list(self.actions), "constraints": constraints}


@dataclass(frozen=True)
class Call:
    """One question."""

    action: str
    resource: str
    q: str | None


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


@dataclass
class Answer:
    """Whether a call is allowed, which codes may say so, and the agents on the path used."""

    allowed: bool
    codes: frozenset[str]
    path: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Link:
    agent: int
    edge: int | None
    has: tuple[Given, ...]


class Model:
    """The world. Verbs return the set of codes with which a change may be refused; empty if it is made."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.agents: list[Agent] = []
        self.edges: list[Edge] = []
        self.suspended: set[str] = set()
        self.charges: list[tuple[object, int]] = []

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
        refused = {"FINAL_STATE", "OWNER_SUSPENDED"} if self.dead(giver) else set()
        if receiver < len(self.agents):
            refused |= {"FINAL_STATE", "OWNER_SUSPENDED"} if self.dead(receiver) else set()
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

    def narrow(self, number: int, own: list[Given]) -> set[str]:
        if self.ended(number):
            return {"FINAL_STATE"}
        if self.agents[number].founding is not None:
            return {"CONFLICT"}
        self.agents[number].own = own
        return set()

    # Decisions.

    def paths(self, number: int) -> Iterator[list[Link]]:
        """Every grant of an agent that lives: its own, then delegations by age."""
        yield [Link(number, None, tuple(self.agents[number].own))]
        for position, edge in enumerate(self.edges):
            if edge.receiver == number and self.lives(position):
                yield self.path(position)

    def path(self, number: int) -> list[Link]:
        """From the agent whose own permissions a delegation comes from, down."""
        edge = self.edges[number]
        above = [Link(edge.giver, None, tuple(self.agents[edge.giver].own))]
        if edge.source is not None:
            above = self.path(edge.source)
        return [*above, Link(edge.receiver, number, tuple(edge.lent))]

    def authorize(self, number: int, call: Call, *, consume: bool) -> Answer:
        why = self.dead(number)
        if why:
            return Answer(False, frozenset(why))
        limited = False
        for path in self.paths(number):
            charges = [self.through(link, call) for link in self.binding(path)]
            if None in charges:
                continue
            if any("full" in (each or ()) for each in charges):
                limited = True
                continue
            if consume:
                self.charges += [(key, self.now) for each in charges for key in each or ()]
                for link in path:
                    self.agents[link.agent].used = self.now
            return Answer(True, frozenset({"ALLOWED"}), [link.agent for link in path])
        return Answer(False, frozenset({"RATE_LIMITED"}) if limited else self.stateless(number, call))

    def binding(self, path: list[Link]) -> list[Link]:
        """The links that must allow a call: all of them."""
        return path

    def through(self, link: Link, call: Call) -> list[object] | None:
        """None if a link does not let the call through; else what it takes, `full` if there is no more of it."""
        passing = [given for given in link.has if means(given, call) and self.holds(given, call)]
        if not passing:
            return None
        if any(given.rate is None for given in passing):
            return []
        for given in passing:
            key = self.rate_key(link, given, call)
            if sum(charged == key and at > self.now - 60 for charged, at in self.charges) < (given.rate or 0):
                return [key]
        return ["full"]

    def rate_key(self, link: Link, given: Given, call: Call) -> object:
        holder = ("agent", link.agent) if link.edge is None else ("edge", link.edge)
        return (*holder, given)

    def holds(self, given: Given, call: Call) -> bool:
        """The conditions that need no memory."""
        open_ = given.window is None or self.now // 60 % 24 in hours(given.window)
        fits = given.glob is None or (call.q is not None and fnmatchcase(call.q, given.glob))
        return open_ and fits and not given.approval

    def stateless(self, number: int, call: Call) -> frozenset[str]:
        held = [
            *self.agents[number].own,
            *(given for edge in self.edges if edge.receiver == number for given in edge.lent),
        ]
        return STATELESS if any(means(given, call) for given in held) else frozenset({"NOT_GRANTED"})


def means(given: Given, call: Call) -> bool:
    """Resource and action."""
    return (call.action in given.actions or "*" in given.actions) and reaches(given.resource, call.resource)


@cache
def reaches(pattern: str, resource: str) -> bool:
    if pattern == "*":
        return True
    return _reaches(pattern.split(":"), resource.split(":"))


def _reaches(pattern: list[str], resource: list[str]) -> bool:
    if pattern == ["**"]:
        return len(resource) > 0
    if not pattern or not resource:
        return not pattern and not resource
    return pattern[0] in ("*", resource[0]) and _reaches(pattern[1:], resource[1:])


@cache
def wider(one: str, other: str) -> bool:
    return all(reaches(one, resource) for resource in _RESOURCES if reaches(other, resource))


def hours(window: tuple[int, int]) -> set[int]:
    start, end = window
    return set(range(start, end)) if start < end else {*range(start, 24), *range(end)}


def all_covered(held: tuple[Given, ...], asked: list[Given]) -> bool:
    """Every pair of a resource and an action by one permission. What is left out is inherited."""
    return all(any(covers(mine, given, action) for mine in held) for given in asked for action in given.actions)


def covers(mine: Given, asked: Given, action: str) -> bool:
    return (
        (action in mine.actions or "*" in mine.actions)
        and wider(mine.resource, asked.resource)
        and (mine.rate is None or asked.rate is None or asked.rate <= mine.rate)
        and (mine.window is None or asked.window is None or hours(asked.window) <= hours(mine.window))
        and (mine.glob is None or asked.glob is None or _tighter(asked.glob, mine.glob))
    )


def _tighter(one: str, other: str) -> bool:
    return all(fnmatchcase(text, other) for text in _TEXTS if fnmatchcase(text, one))
