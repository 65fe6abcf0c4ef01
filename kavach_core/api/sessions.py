"""Operations on sessions: one's own, and for a key those of others."""

from __future__ import annotations

from kavach_core.api.edge import bearer_of
from kavach_core.api.models import In, Out, write_time
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.capabilities.keys import Scope
from kavach_core.capabilities.sessions import Session
from kavach_core.errors import CallerNotAllowed, NotFound, Unauthenticated
from kavach_core.primitives.principal import HumanIdentity

_HUMAN = frozenset({Caller.HUMAN})
_OWNERS = frozenset({Caller.HUMAN, Caller.SERVICE})


class CreateSessionIn(In):
    """For whom a session is started."""

    user_id: str


class SessionOut(Out):
    """A session. `token` is empty unless it was presented as a bearer or just made: the cookie stays unreadable."""

    id: str
    user_id: str
    token: str
    created_at: str
    expires_at: str
    last_used_at: str
    address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, session: Session, token: str = "") -> SessionOut:
        """The wire form of a session."""
        return cls(
            id=session.id,
            user_id=session.user_id,
            token=token,
            created_at=write_time(session.created_at) or "",
            expires_at=write_time(session.expires_at) or "",
            last_used_at=write_time(session.last_used_at) or "",
            address=session.address,
            user_agent=session.user_agent,
        )


async def _current(call: Call) -> SessionOut:
    session = await call.kavach.sessions.get(_own_session_id(call))
    return SessionOut.of(session, bearer_of(call.view) or "")


async def _sign_out(call: Call) -> Reply:
    await call.kavach.sessions.revoke(_own_session_id(call))
    config = call.edge.config
    secure = "; Secure" if config.is_https else ""
    gone = f"{config.session_cookie}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{secure}"
    return Reply(status=204, headers=((b"set-cookie", gone.encode()),))


async def _list(call: Call) -> list[SessionOut]:
    return [SessionOut.of(session) for session in await call.kavach.sessions.list(_human(call).id)]


async def _create(call: Call) -> SessionOut:
    body: CreateSessionIn = call.body
    session = await call.kavach.sessions.create(body.user_id)
    return SessionOut.of(session, session.token or "")


async def _revoke(call: Call) -> None:
    session = await call.kavach.sessions.get(call.param("id"))
    if isinstance(call.identity, HumanIdentity) and session.user_id != call.identity.id:
        raise NotFound("There is no such session.")
    await call.kavach.sessions.revoke(session.id)


async def _revoke_others(call: Call) -> None:
    human = _human(call)
    await call.kavach.sessions.revoke_all(human.id, except_id=human.session_id)


def _human(call: Call) -> HumanIdentity:
    if not isinstance(call.identity, HumanIdentity):
        raise CallerNotAllowed("This is for a signed-in human.")
    return call.identity


def _own_session_id(call: Call) -> str:
    session_id = _human(call).session_id
    if session_id is None:
        raise Unauthenticated("There is no Kavach session: the app's own auth says who this is.")
    return session_id


OPERATIONS = (
    Operation(
        name="getSession",
        method="GET",
        path="/session",
        callers=_HUMAN,
        summary="Read the session of this request",
        tag="sessions",
        output=SessionOut,
        handler=_current,
    ),
    Operation(
        name="signOut",
        method="POST",
        path="/sign-out",
        callers=_HUMAN,
        summary="End the session of this request",
        tag="sessions",
        status=204,
        handler=_sign_out,
    ),
    Operation(
        name="listSessions",
        method="GET",
        path="/sessions",
        callers=_HUMAN,
        summary="List one's own live sessions",
        tag="sessions",
        output=SessionOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="createSession",
        method="POST",
        path="/sessions",
        callers=frozenset({Caller.SERVICE}),
        scope=Scope.SESSIONS_WRITE,
        summary="Start a session for a human whom the caller has signed in",
        tag="sessions",
        body=CreateSessionIn,
        output=SessionOut,
        status=201,
        handler=_create,
    ),
    Operation(
        name="revokeOtherSessions",
        method="POST",
        path="/sessions/revoke-others",
        callers=_HUMAN,
        summary="End all of one's own sessions but this one",
        tag="sessions",
        status=204,
        handler=_revoke_others,
    ),
    Operation(
        name="revokeSession",
        method="DELETE",
        path="/sessions/{id}",
        callers=_OWNERS,
        scope=Scope.SESSIONS_WRITE,
        summary="End a session",
        tag="sessions",
        status=204,
        handler=_revoke,
    ),
)
