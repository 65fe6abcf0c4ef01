"""Who is asking. One `Authorization` header decides alone; without it the app's own auth and the session cookie do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar, cast

from kavach_core.api.credentials import bad_credential, bearer_of, presented, session_cookies
from kavach_core.api.hooks import GetKavach, ResolveUser
from kavach_core.api.origin import context_of
from kavach_core.api.view import View
from kavach_core.capabilities.authorize.service import rejection
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.sessions.model import LiveSession, SessionEnd, SessionRejected
from kavach_core.errors import OwnerSuspended, ResolverFailed, Unauthenticated, Unavailable
from kavach_core.primitives import tokens
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity, Rejected, ServiceIdentity
from kavach_core.primitives.reasons import Reason
from kavach_core.primitives.tokens import TokenKind

#: Where an app finds the identity of a request: what the mount said that was asked last.
IDENTITY_KEY: Final = "kavach_identity"
#: Where each mount finds what it said itself. An app may have several, and none believes another.
_SAID_KEY: Final = "kavach.said"

#: An identity, or None for nobody.
Known = TypeVar("Known", bound=Identity | None)

_log = logging.getLogger("kavach")


def nothing_said(state: Mapping[str, object]) -> dict[str, object]:
    """The state of a request without what any mount has said about it."""
    return {key: value for key, value in state.items() if key not in (IDENTITY_KEY, _SAID_KEY)}


def knows_somebody(state: Mapping[str, object]) -> bool:
    """Whether any mount has told who is behind a request."""
    return any(identity is not None for identity in _said(state).values())


async def check_still(view: View) -> None:
    """Ask each mount anew that has told who is behind a connection, which stays open.

    Raises `Unauthenticated` if that is somebody else now, and as `Identifier.identify`.
    """
    for mount, known in _said(view.state).items():
        if known is not None:
            now = await mount.identify(replace(view, state=nothing_said(view.state)))
            if _who(now) != _who(known):
                raise Unauthenticated("This connection is no longer whose it was.")


class Identifier:
    """Tells who is behind the requests of one mount."""

    def __init__(self, get_kavach: GetKavach, resolve_user: ResolveUser | None, *, session_first: bool) -> None:
        self._get_kavach = get_kavach
        self._resolve_user = resolve_user
        self._asked = (self._by_cookie, self._by_app) if session_first else (self._by_app, self._by_cookie)

    async def identify(self, view: View) -> Identity | None:
        """Tell who is asking, or None. Asked once per request, then remembered in its state.

        Raises `Unauthenticated` for a credential that does not hold, `OwnerSuspended` for a human who is,
        `RateLimited`, and `ResolverFailed` or `StoreUnavailable` when it cannot be told.
        """
        said = _said(view.state)
        if self in said:
            return said[self]
        return self.remember(view, await self._identify(view))

    def remember(self, view: View, identity: Known) -> Known:
        """Keep who is behind a request, for this mount and for the app to read."""
        view.state[_SAID_KEY] = {**_said(view.state), self: identity}
        view.state[IDENTITY_KEY] = identity
        return identity

    async def session(self, view: View) -> LiveSession | None:
        """Return the live Kavach session behind a request, by cookie or bearer, or None."""
        kavach = await self._get_kavach()
        token = presented(view)
        candidates = [token] if token is not None else session_cookies(view, self._get_kavach.config.session_cookie)
        found = [await kavach.sessions.verify(each) for each in candidates]
        live = [session for session in found if isinstance(session, LiveSession)]
        return live[0] if len(live) == 1 else None

    async def recovering(self, view: View) -> HumanIdentity | None:
        """Return the human behind a recovery session, or None. A browser with two live sessions is nobody."""
        sessions = (await self._get_kavach()).sessions
        token = presented(view)
        candidates = [token] if token is not None else session_cookies(view, self._get_kavach.config.session_cookie)
        found = [await sessions.verify_recovery(each) for each in candidates]
        live = [session for session in found if isinstance(session, LiveSession)]
        if len(live) != 1 or (len(found) > 1 and await self.session(view) is not None):
            return None
        return HumanIdentity(id=live[0].user_id, session_id=live[0].id, by_header=token is not None)

    async def _identify(self, view: View) -> Identity | None:
        token = bearer_of(view)
        if token is not None:
            return await self._by_bearer(view, token)
        for ask in self._asked:
            human = await ask(view)
            if human is not None:
                return human
        return None

    async def _by_bearer(self, view: View, token: str) -> Identity:
        if not tokens.is_ours(token):
            return await self._by_foreign_bearer(view)
        match tokens.kind_of(token):
            case TokenKind.AGENT:
                return await self._by_agent_token(view, token)
            case TokenKind.SESSION:
                return await self._by_session_token(token, by_header=True)
            case TokenKind.LIVE_KEY | TokenKind.TEST_KEY:
                return await self._by_key(token)
            case None:
                raise bad_credential(Reason.MALFORMED_CREDENTIAL)

    async def _by_foreign_bearer(self, view: View) -> HumanIdentity:
        """Ask the app's own auth about a token that is not ours."""
        # The header decides alone: what is asked about it sees no cookies to fall back to, nor what middleware made of
        # them and left in the state.
        headers = [(name, value) for name, value in view.headers if name != b"cookie"]
        human = await self._by_app(replace(view, headers=headers, state={}))
        if human is None:
            raise bad_credential(Reason.UNKNOWN_CREDENTIAL)
        return replace(human, by_header=True)

    async def _by_agent_token(self, view: View, token: str) -> AgentIdentity:
        context = context_of(view, self._get_kavach.config)
        return await (await self._get_kavach()).agents.require_verified(token, context=context)

    async def _by_key(self, token: str) -> ServiceIdentity:
        service = await (await self._get_kavach()).keys.verify(token)
        if isinstance(service, Rejected):
            raise rejection(service)
        return service

    async def _by_app(self, view: View) -> HumanIdentity | None:
        """Ask the app's own auth."""
        if self._resolve_user is None:
            return None
        try:
            owner_id = await self._resolve_user(view)
            if owner_id is not None:
                require_owner_id(owner_id)
        except Unavailable:
            raise
        except Exception as error:
            _log.exception("resolve_user failed")
            raise ResolverFailed("The app cannot tell who is asking now.") from error
        if owner_id is None:
            return None
        if await (await self._get_kavach()).owners.is_suspended(owner_id):
            raise OwnerSuspended("The owner is suspended.")
        return HumanIdentity(id=owner_id)

    async def _by_cookie(self, view: View) -> HumanIdentity | None:
        """Ask the session cookie. Of several with this name exactly one must be live: which is whose cannot be told."""
        live: list[HumanIdentity] = []
        for token in session_cookies(view, self._get_kavach.config.session_cookie):
            try:
                live.append(await self._by_session_token(token, by_header=False))
            except Unauthenticated:
                continue
        return live[0] if len(live) == 1 else None

    async def _by_session_token(self, token: str, *, by_header: bool) -> HumanIdentity:
        session = await (await self._get_kavach()).sessions.verify(token)
        if isinstance(session, SessionRejected):
            if session.code is SessionEnd.OWNER_SUSPENDED:
                raise OwnerSuspended("The owner is suspended.")
            raise Unauthenticated("The session has ended or never was.", reason=session.code.value)
        return HumanIdentity(id=session.user_id, session_id=session.id, by_header=by_header)


def _said(state: Mapping[str, object]) -> Mapping[Identifier, Identity | None]:
    return cast("Mapping[Identifier, Identity | None]", state.get(_SAID_KEY, {}))


def _who(identity: object) -> tuple[type[object], object]:
    return type(identity), getattr(identity, "id", None)
