"""Every operation once more, told independently of the code: who may call it, by which scope, and a good call of it.

A new operation fails the tests until it has a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tests.http.world import Headers, World, bearer


class Cast(NamedTuple):
    """One owner's things, which calls are about, and the credentials of those who call."""

    agent: str
    #: Another agent of the same owner.
    peer: str
    delegation: str
    session: str
    key: str
    as_human: Headers
    as_agent: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One operation."""

    method: str
    path: str
    #: Letters of those who may call: h(uman), a(gent), s(ervice); `*` for anyone.
    who: str
    scope: str | None = None
    #: Which of the cast the id in the path, or the body, names.
    about: str | None = None
    body: Callable[[Cast], Any] | None = None
    status: int = 200

    def url(self, cast: Cast) -> str:
        """The path below the mount, about one of the cast."""
        return self.path.format(id=getattr(cast, self.about or "agent"))

    def content(self, cast: Cast) -> dict[str, Any]:
        """The body as an argument for the client."""
        return {} if self.body is None else {"json": self.body(cast)}


def _constant(**body: Any) -> Callable[[Cast], Any]:
    return lambda cast: body


def _delegation(cast: Cast) -> Any:
    return {"fromAgent": cast.agent, "toAgent": cast.peer, "permissions": ["read:issues"]}


_NEW_AGENT = _constant(ownerId="alice", name="new", type="autonomous", permissions=["read:repos"])
_QUESTION = _constant(action="read", resource="repos")

EXAMPLES: Final[dict[str, Example]] = {
    "createAgent": Example(method="POST", path="/agents", who="hs", scope="agents:write", body=_NEW_AGENT, status=201),
    "listAgents": Example(method="GET", path="/agents", who="hs", scope="agents:read"),
    "getAgent": Example(method="GET", path="/agents/{id}", who="has", scope="agents:read", about="agent"),
    "updateAgent": Example(
        method="PATCH", path="/agents/{id}", who="hs", scope="agents:write", about="agent", body=_constant(name="b")
    ),
    "revokeAgent": Example(
        method="DELETE", path="/agents/{id}", who="hs", scope="agents:write", about="agent", status=204
    ),
    "rotateAgent": Example(method="POST", path="/agents/{id}/rotate", who="hs", scope="agents:write", about="agent"),
    "delegateAgent": Example(
        method="POST",
        path="/agents/{id}/delegate",
        who="has",
        scope="delegations:write",
        about="agent",
        body=_constant(permissions=["read:issues"]),
        status=201,
    ),
    "authorize": Example(
        method="POST",
        path="/authorize",
        who="has",
        scope="authorize",
        about="agent",
        body=lambda cast: {"agentId": cast.agent, "action": "read", "resource": "repos"},
    ),
    "authorizeAgent": Example(
        method="POST", path="/agents/{id}/authorize", who="has", scope="authorize", about="agent", body=_QUESTION
    ),
    "createDelegation": Example(
        method="POST",
        path="/delegations",
        who="has",
        scope="delegations:write",
        about="agent",
        body=_delegation,
        status=201,
    ),
    "listDelegations": Example(
        method="GET", path="/delegations/{id}", who="has", scope="delegations:read", about="agent"
    ),
    "effectivePermissions": Example(
        method="GET", path="/delegations/{id}/permissions", who="has", scope="delegations:read", about="agent"
    ),
    "revokeDelegation": Example(
        method="DELETE",
        path="/delegations/{id}",
        who="has",
        scope="delegations:write",
        about="delegation",
        status=204,
    ),
    "queryAudit": Example(method="GET", path="/audit", who="has", scope="audit:read"),
    "exportAudit": Example(method="GET", path="/audit/export", who="hs", scope="audit:export"),
    "traceAgent": Example(method="GET", path="/agents/{id}/trace", who="hs", scope="audit:read", about="agent"),
    "getSession": Example(method="GET", path="/session", who="h"),
    "signOut": Example(method="POST", path="/sign-out", who="h", status=204),
    "listSessions": Example(method="GET", path="/sessions", who="h"),
    "createSession": Example(
        method="POST", path="/sessions", who="s", scope="sessions:write", body=_constant(userId="alice"), status=201
    ),
    "revokeOtherSessions": Example(method="POST", path="/sessions/revoke-others", who="h", status=204),
    "revokeSession": Example(
        method="DELETE", path="/sessions/{id}", who="hs", scope="sessions:write", about="session", status=204
    ),
    "suspendOwner": Example(
        method="POST", path="/owners/suspend", who="s", scope="owners:write", body=_constant(ownerId="zoe"), status=204
    ),
    "resumeOwner": Example(
        method="POST", path="/owners/resume", who="s", scope="owners:write", body=_constant(ownerId="zoe"), status=204
    ),
    "renameOwner": Example(
        method="POST",
        path="/owners/rename",
        who="s",
        scope="owners:write",
        body=_constant(ownerId="zoe", newId="zoe-2"),
        status=204,
    ),
    "createKey": Example(
        method="POST",
        path="/keys",
        who="s",
        scope="keys:write",
        body=_constant(name="new", scopes=["keys:write"]),
        status=201,
    ),
    "listKeys": Example(method="GET", path="/keys", who="s", scope="keys:write"),
    "rotateKey": Example(method="POST", path="/keys/{id}/rotate", who="s", scope="keys:write", about="key"),
    "revokeKey": Example(method="DELETE", path="/keys/{id}", who="s", scope="keys:write", about="key", status=204),
    "openapi": Example(method="GET", path="/openapi.json", who="*"),
}


async def make_cast(world: World, owner: str = "alice") -> Cast:
    """A fresh cast of one owner."""
    giver = await world.agent("read:repos", "read:issues", owner=owner)
    receiver = await world.agent("read:repos", owner=owner)
    delegation = await world.kavach.delegations.create(
        from_agent=giver.id, to_agent=receiver.id, permissions=["read:repos"]
    )
    session = await world.kavach.sessions.create(owner)
    key = await world.kavach.keys.create(name="a key", scopes=["keys:write"])
    return Cast(
        agent=giver.id,
        peer=receiver.id,
        delegation=delegation.id,
        session=session.id,
        key=key.id,
        as_human=await world.human(owner),
        as_agent=bearer(giver.token),
    )
