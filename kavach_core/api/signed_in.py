"""What a human is told who has signed in: the user, the session, and for browsers the cookie in place of its token."""

from __future__ import annotations

import json

from kavach_core.api.cookies import Header, browser_cookie, session_cookie
from kavach_core.api.credentials import presented
from kavach_core.api.models import Out, write_time
from kavach_core.api.operation import Call, Reply
from kavach_core.api.origin import is_browser
from kavach_core.capabilities.sessions import Session
from kavach_core.capabilities.users import User
from kavach_core.errors import CallerNotAllowed, Unauthenticated
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.principal import HumanIdentity


class UserOut(Out):
    """Somebody who signs in with Kavach's own sign-in."""

    id: str
    email: str | None
    email_verified: bool
    name: str | None
    created_at: str

    @classmethod
    def of(cls, user: User) -> UserOut:
        """The wire form of a user."""
        return cls(
            id=user.id,
            email=user.email,
            email_verified=user.email_verified,
            name=user.display_name,
            created_at=write_time(user.created_at) or "",
        )


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
    method: str
    is_fresh: bool
    #: Only where one session is asked for, and its human is a user of Kavach's own sign-in.
    user: UserOut | None

    @classmethod
    def of(cls, session: Session, token: str = "", user: User | None = None) -> SessionOut:
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
            method=session.method.value,
            is_fresh=session.is_fresh,
            user=None if user is None else UserOut.of(user),
        )


class SignedInOut(Out):
    """A user and their new session."""

    user: UserOut
    session: SessionOut


async def signed_in(call: Call, session: Session, browser: Browser | None = None, *, status: int = 200) -> Reply:
    """The answer to a sign-in. The cookie is always set; a browser never sees the token.

    A browser without a name gets the one it signed in under, by which it is known the next time.
    """
    await _end_replaced(call)
    user, config = await call.kavach.users.get(session.user_id), call.edge.config
    out = SignedInOut(user=UserOut.of(user), session=SessionOut.of(session, new_token(call, session), user))
    named = () if browser is None else browser_cookie(config, browser)
    return reply(out, status=status, headers=(session_cookie(config, session), *named))


async def _end_replaced(call: Call) -> None:
    """End the session of the cookie that the new one takes the place of: only who copied it could still use it.

    A program is shown its tokens, and may go on with an older one.
    """
    if is_browser(call.view) and presented(call.view) is None:
        live, recovering = await call.edge.session(call.view), await call.edge.recovering(call.view)
        if live is not None:
            await call.kavach.sessions.revoke(live.id)
        if recovering is not None and recovering.session_id is not None:
            await call.kavach.sessions.revoke(recovering.session_id)


def new_token(call: Call, session: Session) -> str:
    """The token of a session that was just started as its body shows it: to a program, and never to a browser."""
    return "" if is_browser(call.view) else session.token or ""


def reply(out: Out, *, status: int = 200, headers: tuple[Header, ...]) -> Reply:
    """An answer that sets cookies."""
    return Reply(status=status, body=json.dumps(out.model_dump(by_alias=True)).encode(), headers=headers)


def human_of(call: Call) -> HumanIdentity:
    """The human who calls. Raises `CallerNotAllowed`."""
    if not isinstance(call.identity, HumanIdentity):
        raise CallerNotAllowed("This is for a signed-in human.")
    return call.identity


def own_session_id(call: Call) -> str:
    """The session of the human who calls. Raises `Unauthenticated` where the app's own auth names them."""
    session_id = human_of(call).session_id
    if session_id is None:
        raise Unauthenticated("There is no Kavach session: the app's own auth says who this is.")
    return session_id
