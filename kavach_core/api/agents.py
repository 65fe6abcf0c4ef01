"""Operations on agents."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kavach_core.api.entitled import check_key_gives, check_key_holds, owner_filter, require_agent
from kavach_core.api.models import In, Number, Out, PermissionIn, PermissionOut, Query, read_time, write_time
from kavach_core.api.operation import LARGE, Call, Caller, Operation
from kavach_core.capabilities.agents import Agent, DelegatedAgent, RotatedAgent
from kavach_core.capabilities.keys import Scope
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.errors import InvalidInput
from kavach_core.primitives.page import MAX_LIMIT, Page
from kavach_core.primitives.principal import HumanIdentity
from kavach_core.primitives.unset import UNSET

_OWNERS = frozenset({Caller.HUMAN, Caller.SERVICE})
_OWNERS_AND_ITSELF = _OWNERS | {Caller.AGENT}


class CreateAgentIn(In):
    """A new agent. For a human the owner is who is signed in, whatever is sent."""

    owner_id: str | None = None
    #: Another name of `ownerId`.
    delegated_from: str | None = None
    name: str
    type: Literal["autonomous", "delegated", "service"] = "autonomous"
    permissions: list[PermissionIn] = Field(default_factory=list[PermissionIn])
    ttl: str | int | None = None
    expires_at: str | None = None
    metadata: dict[str, Any] | None = None


class UpdateAgentIn(In):
    """What changes; what is left out or null stays."""

    name: str | None = None
    permissions: list[PermissionIn] | None = None
    ttl: str | int | None = None
    expires_at: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def gives(self) -> bool:
        """Whether it could let the agent do more than before, or longer."""
        return any(part is not None for part in (self.permissions, self.ttl, self.expires_at))


class RotateIn(In):
    """Whether the delegations made with the old token end as well."""

    cut_children: bool = False


class DelegateIn(In):
    """A part of what an agent has, for a new agent."""

    permissions: list[PermissionIn]
    ttl: str | int | None = None
    expires_at: str | None = None
    max_depth: int | None = None
    purpose: str | None = None
    name: str | None = None


class AgentsQuery(Query):
    """Which agents."""

    user_id: str | None = None
    status: str | None = None
    type: str | None = None
    limit: Number = MAX_LIMIT
    offset: Number = 0


class AgentOut(Out):
    """An agent. `token` is empty but in the answers of create, rotate and delegate."""

    id: str
    owner_id: str
    name: str
    type: str
    token: str
    status: str
    permissions: list[PermissionOut]
    metadata: dict[str, Any]
    ttl: int | None = Field(description="Seconds of inactivity after which the agent ends.")
    expires_at: str | None
    created_at: str
    updated_at: str
    last_used_at: str | None
    delegation_id: str | None = Field(description="The delegation an agent made by delegating lives by.")

    @classmethod
    def of(cls, agent: Agent) -> AgentOut:
        """The wire form of an agent."""
        return cls.model_construct(**_fields(agent))


class RotatedAgentOut(AgentOut):
    """An agent with its new token, and the live delegations it made with the old one."""

    delegations: list[str]
    cut_children: bool


def _fields(agent: Agent) -> dict[str, Any]:
    delegated = agent.delegated_permissions if isinstance(agent, DelegatedAgent) else agent.permissions
    return {
        "id": agent.id,
        "owner_id": agent.owner_id,
        "name": agent.name,
        "type": agent.type.value,
        "token": agent.token or "",
        "status": agent.status.value,
        "permissions": PermissionOut.of(delegated),
        "metadata": dict(agent.metadata),
        "ttl": None if agent.ttl is None else int(agent.ttl.total_seconds()),
        "expires_at": write_time(agent.expires_at),
        "created_at": write_time(agent.created_at),
        "updated_at": write_time(agent.updated_at),
        "last_used_at": write_time(agent.last_used_at),
        "delegation_id": agent.founding_delegation_id,
    }


async def _create(call: Call) -> AgentOut:
    body: CreateAgentIn = call.body
    agent = await call.kavach.agents.create(
        owner_id=_owner_of_new(call, body),
        name=body.name,
        type=body.type,
        permissions=body.permissions,
        ttl=body.ttl,
        expires_at=read_time(body.expires_at, "expiresAt"),
        metadata=body.metadata,
        grantable=await call.edge.grantable_for(call.identity),
    )
    return AgentOut.of(agent)


def _owner_of_new(call: Call, body: CreateAgentIn) -> str:
    if isinstance(call.identity, HumanIdentity):
        return call.identity.id
    owner_id, other_name = body.owner_id, body.delegated_from
    if other_name is None:
        if owner_id is None:
            raise InvalidInput("ownerId is required.", field="ownerId")
        return owner_id
    if owner_id not in (None, other_name):
        raise InvalidInput("ownerId and delegatedFrom name two owners.", field="delegatedFrom")
    return require_owner_id(other_name, field="delegatedFrom")


async def _list(call: Call) -> Page[AgentOut]:
    query: AgentsQuery = call.query
    page = await call.kavach.agents.list(
        owner_id=owner_filter(call, query.user_id),
        status=query.status,
        type=query.type,
        limit=query.limit,
        offset=query.offset,
    )
    return Page([AgentOut.of(agent) for agent in page], page.total)


async def _get(call: Call) -> AgentOut:
    return AgentOut.of(await require_agent(call, call.param("id")))


async def _update(call: Call) -> AgentOut:
    body: UpdateAgentIn = call.body
    agent = await require_agent(call, call.param("id"))
    updated = await call.kavach.agents.update(
        agent.id,
        name=UNSET if body.name is None else body.name,
        permissions=UNSET if body.permissions is None else body.permissions,
        ttl=UNSET if body.ttl is None else body.ttl,
        expires_at=UNSET if body.expires_at is None else read_time(body.expires_at, "expiresAt"),
        metadata=UNSET if body.metadata is None else body.metadata,
        grantable=await call.edge.widening_for(call.identity) if body.gives else None,
    )
    return AgentOut.of(updated)


async def _revoke(call: Call) -> None:
    agent = await require_agent(call, call.param("id"))
    await call.kavach.agents.revoke(agent.id)


async def _rotate(call: Call) -> RotatedAgentOut:
    agent = await require_agent(call, call.param("id"))
    await check_key_holds(call, agent.id)
    rotated: RotatedAgent = await call.kavach.agents.rotate(agent.id, cut_children=call.body.cut_children)
    return RotatedAgentOut.model_construct(
        **_fields(rotated), delegations=list(rotated.delegations), cut_children=rotated.cut
    )


async def _delegate(call: Call) -> AgentOut:
    body: DelegateIn = call.body
    agent = await require_agent(call, call.param("id"))
    check_key_gives(call, body.permissions)
    child = await call.kavach.agents.delegate(
        from_=agent.id,
        permissions=body.permissions,
        ttl=body.ttl,
        expires_at=read_time(body.expires_at, "expiresAt"),
        max_depth=body.max_depth,
        purpose=body.purpose,
        name=body.name,
    )
    return AgentOut.of(child)


OPERATIONS = (
    Operation(
        name="createAgent",
        method="POST",
        path="/agents",
        callers=_OWNERS,
        scope=Scope.AGENTS_WRITE,
        summary="Make an agent; its token is in this answer and nowhere else",
        tag="agents",
        body=CreateAgentIn,
        output=AgentOut,
        status=201,
        limit=LARGE,
        handler=_create,
    ),
    Operation(
        name="listAgents",
        method="GET",
        path="/agents",
        callers=_OWNERS,
        scope=Scope.AGENTS_READ,
        summary="List agents, newest first",
        tag="agents",
        query=AgentsQuery,
        output=AgentOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="getAgent",
        method="GET",
        path="/agents/{id}",
        callers=_OWNERS_AND_ITSELF,
        scope=Scope.AGENTS_READ,
        summary="Read an agent",
        tag="agents",
        output=AgentOut,
        handler=_get,
    ),
    Operation(
        name="updateAgent",
        method="PATCH",
        path="/agents/{id}",
        callers=_OWNERS,
        scope=Scope.AGENTS_WRITE,
        summary="Change an agent; narrowing it narrows every chain below",
        tag="agents",
        body=UpdateAgentIn,
        body_optional=True,
        output=AgentOut,
        limit=LARGE,
        handler=_update,
    ),
    Operation(
        name="revokeAgent",
        method="DELETE",
        path="/agents/{id}",
        callers=_OWNERS,
        scope=Scope.AGENTS_WRITE,
        summary="End an agent and everything that hangs from it, for good",
        tag="agents",
        status=204,
        handler=_revoke,
    ),
    Operation(
        name="rotateAgent",
        method="POST",
        path="/agents/{id}/rotate",
        callers=_OWNERS,
        scope=Scope.AGENTS_WRITE,
        summary="Replace an agent's token; the old one is dead at once",
        tag="agents",
        body=RotateIn,
        body_optional=True,
        output=RotatedAgentOut,
        handler=_rotate,
    ),
    Operation(
        name="delegateAgent",
        method="POST",
        path="/agents/{id}/delegate",
        callers=_OWNERS_AND_ITSELF,
        scope=Scope.DELEGATIONS_WRITE,
        summary="Make a sub-agent with a part of what an agent has",
        tag="agents",
        body=DelegateIn,
        output=AgentOut,
        status=201,
        limit=LARGE,
        handler=_delegate,
    ),
)
