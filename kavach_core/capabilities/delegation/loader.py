"""Load the facts of many calls at once: the agents asked about, the delegations into them, and everything above.

PostgreSQL answers one recursive statement. SQLite walks up level by level with point queries: its planner, once the
tables were analysed, gives the recursive statement a filter over the whole table. A test runs both on the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

from kavach_core.capabilities.delegation.facts import AgentFacts, Credential, Edge, Facts, ProjectFacts
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.store import Transaction

_AGENT: Final = """g.id, g.owner_id, g.name, g.type, g.permissions, g.founding_id, g.ttl, g.idle_at,
    g.expires_at, g.last_used_at, g.revoked_at, o.suspended_at, g.closed_until, o.permissions, g.budgets, o.budgets"""
_EDGE: Final = """d.id, d.from_agent, d.to_agent, d.source_id, d.depth, d.max_depth, d.permissions, d.expires_at,
    d.revoked_at, d.budgets"""
_OWNER: Final = "left join kavach_owners o on o.project_id = g.project_id and o.id = g.owner_id"
_GIVER: Final = f"join kavach_agents g on g.project_id = d.project_id and g.id = d.from_agent {_OWNER}"

_EDGE_WIDTH: Final = len(Edge._fields)
_AGENT_WIDTH: Final = len(AgentFacts._fields)

# Level by level: one statement for each question of the walk, every one a look-up by key.
_BY_TOKEN: Final = f"""
select t.token_hash, t.retired_at, t.closed_until, {_AGENT} from kavach_agent_tokens t
join kavach_agents g on g.project_id = t.project_id and g.id = t.agent_id {_OWNER}
where t.token_hash = $2 and t.project_id = $1
"""
_BY_ID: Final = f"select {_AGENT} from kavach_agents g {_OWNER} where g.project_id = $1 and g.id = $2"
_INTO: Final = f"""
select {_EDGE}, {_AGENT} from kavach_delegations d {_GIVER}
where d.project_id = $1 and d.to_agent = $2 and d.revoked_at is null and d.expires_at > $3
"""
_EDGE_BY_ID: Final = (
    f"select {_EDGE}, {_AGENT} from kavach_delegations d {_GIVER} where d.project_id = $1 and d.id = $2"
)

_PROJECT: Final = "select suspended_at, budgets from kavach_projects where project_id = $1"

# All at once: rows of agents asked about (kind 0 by token, 1 by id), of delegations with their givers (kind 2), and one
# of the project if something is said about it (kind 3, in the places of `retired_at` and of an edge's budgets).
# `offset 0` keeps each look-up inside the row it belongs to. Left to choose, a planner that knows nothing of the tables
# yet begins with all delegations of the project.
_NO_EDGE: Final = """null::uuid, null::uuid, null::uuid, null::uuid, null::smallint, null::smallint, null::bytea,
    null::timestamptz, null::timestamptz, null::integer"""
_NO_AGENT: Final = ", ".join(["null"] * _AGENT_WIDTH)


def _look_up(table: str, condition: str, name: str) -> str:
    return f"lateral (select * from {table} where project_id = $1 and {condition} offset 0) {name}"


_THE_EDGE: Final = f"cross join {_look_up('kavach_delegations', 'id = e.id', 'd')}"
_THE_GIVER: Final = f"cross join {_look_up('kavach_agents', 'id = d.from_agent', 'g')}"
_THE_AGENT: Final = f"cross join {_look_up('kavach_agents', 'id = asked.agent_id', 'g')}"
_THE_OWNER: Final = f"left join {_look_up('kavach_owners', 'id = g.owner_id', 'o')} on true"
_LIVE_INTO: Final = "to_agent = asked.agent_id and revoked_at is null and expires_at > $4"
_AT_ONCE: Final = f"""
with recursive asked (kind, token_hash, retired_at, closed_until, agent_id) as (
    select 0, t.token_hash, t.retired_at, t.closed_until, t.agent_id
    from unnest($2::bytea[]) as k (hash) cross join {_look_up("kavach_agent_tokens", "token_hash = k.hash", "t")}
    union all
    select 1, null, null, null, k.id from unnest($3::uuid[]) as k (id)
), edges (id) as (
    (
        select d.id from asked cross join {_look_up("kavach_delegations", _LIVE_INTO, "d")}
        union
        select g.founding_id from asked {_THE_AGENT} where g.founding_id is not null
    )
    union
    select above.id from edges e {_THE_EDGE} {_THE_GIVER}
    cross join lateral (values (d.source_id), (g.founding_id)) as above (id)
    where above.id is not null
)
select asked.kind, asked.token_hash, asked.retired_at, asked.closed_until, {_NO_EDGE}, {_AGENT}
from asked {_THE_AGENT} {_THE_OWNER}
union all
select 2, null, null, null, {_EDGE}, {_AGENT} from edges e {_THE_EDGE} {_THE_GIVER} {_THE_OWNER}
union all
select 3, null, p.suspended_at, null, {", ".join(["null"] * (_EDGE_WIDTH - 1))}, p.budgets, {_NO_AGENT}
from kavach_projects p where p.project_id = $1
"""


async def load_facts(
    tx: Transaction,
    project: str,
    sets: PermissionSets,
    *,
    tokens: Iterable[bytes] = (),
    agents: Iterable[bytes] = (),
) -> Facts:
    """Return the facts about the agents with these token digests and ids, read after this call began.

    What is not on record is missing from the facts. In a lane this must be the first read.
    """
    found = _Found()
    load = found.load_at_once if tx.dialect == "postgres" else found.load_by_level
    await load(tx, project, list(dict.fromkeys(tokens)), list(dict.fromkeys(agents)))
    digests = {agent.permissions for agent in found.agents.values()}
    digests.update(edge.permissions for edge in found.edges.values())
    digests.update(agent.owner_permissions for agent in found.agents.values() if agent.owner_permissions)
    return Facts(
        now=tx.now,
        agents=found.agents,
        edges=found.edges,
        credentials=found.credentials,
        project=found.project,
        sets=await sets.load(tx, digests),
    )


class _Found:
    """What a load has gathered so far."""

    def __init__(self) -> None:
        self.agents: dict[bytes, AgentFacts] = {}
        self.edges: dict[bytes, Edge] = {}
        self.credentials: dict[bytes, Credential] = {}
        self.project = ProjectFacts()

    async def load_at_once(
        self, tx: Transaction, project: str, tokens: Sequence[bytes], agents: Sequence[bytes]
    ) -> None:
        """One statement; its recursion stops where nothing new is found."""
        for row in await tx.fetch_facts(_AT_ONCE, project, tokens, agents, tx.floor):
            kind, token, retired_at, closed_until, *rest = row
            if kind == 2:
                self._add_edge(rest)
                continue
            if kind == 3:
                self.project = ProjectFacts._make(cast("tuple[Any, Any]", (retired_at, rest[_EDGE_WIDTH - 1])))
                continue
            agent = self._add_agent(rest[_EDGE_WIDTH:])
            if kind == 0:
                self._add_credential(token, agent, retired_at, closed_until)

    async def load_by_level(
        self, tx: Transaction, project: str, tokens: Sequence[bytes], agents: Sequence[bytes]
    ) -> None:
        """From the agents asked about to the delegations into them, and up while there is anything new."""
        said = await tx.fetch_one(_PROJECT, project)
        if said is not None:
            self.project = ProjectFacts._make(cast("tuple[Any, Any]", tuple(said)))
        for row in await tx.fetch_each(_BY_TOKEN, [(project, token) for token in tokens]):
            token, retired_at, closed_until, *rest = row
            self._add_credential(token, self._add_agent(rest), retired_at, closed_until)
        for row in await tx.fetch_each(_BY_ID, [(project, agent_id) for agent_id in agents]):
            self._add_agent(row)
        asked = list(self.agents.values())
        into = await tx.fetch_each(_INTO, [(project, agent.id, tx.floor) for agent in asked])
        above = {agent.founding_id for agent in asked if agent.founding_id is not None}
        above.update(*map(self._add_edge, into))
        while missing := sorted(above - self.edges.keys()):
            rows = await tx.fetch_each(_EDGE_BY_ID, [(project, edge_id) for edge_id in missing])
            above = set[bytes]().union(*map(self._add_edge, rows))

    def _add_credential(self, token: object, agent: AgentFacts, *times: object) -> None:
        self.credentials[cast(bytes, token)] = Credential(agent.id, *cast("tuple[Any, Any]", times))

    def _add_agent(self, row: Iterable[object]) -> AgentFacts:
        agent = AgentFacts._make(cast("Iterable[Any]", row))
        self.agents[agent.id] = agent
        return agent

    def _add_edge(self, row: Iterable[object]) -> set[bytes]:
        """Take in a delegation and its giver; returns the delegations these two stand on."""
        values = tuple(row)
        edge = Edge._make(cast("tuple[Any, ...]", values[:_EDGE_WIDTH]))
        giver = self._add_agent(values[_EDGE_WIDTH : _EDGE_WIDTH + _AGENT_WIDTH])
        self.edges[edge.id] = edge
        return {above for above in (edge.source_id, giver.founding_id) if above is not None}
