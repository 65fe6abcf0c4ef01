"""Every operation once more, told independently of the code: who may call it, by which scope, and a good call of it.

A new operation fails the tests until it has a row here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kavach_core import Session
from kavach_core.capabilities.budgets.model import SetBy
from kavach_core.testing_passkeys import SoftAuthenticator
from tests.http.ceremonies import adding, passkeys_of, recovering, registering, signing_in, verifying
from tests.http.world import Headers, World, bearer


class Cast(NamedTuple):
    """One owner's things, which calls are about, and the credentials of those who call."""

    agent: str
    #: Another agent of the same owner.
    peer: str
    delegation: str
    session: str
    key: str
    passkey: str
    #: A budget that the owner set on the agent, and a question of the agent that waits for an answer.
    budget: str
    approval: str
    #: A decision about the agent that reserved something.
    decision: str
    as_human: Headers
    as_agent: Headers
    #: Whom a recovery code let in.
    as_recovering: Headers
    authenticator: SoftAuthenticator


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One operation."""

    method: str
    path: str
    #: Letters of those who may call: h(uman), a(gent), s(ervice), r(ecovering human); `*` for anyone.
    who: str
    scope: str | None = None
    #: Which of the cast the id in the path, or the body, names.
    about: str | None = None
    body: Callable[[Cast], Any] | None = None
    #: For a body that answers something: makes the arguments for the client, in the name of a session.
    answers: Callable[[World, SoftAuthenticator, Session], Awaitable[dict[str, Any]]] | None = None
    status: int = 200
    #: Whether the database is asked at all.
    stored: bool = True

    def url(self, cast: Cast) -> str:
        """The path below the mount, about one of the cast."""
        return self.path.format(id=getattr(cast, self.about or "agent"))

    async def content(self, world: World, cast: Cast, caller: Headers) -> dict[str, Any]:
        """The body as arguments for the client."""
        if self.answers is not None:
            session = await _session(world, caller if "r" in self.who else {}, cast)
            return await self.answers(world, cast.authenticator, session)
        return {} if self.body is None else {"json": self.body(cast)}


def _constant(**body: Any) -> Callable[[Cast], Any]:
    return lambda cast: body


def _delegation(cast: Cast) -> Any:
    return {"fromAgent": cast.agent, "toAgent": cast.peer, "permissions": ["read:issues"]}


_NEW_AGENT = _constant(ownerId="alice", name="new", type="autonomous", permissions=["read:repos"])
_SIGN_UP = _constant(email="ada@example.org", password="correct horse battery")
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
    "beginPasskeyRegistration": Example(method="POST", path="/passkey/register/begin", who="*"),
    "finishPasskeyRegistration": Example(
        method="POST", path="/passkey/register/finish", who="*", answers=registering, status=201
    ),
    "beginPasskeySignIn": Example(method="POST", path="/passkey/sign-in/begin", who="*"),
    "finishPasskeySignIn": Example(method="POST", path="/passkey/sign-in/finish", who="*", answers=signing_in),
    "beginPasskeyVerification": Example(method="POST", path="/passkey/verify/begin", who="h"),
    "finishPasskeyVerification": Example(method="POST", path="/passkey/verify/finish", who="h", answers=verifying),
    "listPasskeys": Example(method="GET", path="/passkeys", who="hr"),
    "beginPasskeyAddition": Example(method="POST", path="/passkeys/begin", who="hr"),
    "finishPasskeyAddition": Example(method="POST", path="/passkeys/finish", who="hr", answers=adding, status=201),
    "renamePasskey": Example(
        method="PATCH", path="/passkeys/{id}", who="h", about="passkey", body=_constant(name="My laptop")
    ),
    "deletePasskey": Example(method="DELETE", path="/passkeys/{id}", who="h", about="passkey", status=204),
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
    "openapi": Example(method="GET", path="/openapi.json", who="*", stored=False),
    "signUpByEmail": Example(method="POST", path="/sign-up/email", who="*", body=_SIGN_UP, status=404, stored=False),
    "confirmSignUp": Example(
        method="POST",
        path="/sign-up/confirm",
        who="*",
        body=_constant(token="t", password="p"),
        status=404,
        stored=False,
    ),
    "signInByEmail": Example(method="POST", path="/sign-in/email", who="*", body=_SIGN_UP, status=404, stored=False),
    "setPassword": Example(method="POST", path="/password", who="h", body=_constant(password="p"), status=404),
    "getRecovery": Example(method="GET", path="/recovery", who="h"),
    "issueRecoveryCodes": Example(method="POST", path="/recovery/codes", who="h", status=201),
    "useRecoveryCode": Example(
        method="POST", path="/recovery/use", who="*", body=_constant(code="-".join(["ABCD"] * 6)), status=401
    ),
    "mailRecoveryLink": Example(
        method="POST",
        path="/recovery/link",
        who="*",
        body=_constant(email="ada@example.org"),
        status=404,
        stored=False,
    ),
    "useRecoveryLink": Example(
        method="POST", path="/recovery/link/use", who="*", body=_constant(token="unknown"), status=400
    ),
    "issueRecoveryLink": Example(
        method="POST", path="/users/{id}/recovery", who="s", scope="sessions:write", status=404
    ),
    "mailEmailProof": Example(method="POST", path="/verify-email/send", who="h", status=404),
    "verifyEmail": Example(method="POST", path="/verify-email", who="h", body=_constant(token="unknown"), status=400),
    "grantable": Example(method="GET", path="/grantable", who="h"),
    "createBudget": Example(
        method="POST",
        path="/budgets",
        who="hs",
        scope="budgets:write",
        about="agent",
        body=lambda cast: {"agentId": cast.agent, "limit": 5, "per": "day"},
        status=201,
    ),
    "listBudgets": Example(method="GET", path="/budgets", who="hs", scope="budgets:read"),
    "getBudget": Example(method="GET", path="/budgets/{id}", who="hs", scope="budgets:read", about="budget"),
    "updateBudget": Example(
        method="PATCH",
        path="/budgets/{id}",
        who="hs",
        scope="budgets:write",
        about="budget",
        body=_constant(limit=9, action="warn"),
    ),
    "deleteBudget": Example(
        method="DELETE", path="/budgets/{id}", who="hs", scope="budgets:write", about="budget", status=204
    ),
    "remaining": Example(method="GET", path="/agents/{id}/remaining", who="has", scope="budgets:read", about="agent"),
    "settle": Example(
        method="POST",
        path="/audit/{id}/settle",
        who="s",
        scope="authorize",
        about="decision",
        body=_constant(actual=1),
    ),
    "listApprovals": Example(method="GET", path="/approvals", who="has", scope="approvals:read"),
    "getApproval": Example(method="GET", path="/approvals/{id}", who="has", scope="approvals:read", about="approval"),
    "approve": Example(
        method="POST", path="/approvals/{id}/approve", who="hs", scope="approvals:write", about="approval"
    ),
    "deny": Example(method="POST", path="/approvals/{id}/deny", who="hs", scope="approvals:write", about="approval"),
    "setOwnerPermissions": Example(
        method="POST",
        path="/owners/permissions",
        who="s",
        scope="owners:write",
        body=_constant(ownerId="zoe", permissions=["read:repos"]),
        status=204,
    ),
    "getProject": Example(method="GET", path="/project", who="s", scope="project:write"),
    "suspendProject": Example(method="POST", path="/project/suspend", who="s", scope="project:write", status=204),
    "resumeProject": Example(method="POST", path="/project/resume", who="s", scope="project:write", status=204),
    "signInPage": Example(method="GET", path="/sign-in", who="*"),
    "accountPage": Example(method="GET", path="/account", who="*", status=303),
    "recoverPage": Example(method="GET", path="/recover", who="*"),
    "verifyEmailPage": Example(method="GET", path="/verify-email", who="*", stored=False),
    "assetClientJs": Example(method="GET", path="/client.js", who="*", stored=False),
    "assetClientDTs": Example(method="GET", path="/client.d.ts", who="*", stored=False),
    "assetReactJs": Example(method="GET", path="/react.js", who="*", stored=False),
    "assetReactDTs": Example(method="GET", path="/react.d.ts", who="*", stored=False),
    "assetDomJs": Example(method="GET", path="/dom.js", who="*", stored=False),
    "assetSignInJs": Example(method="GET", path="/sign-in.js", who="*", stored=False),
    "assetAccountJs": Example(method="GET", path="/account.js", who="*", stored=False),
    "assetAgentsJs": Example(method="GET", path="/agents.js", who="*", stored=False),
    "assetApprovalsJs": Example(method="GET", path="/approvals.js", who="*", stored=False),
    "assetArgumentsJs": Example(method="GET", path="/arguments.js", who="*", stored=False),
    "assetBudgetsJs": Example(method="GET", path="/budgets.js", who="*", stored=False),
    "assetRecoverJs": Example(method="GET", path="/recover.js", who="*", stored=False),
    "assetVerifyEmailJs": Example(method="GET", path="/verify-email.js", who="*", stored=False),
    "assetStyleCss": Example(method="GET", path="/style.css", who="*", stored=False),
}


async def make_cast(world: World, owner: str = "alice") -> Cast:
    """A fresh cast of one owner."""
    # One of the operations stops all agents; and only so many questions wait for one human.
    await world.kavach.project.resume()
    for waiting in await world.kavach.approvals.list(owner_id=owner, status="pending"):
        await world.kavach.approvals.deny(waiting.id, by=owner)
    consent = {"resource": "bills", "actions": ["pay"], "constraints": {"requireApproval": True}}
    giver = await world.agent("read:repos", "read:issues", consent, owner=owner)
    receiver = await world.agent("read:repos", owner=owner)
    delegation = await world.kavach.delegations.create(
        from_agent=giver.id, to_agent=receiver.id, permissions=["read:repos"]
    )
    session = await world.kavach.sessions.create(owner)
    key = await world.kavach.keys.create(name="a key", scopes=["keys:write"])
    budget = await world.kavach.budgets.create(agent_id=giver.id, limit=1000, per="month", set_by=SetBy.OWNER)
    spent = await world.kavach.authorize(giver.id, action="read", resource="repos", cost=2)
    asked = await world.kavach.authorize(giver.id, action="pay", resource="bills")
    assert spent.audit_id and asked.approval_id
    passkey, authenticator = await passkeys_of(world.kavach, owner)
    return Cast(
        agent=giver.id,
        peer=receiver.id,
        delegation=delegation.id,
        session=session.id,
        key=key.id,
        passkey=passkey,
        budget=budget.id,
        approval=asked.approval_id,
        decision=spent.audit_id,
        as_human=await world.human(owner),
        as_agent=bearer(giver.token),
        as_recovering=await recovering(world.kavach, owner),
        authenticator=authenticator,
    )


async def _session(world: World, caller: Headers, cast: Cast) -> Session:
    """The session of somebody who is recovering; of the cast's human for all others."""
    token = (caller or cast.as_human).get("authorization", "").removeprefix("Bearer ")
    session = await world.kavach.sessions.verify_recovery(token)
    if isinstance(session, Session):
        return session
    found = await world.kavach.sessions.verify(cast.as_human["authorization"].removeprefix("Bearer "))
    assert isinstance(found, Session)
    return found
