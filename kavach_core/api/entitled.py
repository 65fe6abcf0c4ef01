"""Who may touch what, once they may call at all. What is foreign looks like what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kavach_core.api.operation import Call
from kavach_core.capabilities.agents import Agent
from kavach_core.capabilities.delegation import Delegation
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.errors import GrantNotAllowed, NotFound
from kavach_core.primitives import ids
from kavach_core.primitives.permissions import PermissionLike, parse_permissions, uncovered
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, ServiceIdentity

_SHOWN: Final = 20


async def require_agent(call: Call, agent_id: str, *, field: str = "id") -> Agent:
    """Return an agent the caller is entitled to: their own, itself, or any for a key.

    Raises `NotFound`, and `InvalidInput` that names `field`, the place where the id was.
    """
    ids.AGENT.raw(agent_id, field=field)
    agent = await call.kavach.agents.get(agent_id)
    match call.identity:
        case HumanIdentity(id=owner_id) if agent.owner_id != owner_id:
            raise NotFound("There is no such agent.")
        case AgentIdentity(agent_id=own_id) if agent.id != own_id:
            raise NotFound("There is no such agent.")
        case _:
            return agent


async def require_delegation(call: Call, delegation_id: str, *, field: str = "id") -> Delegation:
    """Return a delegation the caller takes part in: as giver, receiver or their owner, or any for a key.

    Raises `NotFound`, and `InvalidInput` that names `field`, the place where the id was.
    """
    ids.DELEGATION.raw(delegation_id, field=field)
    delegation = await call.kavach.delegations.get(delegation_id)
    match call.identity:
        case HumanIdentity(id=owner_id):
            giver = await call.kavach.agents.get(delegation.from_agent)
            if giver.owner_id != owner_id:
                raise NotFound("There is no such delegation.")
        case AgentIdentity(agent_id=own_id) if own_id not in (delegation.from_agent, delegation.to_agent):
            raise NotFound("There is no such delegation.")
        case _:
            pass
    return delegation


def owner_filter(call: Call, asked: str | None) -> str | None:
    """The owner a list is cut down to: a human's own, whatever they ask for; a key's choice. Raises `InvalidInput`."""
    if asked is not None:
        require_owner_id(asked, field="userId")
    return call.identity.id if isinstance(call.identity, HumanIdentity) else asked


def check_key_gives(call: Call, permissions: Sequence[PermissionLike], *, field: str = "permissions") -> None:
    """Hold an API key to its own `grantable`, whichever way it gives. Raises `GrantNotAllowed` and `InvalidInput`."""
    if not isinstance(call.identity, ServiceIdentity):
        return
    missing = uncovered(call.identity.grantable, parse_permissions(permissions, field=field))
    if missing:
        raise GrantNotAllowed("This key may not give these permissions.", details={"uncovered": missing[:_SHOWN]})


async def check_key_holds(call: Call, agent_id: str) -> None:
    """Hold an API key to its own `grantable` where it is about to hold an agent's token, and so all that agent may.

    Raises `GrantNotAllowed`.
    """
    if isinstance(call.identity, ServiceIdentity):
        check_key_gives(call, await call.kavach.delegations.effective_permissions(agent_id))
