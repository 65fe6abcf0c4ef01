"""The edge of one mount: its settings, who is asking, and from where. Every route, guard and dependency asks here."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, Protocol, cast

from kavach_core.api.view import View
from kavach_core.capabilities.authorize import CallContext, Decision
from kavach_core.capabilities.authorize.service import rejection
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.sessions.model import LiveSession, SessionEnd, SessionRejected
from kavach_core.config import Config
from kavach_core.errors import (
    CallerNotAllowed,
    GrantNotAllowed,
    InvalidInput,
    OriginRefused,
    OwnerSuspended,
    ResolverFailed,
    Unauthenticated,
    Unavailable,
)
from kavach_core.kavach import Kavach
from kavach_core.primitives import tokens
from kavach_core.primitives.permissions import (
    AccessRequest,
    PermissionLike,
    PermissionSet,
    find_address,
    parse_permissions,
)
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity, Rejected, ServiceIdentity
from kavach_core.primitives.reasons import Reason
from kavach_core.primitives.tokens import TokenKind


class GetKavach(Protocol):
    """What an adapter is given: a `LazyKavach`, or a test's own."""

    @property
    def config(self) -> Config:
        """The settings, known before anything is opened."""
        ...

    async def __call__(self) -> Kavach:
        """The open Kavach of this process and loop."""
        ...

    async def close(self) -> None:
        """Close what this loop opened."""
        ...


#: Names the human behind a request by whatever auth the app has, or nobody.
ResolveUser = Callable[[View], Awaitable[str | None]]
#: The most a human may give to an agent over HTTP: permissions, or a function of the owner id.
Grantable = Sequence[PermissionLike] | Callable[[str], Awaitable[Sequence[PermissionLike]]]
#: Whom to ask first where no `Authorization` header speaks: the app's auth or Kavach's own session cookie.
HumansFrom = Literal["app", "session"]

#: A browser that sends more different ones is being played with.
_MOST_COOKIES: Final = 4
#: Where the identity of a request travels from the guard to the handler.
IDENTITY_KEY: Final = "kavach_identity"

_log = logging.getLogger("kavach")


class ChecksConfig(ABC):
    """A resolver that refuses to start under some settings."""

    @abstractmethod
    def check_config(self, config: Config) -> None:
        """Raises `ConfigurationError` if this resolver must not be used with these settings."""

    @abstractmethod
    async def __call__(self, view: View) -> str | None:
        """Name the human behind a request, or nobody."""


class Edge:
    """What the routes, guard and dependencies of one mount share."""

    def __init__(
        self,
        get_kavach: GetKavach,
        *,
        resolve_user: ResolveUser | None = None,
        grantable: Grantable | None = None,
        humans_from: HumansFrom = "app",
        mount: str = "/api/kavach",
    ) -> None:
        if isinstance(resolve_user, ChecksConfig):
            resolve_user.check_config(get_kavach.config)
        self.get_kavach = get_kavach
        self.config = get_kavach.config
        #: Where the routes are, for what must name them: the guard's exemption, documents at the root.
        self.mount = mount.rstrip("/")
        self._resolve_user = resolve_user
        self._grantable = grantable if grantable is None or callable(grantable) else _permission_set(grantable)
        self._session_first = humans_from == "session"

    async def identify(self, view: View) -> Identity | None:
        """Tell who is asking; None if nobody says who they are. Asked once per request, then remembered in its state.

        One `Authorization` header decides alone. Without it the app's own auth is asked, then the session cookie, which
        is never allowed to contradict it.

        Raises `Unauthenticated` for a credential that does not hold, `OwnerSuspended` for a human who is,
        `RateLimited`, and `ResolverFailed` or `StoreUnavailable` when it cannot be told.
        """
        if IDENTITY_KEY not in view.state:
            view.state[IDENTITY_KEY] = await self._identify(view)
        return cast("Identity | None", view.state[IDENTITY_KEY])

    async def require_identity(self, view: View) -> Identity:
        """Like `identify`, but nobody is `Unauthenticated`. A human must come from one of the app's own pages."""
        identity = await self.identify(view)
        if identity is None:
            raise Unauthenticated("This needs a credential.")
        self.check_origin(view, identity)
        return identity

    async def require_human(self, view: View) -> HumanIdentity:
        """Return the human who is asking. Raises as `require_identity`, and `CallerNotAllowed` for anyone else."""
        identity = await self.require_identity(view)
        if not isinstance(identity, HumanIdentity):
            raise CallerNotAllowed("This is for a signed-in human.")
        return identity

    async def require_agent(self, view: View) -> AgentIdentity:
        """Return the agent that is asking. Raises `Unauthenticated`, and `CallerNotAllowed` for anyone else."""
        identity = await self.identify(view)
        if identity is None:
            raise Unauthenticated("This needs an agent's token.")
        if not isinstance(identity, AgentIdentity):
            raise CallerNotAllowed("This is for an agent.")
        return identity

    async def require(
        self, view: View, permission: str, arguments: Mapping[str, object] | None = None
    ) -> AgentIdentity:
        """Verify, authorize and record the agent behind a request, and return it with its audit id.

        `permission` is `"action:resource"`; a segment `{name}` stands for that part of the path. The parts of the path
        are the arguments, unless others are given.

        Raises `Unauthenticated`, `CallerNotAllowed`, `PermissionDenied`, `RateLimited`, and `InvalidInput` for a part
        of the path that is not one segment.
        """
        action, resource = split_permission(permission)
        token = bearer_of(view)
        subject = token if token is not None and tokens.kind_of(token) is TokenKind.AGENT else None
        kavach = await self.get_kavach()
        identity = await kavach.require_authorized(
            subject or await self.require_agent(view),
            action=action,
            resource=fill(resource, view.params),
            arguments=arguments or dict(view.params) or None,
            context=self.context(view),
        )
        view.state[IDENTITY_KEY] = identity
        return identity

    async def authorize(self, view: View, permission: str, arguments: Mapping[str, object] | None = None) -> Decision:
        """Like `require`, but answer with the decision; for each message of a socket that is open already."""
        action, resource = split_permission(permission)
        kavach = await self.get_kavach()
        return await kavach.authorize(
            _presented(view) or "",
            action=action,
            resource=fill(resource, view.params),
            arguments=arguments,
            context=self.context(view),
        )

    async def session(self, view: View) -> LiveSession | None:
        """Return the live Kavach session behind a request, by cookie or bearer, or None."""
        kavach = await self.get_kavach()
        token = _presented(view)
        candidates = [token] if token is not None else self._cookies(view)
        found = [await kavach.sessions.verify(each) for each in candidates]
        live = [session for session in found if isinstance(session, LiveSession)]
        return live[0] if len(live) == 1 else None

    def check_origin(self, view: View, identity: Identity) -> None:
        """Refuse an unsafe request in a human's name that a foreign page could have made a browser send.

        A human who came by `Authorization` is exempt: no page can make a browser send that. Raises `OriginRefused`.
        """
        if not isinstance(identity, HumanIdentity) or identity.by_header or not view.is_unsafe:
            return
        origins = view.all("origin")
        if len(origins) == 1 and self.config.allows_origin(origins[0]):
            return
        if origins in ([], ["null"]) and view.all("sec-fetch-site") == ["same-origin"]:
            return
        raise OriginRefused("This must come from one of the app's own pages: its Origin is not in the list.")

    def context(self, view: View) -> CallContext:
        """Where a request came from, as decisions check and record it."""
        return CallContext(
            ip=client_address(view, self.config.trusted_proxies),
            user_agent=view.header("user-agent"),
            request_id=view.header("x-request-id") or view.header("traceparent"),
            over_http=True,
        )

    async def grantable_for(self, identity: Identity | None) -> PermissionSet:
        """The most this caller may give to a new agent.

        Raises `GrantNotAllowed` for a human where the app set no `grantable`, and `ResolverFailed`.
        """
        if isinstance(identity, HumanIdentity) and self._grantable is None:
            raise GrantNotAllowed("This app does not let its users give permissions to agents.")
        return await self.widening_for(identity)

    async def widening_for(self, identity: Identity | None) -> PermissionSet:
        """The most this caller may add to what an agent has; narrowing is always theirs. Raises `ResolverFailed`."""
        if isinstance(identity, ServiceIdentity):
            return identity.grantable
        if not isinstance(identity, HumanIdentity) or self._grantable is None:
            return PermissionSet.of(())
        if isinstance(self._grantable, PermissionSet):
            return self._grantable
        try:
            return _permission_set(await self._grantable(identity.id))
        except Exception as error:
            _log.exception("grantable failed")
            raise ResolverFailed("The app cannot tell what may be granted now.") from error

    async def _identify(self, view: View) -> Identity | None:
        token = bearer_of(view)
        if token is not None:
            return await self._by_bearer(view, token)
        by_session, by_app = self._by_session, self._by_app
        for ask in (by_session, by_app) if self._session_first else (by_app, by_session):
            human = await ask(view)
            if human is not None:
                return human
        return None

    async def _by_bearer(self, view: View, token: str) -> Identity:
        if not tokens.is_ours(token):
            # The header decides alone: what is asked about it sees no cookies to fall back to.
            headers = [(name, value) for name, value in view.headers if name != b"cookie"]
            human = await self._by_app(replace(view, headers=headers))
            if human is None:
                raise _bad_credential(Reason.UNKNOWN_CREDENTIAL)
            return replace(human, by_header=True)
        match tokens.kind_of(token):
            case TokenKind.AGENT:
                return await (await self.get_kavach()).agents.require_verified(token, context=self.context(view))
            case TokenKind.SESSION:
                return await self._by_session_token(token, by_header=True)
            case TokenKind.LIVE_KEY | TokenKind.TEST_KEY:
                service = await (await self.get_kavach()).keys.verify(token)
                if isinstance(service, Rejected):
                    raise rejection(service)
                return service
            case None:
                raise _bad_credential(Reason.MALFORMED_CREDENTIAL)

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
        if await (await self.get_kavach()).owners.is_suspended(owner_id):
            raise OwnerSuspended("The owner is suspended.")
        return HumanIdentity(id=owner_id)

    async def _by_session(self, view: View) -> HumanIdentity | None:
        """Ask the session cookie. Of several with this name exactly one must be live: which is whose cannot be told."""
        live: list[HumanIdentity] = []
        for token in self._cookies(view):
            try:
                live.append(await self._by_session_token(token, by_header=False))
            except Unauthenticated:
                continue
        return live[0] if len(live) == 1 else None

    def _cookies(self, view: View) -> Sequence[str]:
        """The session cookies of a request; none of too many, of which some would not be looked at."""
        found = view.cookies(self.config.session_cookie)
        return found if len(found) <= _MOST_COOKIES else ()

    async def _by_session_token(self, token: str, *, by_header: bool) -> HumanIdentity:
        session = await (await self.get_kavach()).sessions.verify(token)
        if isinstance(session, SessionRejected):
            if session.code is SessionEnd.OWNER_SUSPENDED:
                raise OwnerSuspended("The owner is suspended.")
            raise Unauthenticated("The session has ended or never was.", reason=session.code.value)
        return HumanIdentity(id=session.user_id, session_id=session.id, by_header=by_header)


def bearer_of(view: View) -> str | None:
    """The bearer token of a request, or None without an `Authorization` header (RFC 6750, section 2.1).

    Raises `Unauthenticated` for two headers, another scheme, or anything but exactly one token.
    """
    headers = view.all("authorization")
    if not headers:
        return None
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token or not token.isascii() or len(token.split()) != 1:
        raise _bad_credential(Reason.MALFORMED_CREDENTIAL)
    return token.strip(" ")


def _presented(view: View) -> str | None:
    """The bearer token of a request as `bearer_of` reads it, with an empty one in place of what is no token."""
    try:
        return bearer_of(view)
    except Unauthenticated:
        return ""


def client_address(view: View, trusted: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """The address a request came from: the peer, or what trusted proxies say stood behind them."""
    address = find_address(view.peer)
    if not trusted:
        return None if address is None else str(address)
    forwarded = [part.strip() for line in view.all("x-forwarded-for") for part in line.split(",")]
    while address is not None and forwarded and any(address in network for network in trusted):
        address = find_address(forwarded.pop())
    return None if address is None else str(address)


def split_permission(permission: str) -> tuple[str, str]:
    """The action and resource of `"action:resource"`. Raises `InvalidInput`."""
    action, _, resource = permission.partition(":")
    request = AccessRequest.of(action=action, resource=resource)
    return request.action, request.resource


def fill(resource: str, params: Mapping[str, str]) -> str:
    """The resource with each segment `{name}` replaced by that part of the path, which must be one exact segment.

    Raises `InvalidInput` for a part that is more than one segment or a wildcard, and KeyError for a name that the path
    does not have.
    """
    if "{" not in resource:
        return resource
    return ":".join(_filled(segment, params) for segment in resource.split(":"))


def _filled(segment: str, params: Mapping[str, str]) -> str:
    if not (segment.startswith("{") and segment.endswith("}")):
        return segment
    name = segment[1:-1]
    value = params[name]
    if ":" in value or "*" in value:
        raise InvalidInput("This part of the path cannot name a resource.", field=name)
    return value


def _bad_credential(reason: Reason) -> Unauthenticated:
    return Unauthenticated(reason.sentence, reason=reason.value)


def _permission_set(permissions: Sequence[PermissionLike]) -> PermissionSet:
    return PermissionSet.of(parse_permissions(permissions, field="grantable"))
