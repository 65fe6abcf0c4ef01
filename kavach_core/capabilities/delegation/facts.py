"""What a decision looks at: agents, the delegations between them, and whether they live.

Facts are loaded once for a batch and asked many times, so answers about life and paths are remembered. All of them hold
for one moment, the `now` they were made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from kavach_core.capabilities.budgets.model import Holder
from kavach_core.primitives.permissions import PermissionSet
from kavach_core.primitives.reasons import Reason


class AgentFacts(NamedTuple):
    """An agent as the decision sees it, in the order the loaders select. Times in microseconds."""

    id: bytes
    owner_id: str
    name: str
    type: str
    permissions: bytes
    founding_id: bytes | None
    ttl: int | None
    idle_at: int
    expires_at: int
    last_used_at: int | None
    revoked_at: int | None
    suspended_at: int | None
    closed_until: int | None = None
    #: What its owner may do, where something is said about that.
    owner_permissions: bytes | None = None
    #: How many budgets hang on it, and on its owner.
    budgets: int = 0
    owner_budgets: int | None = None


class Edge(NamedTuple):
    """A delegation as the decision sees it, in the order the loaders select."""

    id: bytes
    from_agent: bytes
    to_agent: bytes
    source_id: bytes | None
    depth: int
    max_depth: int
    permissions: bytes
    expires_at: int
    revoked_at: int | None
    budgets: int = 0


class ProjectFacts(NamedTuple):
    """What is said about the project as a whole, in the order the loaders select."""

    suspended_at: int | None = None
    budgets: int = 0


class Credential(NamedTuple):
    """A known token: whose it is, since when it is no longer the current one, and until when it is turned away."""

    agent_id: bytes
    retired_at: int | None
    closed_until: int | None = None


class Link(NamedTuple):
    """One step of a path: the agent, the delegation that leads to it, and what it has by that."""

    agent_id: bytes
    edge_id: bytes | None
    permissions: PermissionSet

    @property
    def holder(self) -> bytes:
        """Who the permissions hang on: the delegation, or the agent itself."""
        return self.edge_id or self.agent_id


#: From the owner's agent, acting on its own permissions, down to the acting one.
Path = tuple[Link, ...]


_NOTHING_SAID: Final = ProjectFacts()


class Facts:
    """Everything loaded for a batch."""

    def __init__(
        self,
        *,
        now: int,
        agents: Mapping[bytes, AgentFacts],
        edges: Mapping[bytes, Edge],
        credentials: Mapping[bytes, Credential],
        sets: Mapping[bytes, PermissionSet],
        project: ProjectFacts = _NOTHING_SAID,
    ) -> None:
        self.now = now
        self.project = project
        self.agents = agents
        self.edges = edges
        self.credentials = credentials
        self.sets = sets
        #: Whether any budget hangs on anything here. Mostly none does, and nobody has to look for them.
        self.any_budgets = (
            project.budgets > 0
            or any(agent.budgets or agent.owner_budgets for agent in agents.values())
            or any(edge.budgets for edge in edges.values())
        )
        self._held: dict[bytes, list[Edge]] = {}
        for edge in sorted(edges.values()):
            self._held.setdefault(edge.to_agent, []).append(edge)
        self._agent_ends: dict[bytes, Reason | None] = {}
        self._edge_ends: dict[bytes, bool] = {}
        self._paths: dict[bytes, Path | None] = {}

    def budgets_by_holder(self) -> dict[bytes, int]:
        """How many budgets hang on what was loaded, by what they hang on, where there are any."""
        noted = {Holder.project().raw: self.project.budgets}
        for agent in self.agents.values():
            noted[Holder.agent(agent.id).raw] = agent.budgets
            noted[Holder.owner(agent.owner_id).raw] = agent.owner_budgets or 0
        noted.update((Holder.delegation(edge.id).raw, edge.budgets) for edge in self.edges.values())
        return noted

    def agent_end(self, agent_id: bytes) -> Reason | None:
        """Why the agent is not live, or None. The one liveness check: verify, the guard and authorize share it."""
        if agent_id not in self._agent_ends:
            self._agent_ends[agent_id] = self._find_agent_end(agent_id)
        return self._agent_ends[agent_id]

    def _find_agent_end(self, agent_id: bytes) -> Reason | None:
        agent = self.agents.get(agent_id)
        if agent is None:
            return Reason.UNKNOWN_AGENT
        if agent.revoked_at is not None:
            return Reason.AGENT_REVOKED
        if agent.expires_at <= self.now:
            return Reason.AGENT_EXPIRED
        if agent.idle_at <= self.now:
            return Reason.AGENT_IDLE
        if agent.suspended_at is not None:
            return Reason.OWNER_SUSPENDED
        if self.project.suspended_at is not None:
            return Reason.PROJECT_SUSPENDED
        if agent.founding_id is not None and not self.edge_lives(agent.founding_id):
            return Reason.CHAIN_CUT
        return None

    def edge_lives(self, edge_id: bytes) -> bool:
        """Whether the delegation, its giver and everything above it live. What is not on record does not live."""
        if edge_id not in self._edge_ends:
            # Marked as ended while it is looked at: if damaged data went in circles, nobody on the circle would live.
            self._edge_ends[edge_id] = False
            self._edge_ends[edge_id] = self._find_edge_life(edge_id)
        return self._edge_ends[edge_id]

    def _find_edge_life(self, edge_id: bytes) -> bool:
        edge = self.edges.get(edge_id)
        if edge is None or edge.revoked_at is not None or edge.expires_at <= self.now:
            return False
        if self.agent_end(edge.from_agent) is not None:
            return False
        return edge.source_id is None or self.edge_lives(edge.source_id)

    def held_by(self, agent_id: bytes) -> list[Edge]:
        """The delegations into an agent that were loaded, oldest first, living or not."""
        return self._held.get(agent_id, [])

    def own_path(self, agent: AgentFacts) -> Path:
        """The path of the agent's own permissions: itself."""
        return (Link(agent.id, None, self.sets[agent.permissions]),)

    def path_of(self, edge_id: bytes) -> Path | None:
        """The one path a delegation comes by, or None if a part of it is not on record."""
        if edge_id not in self._paths:
            self._paths[edge_id] = None
            self._paths[edge_id] = self._find_path(edge_id)
        return self._paths[edge_id]

    def _find_path(self, edge_id: bytes) -> Path | None:
        edge = self.edges.get(edge_id)
        giver = None if edge is None else self.agents.get(edge.from_agent)
        if edge is None or giver is None:
            return None
        above = self.own_path(giver) if edge.source_id is None else self.path_of(edge.source_id)
        if above is None or above[-1].agent_id != edge.from_agent:
            return None
        return (*above, Link(edge.to_agent, edge.id, self.sets[edge.permissions]))

    def founding_path(self, agent: AgentFacts) -> Path:
        """The path an agent stands on when no grant was used: its founding one, or else itself."""
        path = None if agent.founding_id is None else self.path_of(agent.founding_id)
        return path or self.own_path(agent)

    def paths_of(self, agent: AgentFacts) -> Iterator[Path]:
        """All paths into an agent in the order they are tried: its own permissions, then delegations by age."""
        yield self.own_path(agent)
        for edge in self.held_by(agent.id):
            path = self.path_of(edge.id)
            if path is not None:
                yield path
