"""Operations on delegations. `/delegations/{id}` takes an agent id to read and a delegation id to delete."""

from __future__ import annotations

from kavach_core.api.entitled import check_key_gives, require_agent, require_delegation
from kavach_core.api.models import In, Out, PermissionIn, PermissionOut, read_time, write_time
from kavach_core.api.operation import LARGE, Call, Caller, Operation
from kavach_core.capabilities.delegation import Delegation
from kavach_core.capabilities.keys import Scope
from kavach_core.errors import CrossOwner, NotFound
from kavach_core.primitives import ids
from kavach_core.primitives.principal import ServiceIdentity

_TAKING_PART = frozenset({Caller.HUMAN, Caller.AGENT, Caller.SERVICE})


class CreateDelegationIn(In):
    """A part of what one agent has, for another of the same owner."""

    from_agent: str
    to_agent: str
    permissions: list[PermissionIn]
    expires_at: str | None = None
    max_depth: int | None = None
    purpose: str | None = None


class DelegationOut(Out):
    """A delegation. `status` is `ended` where it is intact but something it stands on is not."""

    id: str
    from_agent: str
    to_agent: str
    source_id: str | None
    permissions: list[PermissionOut]
    depth: int
    max_depth: int
    purpose: str | None
    expires_at: str | None
    created_at: str
    revoked_at: str | None
    status: str

    @classmethod
    def of(cls, delegation: Delegation) -> DelegationOut:
        """The wire form of a delegation."""
        return cls.model_construct(
            id=delegation.id,
            from_agent=delegation.from_agent,
            to_agent=delegation.to_agent,
            source_id=delegation.source_id,
            permissions=PermissionOut.of(delegation.permissions),
            depth=delegation.depth,
            max_depth=delegation.max_depth,
            purpose=delegation.purpose,
            expires_at=write_time(delegation.expires_at),
            created_at=write_time(delegation.created_at) or "",
            revoked_at=write_time(delegation.revoked_at),
            status=delegation.status.value,
        )


async def _create(call: Call) -> DelegationOut:
    body: CreateDelegationIn = call.body
    await _require_giver(call, body)
    check_key_gives(call, body.permissions)
    delegation = await call.kavach.delegations.create(
        from_agent=body.from_agent,
        to_agent=body.to_agent,
        permissions=body.permissions,
        expires_at=read_time(body.expires_at, "expiresAt"),
        max_depth=body.max_depth,
        purpose=body.purpose,
    )
    return DelegationOut.of(delegation)


async def _require_giver(call: Call, body: CreateDelegationIn) -> None:
    """The caller is entitled to the giver, and the receiver is not a stranger to them."""
    giver = await require_agent(call, body.from_agent, field="fromAgent")
    ids.AGENT.raw(body.to_agent, field="toAgent")
    receiver = await call.kavach.agents.get(body.to_agent)
    if receiver.owner_id != giver.owner_id:
        if isinstance(call.identity, ServiceIdentity):
            raise CrossOwner("Giver and receiver belong to different owners.")
        raise NotFound("There is no such agent.")


async def _list(call: Call) -> list[DelegationOut]:
    agent = await require_agent(call, call.param("id"))
    return [DelegationOut.of(delegation) for delegation in await call.kavach.delegations.list(agent.id)]


async def _permissions(call: Call) -> list[PermissionOut]:
    agent = await require_agent(call, call.param("id"))
    return PermissionOut.of(await call.kavach.delegations.effective_permissions(agent.id))


async def _revoke(call: Call) -> None:
    delegation = await require_delegation(call, call.param("id"))
    await call.kavach.delegations.revoke(delegation.id)


OPERATIONS = (
    Operation(
        name="createDelegation",
        method="POST",
        path="/delegations",
        callers=_TAKING_PART,
        scope=Scope.DELEGATIONS_WRITE,
        summary="Give an existing agent a part of what another has",
        tag="delegations",
        body=CreateDelegationIn,
        output=DelegationOut,
        status=201,
        limit=LARGE,
        handler=_create,
    ),
    Operation(
        name="listDelegations",
        method="GET",
        path="/delegations/{id}",
        callers=_TAKING_PART,
        scope=Scope.DELEGATIONS_READ,
        summary="List the delegations an agent takes part in, as giver or receiver",
        tag="delegations",
        output=DelegationOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="effectivePermissions",
        method="GET",
        path="/delegations/{id}/permissions",
        callers=_TAKING_PART,
        scope=Scope.DELEGATIONS_READ,
        summary="What an agent may do now: its own permissions and the delegated ones, flat",
        tag="delegations",
        output=PermissionOut,
        output_is_list=True,
        handler=_permissions,
    ),
    Operation(
        name="revokeDelegation",
        method="DELETE",
        path="/delegations/{id}",
        callers=_TAKING_PART,
        scope=Scope.DELEGATIONS_WRITE,
        summary="End a delegation and everything that stands on it",
        tag="delegations",
        status=204,
        handler=_revoke,
    ),
)
