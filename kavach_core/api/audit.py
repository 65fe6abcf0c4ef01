"""Operations on the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from kavach_core.api.entitled import owner_filter, require_agent
from kavach_core.api.models import Number, Out, PermissionOut, Query, read_time
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.capabilities.audit.export import to_wire
from kavach_core.capabilities.audit.service import Wanted
from kavach_core.capabilities.keys import Scope
from kavach_core.errors import InvalidInput
from kavach_core.primitives.page import Page
from kavach_core.primitives.principal import AgentIdentity

_READING = frozenset({Caller.HUMAN, Caller.AGENT, Caller.SERVICE})
_OWNERS = frozenset({Caller.HUMAN, Caller.SERVICE})
_MEDIA_TYPES: Final = {"json": b"application/json", "csv": b"text/csv; charset=utf-8"}


class _SpanQuery(Query):
    since: str | None = None
    until: str | None = None
    user_id: str | None = None
    agent_id: str | None = None


class AuditQuery(_SpanQuery):
    """Which entries, newest first."""

    #: Names of actions, separated by commas; empty means any.
    actions: str = ""
    result: str | None = None
    before: str | None = None
    limit: Number = 100
    offset: Number = 0


class ExportQuery(_SpanQuery):
    """Which entries, oldest first, and how they are written."""

    format: str = "json"


class TraceQuery(Query):
    """Which part of a trace."""

    after: str | None = None
    limit: Number = 1000


class PathLinkOut(Out):
    """One step from the owner's agent down to the acting one."""

    agent_id: str
    delegation_id: str | None
    permission_set: str


class AuditEntryOut(Out):
    """One recorded decision."""

    id: str
    agent_id: str
    user_id: str
    action: str
    resource: str
    parameters: dict[str, Any]
    parameters_hash: str | None
    result: str
    code: str
    reason: str
    duration_ms: float
    tokens_cost: int | None
    timestamp: str
    path: list[PathLinkOut]
    permissions: list[PermissionOut]
    permission_set: str
    grant: PermissionOut | None
    dry_run: bool
    calls: int
    writer: str
    sequence: int
    client_address: str | None
    user_agent: str | None
    request_id: str | None
    approval_id: str | None
    settles: str | None


async def _query(call: Call) -> Page[dict[str, Any]]:
    query: AuditQuery = call.query
    wanted = await _span(call, query)
    wanted["actions"] = query.actions.split(",") if query.actions else ()
    wanted["result"] = query.result
    wanted["before"] = query.before
    page = await call.kavach.audit.query(limit=query.limit, offset=query.offset, **wanted)
    return Page([to_wire(entry) for entry in page], page.total)


async def _export(call: Call) -> Reply:
    query: ExportQuery = call.query
    media_type = _MEDIA_TYPES.get(query.format)
    if media_type is None:
        raise InvalidInput("format is json or csv.", field="format")
    stream = call.kavach.audit.export(format="csv" if query.format == "csv" else "json", **await _span(call, query))
    disposition = f'attachment; filename="kavach-audit.{query.format}"'.encode()
    return Reply(
        status=200,
        content_type=media_type,
        headers=((b"content-disposition", disposition),),
        stream=await _begun(stream),
    )


async def _begun(stream: AsyncIterator[str]) -> AsyncIterator[str]:
    """The stream, with its first piece made: what fails by then is still answered as an error."""
    first = await anext(stream)

    async def pieces() -> AsyncIterator[str]:
        yield first
        async for piece in stream:
            yield piece

    return pieces()


async def _trace(call: Call) -> list[dict[str, Any]]:
    agent = await require_agent(call, call.param("id"))
    query: TraceQuery = call.query
    entries = await call.kavach.audit.trace(agent.id, after=query.after, limit=query.limit)
    return [to_wire(entry) for entry in entries]


async def _span(call: Call, query: _SpanQuery) -> Wanted:
    """The filters all reading shares, cut down to what the caller may see. Raises `NotFound` for a foreign agent."""
    own_id = call.identity.agent_id if isinstance(call.identity, AgentIdentity) else None
    asked = own_id if query.agent_id is None else query.agent_id
    return Wanted(
        agent_id=None if asked is None else (await require_agent(call, asked, field="agentId")).id,
        owner_id=owner_filter(call, query.user_id),
        since=read_time(query.since, "since"),
        until=read_time(query.until, "until"),
    )


OPERATIONS = (
    Operation(
        name="queryAudit",
        method="GET",
        path="/audit",
        callers=_READING,
        scope=Scope.AUDIT_READ,
        summary="Read the record, newest first",
        tag="audit",
        query=AuditQuery,
        output=AuditEntryOut,
        output_is_list=True,
        handler=_query,
    ),
    Operation(
        name="exportAudit",
        method="GET",
        path="/audit/export",
        callers=_OWNERS,
        scope=Scope.AUDIT_EXPORT,
        summary="Write out the record as JSON or CSV, oldest first",
        tag="audit",
        query=ExportQuery,
        handler=_export,
    ),
    Operation(
        name="traceAgent",
        method="GET",
        path="/agents/{id}/trace",
        callers=_OWNERS,
        scope=Scope.AUDIT_READ,
        summary="Read the calls of a whole chain in order: of the agents above this one, of itself, and of all below",
        tag="audit",
        query=TraceQuery,
        output=AuditEntryOut,
        output_is_list=True,
        handler=_trace,
    ),
)
