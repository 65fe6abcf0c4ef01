"""Load the facts of many calls at once: the agents asked about, the delegations into them, and everything above.

PostgreSQL answers one recursive statement. SQLite walks up level by level with point queries: its planner, once the
tables were analysed, gives the recursive statement a filter over the whole table. A test runs both on the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kavach_core.capabilities.delegation.facts import AgentFacts, Credential, Edge, Facts, ProjectFacts
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.store import Transaction

_AGENT: Final = """g.id, g.owner_id, g.name, g.type, g.permissions, g.founding_id, g.ttl, g.idle_at,
    g.expires_at, g.last_used_at, g.revoked_at, o.suspended_at, g.closed_until, o.permissions, g.budgets, o.budgets"""
_EDGE: Final = """d.id, d.from_agent, d.to_agent, d.source_id, d.depth, d.max_depth, d.permissions, d.expires_at,
    d.revoked_at, d.budgets"""
_NO_EDGE: Final = """cast(null as uuid), cast(null as uuid), cast(null as uuid), cast(null as uuid),
    cast(null as smallint), cast(null as smallint), cast(null as bytea), cast(null as timestamptz),
    cast(null as timestamptz), cast(null as integer)"""

# Every statement gives rows of one layout: of agents asked about by token (kind 0) or id (1), of delegations with their
# givers (2), and one of the project if something is said about it (3), in the places of `retired_at` and of an edge's
# budgets. Behind the kind come the token's columns, the edge's, and the agent's.
_EDGE_AT: Final = 4
_AGENT_AT: Final = _EDGE_AT + len(Edge._fields)
_PROJECT: Final = f"""
select 3, null, p.suspended_at, null, {", ".join(["null"] * (len(Edge._fields) - 1))}, p.budgets,
    {", ".join(["null"] * len(AgentFacts._fields))}
from kavach_projects p where p.project_id = $1
"""

# Level by level: the agents asked about with the delegations into them, then what those stand on, all looked up by key.
# The key that tells rows apart comes first: `|| ''` keeps a planner without statistics from beginning with all rows of
# the project, `cross join` from turning the joins around.
_OWNER: Final = "left join kavach_owners o on o.project_id = g.project_id and o.id = g.owner_id"
_GIVER: Final = f"cross join kavach_agents g {_OWNER} where g.project_id = d.project_id and g.id = d.from_agent"
_LIVE: Final = "d.project_id || '' = $1 and d.revoked_at is null and d.expires_at > $2"
_BY_TOKEN: Final = f"""
select 0, t.token_hash, t.retired_at, t.closed_until, {_NO_EDGE}, {_AGENT}
from kavach_agent_tokens t cross join kavach_agents g {_OWNER}
where t.token_hash in ({{keys}}) and t.project_id || '' = $1 and g.project_id = t.project_id and g.id = t.agent_id
union all
select 2, null, null, null, {_EDGE}, {_AGENT}
from kavach_agent_tokens t cross join kavach_delegations d {_GIVER}
and t.token_hash in ({{keys}}) and t.project_id || '' = $1 and d.to_agent = t.agent_id and {_LIVE}
union all {_PROJECT}
"""
_BY_ID: Final = f"""
select 1, cast(null as bytea), cast(null as timestamptz), cast(null as timestamptz), {_NO_EDGE}, {_AGENT}
from kavach_agents g {_OWNER} where g.project_id = $1 and g.id in ({{keys}})
union all
select 2, null, null, null, {_EDGE}, {_AGENT} from kavach_delegations d {_GIVER}
and d.to_agent in ({{keys}}) and {_LIVE}
union all {_PROJECT}
"""
_EDGE_BY_ID: Final = f"""
select 2, null, null, null, {_EDGE}, {_AGENT} from kavach_delegations d {_GIVER}
and d.project_id = $1 and d.id in ({{keys}})
"""

# All at once, with the walk in the statement. `offset 0` keeps each look-up inside the row it belongs to.


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
union all {_PROJECT}
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
        self._take(await tx.fetch_facts(_AT_ONCE, project, tokens, agents, tx.floor))

    async def load_by_level(
        self, tx: Transaction, project: str, tokens: Sequence[bytes], agents: Sequence[bytes]
    ) -> None:
        """From the agents asked about and the delegations into them, up while there is anything new."""
        above = self._take(await tx.fetch_in(_BY_TOKEN, (project, tx.floor), tokens))
        above |= self._take(await tx.fetch_in(_BY_ID, (project, tx.floor), agents))
        while missing := sorted(above - self.edges.keys()):
            above = self._take(await tx.fetch_in(_EDGE_BY_ID, (project,), missing))

    def _take(self, rows: Iterable[Iterable[Any]]) -> set[bytes]:
        """Take in rows; returns the delegations that what they tell of stands on."""
        above: set[bytes] = set()
        for row in rows:
            values = tuple(row)
            kind, token, retired_at, closed_until = values[:_EDGE_AT]
            if kind == 3:
                self.project = ProjectFacts(retired_at, values[_AGENT_AT - 1])
                continue
            agent = AgentFacts._make(values[_AGENT_AT:])
            self.agents[agent.id] = agent
            if agent.founding_id is not None:
                above.add(agent.founding_id)
            if kind == 0:
                self.credentials[token] = Credential(agent.id, retired_at, closed_until)
            elif kind == 2:
                edge = Edge._make(values[_EDGE_AT:_AGENT_AT])
                self.edges[edge.id] = edge
                if edge.source_id is not None:
                    above.add(edge.source_id)
        return above
