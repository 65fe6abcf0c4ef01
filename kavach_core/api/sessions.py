"""Operations on sessions: one's own, and for a key those of others."""

from __future__ import annotations

from kavach_core.api.cookies import no_session_cookie
from kavach_core.api.credentials import bearer_of
from kavach_core.api.models import EmptyIn, In
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.api.signed_in import SessionOut, human_of, own_session_id
from kavach_core.capabilities.keys import Scope
from kavach_core.errors import NotFound
from kavach_core.primitives.principal import HumanIdentity

_HUMAN = frozenset({Caller.HUMAN})
_OWNERS = frozenset({Caller.HUMAN, Caller.SERVICE})


class CreateSessionIn(In):
    """For whom a session is started."""

    user_id: str


async def _current(call: Call) -> SessionOut:
    session = await call.kavach.sessions.get(own_session_id(call))
    return SessionOut.of(session, bearer_of(call.view) or "", await call.kavach.users.find(session.user_id))


async def _sign_out(call: Call) -> Reply:
    # The app's own auth may be what says who this is; beside that there may be a session all the same.
    session = await call.edge.session(call.view)
    await call.kavach.sessions.revoke(own_session_id(call) if session is None else session.id)
    return Reply(status=204, headers=(no_session_cookie(call.edge.config),))


async def _list(call: Call) -> list[SessionOut]:
    return [SessionOut.of(session) for session in await call.kavach.sessions.list(human_of(call).id)]


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
    human = human_of(call)
    await call.kavach.sessions.revoke_all(human.id, except_id=human.session_id)


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
        body=EmptyIn,
        body_optional=True,
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
