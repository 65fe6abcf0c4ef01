"""Operations on approvals: agents look and wait, humans (or a key that speaks for them) answer."""

from __future__ import annotations

from typing import Any, Final

from kavach_core.api.entitled import owner_filter, require_agent
from kavach_core.api.models import EmptyIn, Number, Out, Query, write_time
from kavach_core.api.operation import Call, Caller, Operation
from kavach_core.capabilities.approvals import Approval
from kavach_core.capabilities.authorize.redaction import find_redacted
from kavach_core.capabilities.keys import Scope
from kavach_core.config import Config
from kavach_core.errors import InvalidInput, NotFound
from kavach_core.primitives.page import Page
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity
from kavach_core.primitives.text import canonical_json

_ANSWERING = frozenset({Caller.HUMAN, Caller.SERVICE})
_LOOKING = frozenset({Caller.HUMAN, Caller.AGENT, Caller.SERVICE})
#: Seconds one request may wait for an answer; proxies give up soon after.
_LONGEST_WAIT: Final = 30


class ApprovalsQuery(Query):
    """Which approvals."""

    agent_id: str | None = None
    user_id: str | None = None
    status: str | None = None
    limit: Number = 100
    offset: Number = 0


class WaitQuery(Query):
    """How long to wait for an answer, in seconds."""

    wait: Number = 0


class ApprovalOut(Out):
    """An approval as it stands. What it shows of the call is what the server recorded.

    `argumentsJson` says the same as `arguments`, for pages: JavaScript rounds whole numbers beyond 2^53. `redacted` has
    JSON pointers into it, to the values that were secrets and are hidden.
    """

    id: str
    agent_id: str
    agent_name: str
    owner_id: str
    action: str
    resource: str
    arguments: dict[str, Any] | None
    arguments_json: str | None
    redacted: list[str]
    arguments_hash: str | None
    #: What the call may cost at most, and in what; null if that was not said.
    cost: int | None
    cost_unit: str
    status: str
    created_at: str
    expires_at: str
    decided_at: str | None
    decided_by: str | None
    audit_id: str | None

    @classmethod
    def of(cls, approval: Approval, config: Config) -> ApprovalOut:
        """The wire form of an approval."""
        arguments = approval.arguments
        return cls(
            id=approval.id,
            agent_id=approval.agent_id,
            agent_name=approval.agent_name,
            owner_id=approval.owner_id,
            action=approval.action,
            resource=approval.resource,
            arguments=arguments,
            arguments_json=None if arguments is None else canonical_json(arguments),
            redacted=list(find_redacted(arguments, config.redact)),
            arguments_hash=approval.arguments_hash,
            cost=approval.cost,
            cost_unit=config.cost_unit,
            status=approval.status.value,
            created_at=write_time(approval.created_at) or "",
            expires_at=write_time(approval.expires_at) or "",
            decided_at=write_time(approval.decided_at),
            decided_by=approval.decided_by,
            audit_id=approval.audit_id,
        )


async def _list(call: Call) -> Page[ApprovalOut]:
    query: ApprovalsQuery = call.query
    own_id = call.identity.agent_id if isinstance(call.identity, AgentIdentity) else None
    asked = own_id if query.agent_id is None else query.agent_id
    page = await call.kavach.approvals.list(
        agent_id=None if asked is None else (await require_agent(call, asked, field="agentId")).id,
        owner_id=owner_filter(call, query.user_id),
        status=query.status,
        limit=query.limit,
        offset=query.offset,
    )
    return Page([_shown(call, approval) for approval in page], page.total)


async def _get(call: Call) -> ApprovalOut:
    wait = call.query.wait
    if wait > _LONGEST_WAIT:
        raise InvalidInput(f"wait is at most {_LONGEST_WAIT} seconds.", field="wait")
    approval = await _require(call)
    if wait:
        approval = await call.kavach.approvals.wait(approval.id, timeout=wait)
    return _shown(call, approval)


async def _approve(call: Call) -> ApprovalOut:
    approval = await _require(call)
    return _shown(call, await call.kavach.approvals.approve(approval.id, by=_who(call)))


async def _deny(call: Call) -> ApprovalOut:
    approval = await _require(call)
    return _shown(call, await call.kavach.approvals.deny(approval.id, by=_who(call)))


async def _require(call: Call) -> Approval:
    """Return an approval the caller is entitled to: of an agent of theirs, their own, or any for a key.

    Raises `NotFound`.
    """
    approval = await call.kavach.approvals.get(call.param("id"))
    match call.identity:
        case HumanIdentity(id=owner_id) if approval.owner_id != owner_id:
            raise NotFound("There is no such approval.")
        case AgentIdentity(agent_id=own_id) if approval.agent_id != own_id:
            raise NotFound("There is no such approval.")
        case _:
            return approval


def _shown(call: Call, approval: Approval) -> ApprovalOut:
    return ApprovalOut.of(approval, call.edge.config)


def _who(call: Call) -> str:
    if call.identity is None:
        raise RuntimeError("nobody answers an approval")
    return call.identity.id


OPERATIONS = (
    Operation(
        name="listApprovals",
        method="GET",
        path="/approvals",
        callers=_LOOKING,
        scope=Scope.APPROVALS_READ,
        summary="List approvals, newest first",
        tag="approvals",
        query=ApprovalsQuery,
        output=ApprovalOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="getApproval",
        method="GET",
        path="/approvals/{id}",
        callers=_LOOKING,
        scope=Scope.APPROVALS_READ,
        summary="An approval as it stands, or, with wait, once it is answered",
        tag="approvals",
        query=WaitQuery,
        output=ApprovalOut,
        handler=_get,
    ),
    Operation(
        name="approve",
        method="POST",
        path="/approvals/{id}/approve",
        callers=_ANSWERING,
        scope=Scope.APPROVALS_WRITE,
        summary="Let the one call that was asked about go ahead, once",
        tag="approvals",
        body=EmptyIn,
        body_optional=True,
        output=ApprovalOut,
        handler=_approve,
    ),
    Operation(
        name="deny",
        method="POST",
        path="/approvals/{id}/deny",
        callers=_ANSWERING,
        scope=Scope.APPROVALS_WRITE,
        summary="Refuse the call that was asked about",
        tag="approvals",
        body=EmptyIn,
        body_optional=True,
        output=ApprovalOut,
        handler=_deny,
    ),
)
