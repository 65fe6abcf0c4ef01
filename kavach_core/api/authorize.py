"""The two authorize operations. A question that was answered is 200, yes or no."""

from __future__ import annotations

from typing import Any

from kavach_core.api.entitled import require_agent
from kavach_core.api.models import In, Out, PermissionOut
from kavach_core.api.operation import Call, Caller, Operation
from kavach_core.capabilities.authorize import CallContext, Decision, Explanation
from kavach_core.capabilities.authorize.service import rejection
from kavach_core.capabilities.keys import Scope
from kavach_core.errors import CallerNotAllowed, InvalidInput, ScopeMissing
from kavach_core.primitives.permissions import find_address
from kavach_core.primitives.principal import AgentIdentity, Rejected, ServiceIdentity
from kavach_core.primitives.reasons import Reason

_ASKING = frozenset({Caller.HUMAN, Caller.AGENT, Caller.SERVICE})


class ContextIn(In):
    """Where the call being asked about came from. Counts only from an API key."""

    ip: str | None = None
    user_agent: str | None = None


class AuthorizeIn(In):
    """The question."""

    action: str
    resource: str
    arguments: dict[str, Any] | None = None
    context: ContextIn | None = None
    #: The most the call can cost, in whole units. Only an API key says so; a human may try it in a dry run.
    cost: int | None = None
    dry_run: bool = False


class AuthorizeAboutIn(AuthorizeIn):
    """The question, about the agent named, or about the agent that asks."""

    agent_id: str | None = None


class LookedAtOut(Out):
    """One grant that was looked at."""

    source: str
    code: str
    stopped_at: str | None
    permissions: list[PermissionOut]
    nearest: list[PermissionOut]


class ExplanationOut(Out):
    """Why, for a dry run."""

    looked_at: list[LookedAtOut]
    closest: LookedAtOut | None
    would_pass: str

    @classmethod
    def of(cls, explanation: Explanation) -> ExplanationOut:
        """The wire form of an explanation."""
        looked_at = [
            LookedAtOut(
                source=each.source,
                code=each.code.value,
                stopped_at=each.stopped_at,
                permissions=PermissionOut.of(each.permissions),
                nearest=PermissionOut.of(each.nearest),
            )
            for each in explanation.looked_at
        ]
        place = None if explanation.closest is None else explanation.looked_at.index(explanation.closest)
        closest = None if place is None else looked_at[place]
        return cls(looked_at=looked_at, closest=closest, would_pass=explanation.would_pass)


class AuthorizeOut(Out):
    """The answer."""

    allowed: bool
    code: str
    reason: str
    audit_id: str
    retry_after: int | None = None
    #: The approval the call used, or has to wait for.
    approval_id: str | None = None
    #: Budgets that are exceeded and only warn.
    warnings: list[str]
    explanation: ExplanationOut | None = None

    @classmethod
    def of(cls, decision: Decision) -> AuthorizeOut:
        """The wire form of a decision."""
        explanation = decision.explanation
        return cls(
            allowed=decision.allowed,
            code=decision.code.value,
            reason=decision.reason,
            audit_id=decision.audit_id or "",
            retry_after=decision.retry_after,
            approval_id=decision.approval_id,
            warnings=list(decision.warnings),
            explanation=None if explanation is None else ExplanationOut.of(explanation),
        )


async def _authorize(call: Call) -> AuthorizeOut:
    body: AuthorizeAboutIn = call.body
    _check_scope(call, body)
    if body.agent_id is not None:
        return await _about(call, body.agent_id, body, field="agentId")
    if not isinstance(call.identity, AgentIdentity):
        raise InvalidInput("Without an agent's own token, agentId says which agent.", field="agentId")
    return await _ask(call, call.identity, body)


async def _authorize_by_id(call: Call) -> AuthorizeOut:
    _check_scope(call, call.body)
    return await _about(call, call.param("id"), call.body)


async def _about(call: Call, agent_id: str, body: AuthorizeIn, *, field: str = "id") -> AuthorizeOut:
    agent = await require_agent(call, agent_id, field=field)
    return await _ask(call, call.identity if isinstance(call.identity, AgentIdentity) else agent.id, body)


async def _ask(call: Call, subject: AgentIdentity | str, body: AuthorizeIn) -> AuthorizeOut:
    if body.dry_run and isinstance(call.identity, AgentIdentity):
        # An explanation names other grants, which are not for the agent to know.
        raise CallerNotAllowed("A dry run is for the agent's owner or a key.")
    if body.cost is not None and not body.dry_run and not isinstance(call.identity, ServiceIdentity):
        # Who is bounded by a budget, or by one that others share, could use it up or end them with a number.
        raise CallerNotAllowed("What a call costs is said by the app: an API key, or the route that is called.")
    decision = await call.kavach.authorize(
        subject,
        action=body.action,
        resource=body.resource,
        arguments=body.arguments,
        context=_context(call, body),
        cost=body.cost,
        dry_run=body.dry_run,
    )
    # About itself: the credential died between who-is-asking and the answer.
    died = isinstance(subject, AgentIdentity) and decision.code.ends_credential
    if died or decision.code is Reason.TOO_MANY_REFUSALS:
        raise rejection(Rejected(code=decision.code, audit_id=decision.audit_id, retry_after=decision.retry_after))
    return AuthorizeOut.of(decision)


def _check_scope(call: Call, body: AuthorizeIn) -> None:
    """What a dry run tells is in the record too; all else takes place. Raises `ScopeMissing`."""
    needed = Scope.AUDIT_READ if body.dry_run else Scope.AUTHORIZE
    if isinstance(call.identity, ServiceIdentity) and not call.identity.has_scope(needed):
        raise ScopeMissing(needed)


def _context(call: Call, body: AuthorizeIn) -> CallContext:
    """Where the call came from: what a key says about it, else the caller's own address."""
    own = call.edge.context(call.view)
    if not isinstance(call.identity, ServiceIdentity):
        return own
    told = body.context or ContextIn()
    if told.ip is not None and find_address(told.ip) is None:
        raise InvalidInput("This is not an address.", field="context.ip")
    return CallContext(ip=told.ip, user_agent=told.user_agent, request_id=own.request_id, over_http=True)


OPERATIONS = (
    Operation(
        name="authorize",
        method="POST",
        path="/authorize",
        callers=_ASKING,
        scope=Scope.AUTHORIZE,
        scope_in_part=Scope.AUDIT_READ,
        summary="Decide and record one call of the agent that asks, or of the agent named",
        tag="authorize",
        body=AuthorizeAboutIn,
        output=AuthorizeOut,
        handler=_authorize,
    ),
    Operation(
        name="authorizeAgent",
        method="POST",
        path="/agents/{id}/authorize",
        callers=_ASKING,
        scope=Scope.AUTHORIZE,
        scope_in_part=Scope.AUDIT_READ,
        summary="Decide and record one call of an agent",
        tag="authorize",
        body=AuthorizeIn,
        output=AuthorizeOut,
        handler=_authorize_by_id,
    ),
)
