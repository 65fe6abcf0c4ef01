"""The edge of one mount: its settings and every question about a request. Each route, guard and dependency asks here.

How a question is answered is in the modules it imports: `identify` who is asking, `origin` from where, `granting` what
they may give, `route_permission` what a route requires.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from kavach_core.api.credentials import bearer_of, presented
from kavach_core.api.granting import Granting
from kavach_core.api.hooks import ChecksConfig, GetKavach, Grantable, HumansFrom, ResolveUser
from kavach_core.api.identify import Identifier, check_still, knows_somebody
from kavach_core.api.origin import check_anonymous, check_origin, context_of
from kavach_core.api.route_permission import fill, split_permission
from kavach_core.api.view import View
from kavach_core.capabilities.authorize import CallContext, Decision
from kavach_core.capabilities.budgets.model import require_amount
from kavach_core.capabilities.sessions.model import LiveSession
from kavach_core.errors import CallerNotAllowed, ConfigurationError, Unauthenticated
from kavach_core.primitives.browser import Browser, browser_from
from kavach_core.primitives.permissions import PermissionSet
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity
from kavach_core.primitives.tokens import TokenKind

__all__ = [
    "ChecksConfig",
    "Edge",
    "GetKavach",
    "Grantable",
    "HumansFrom",
    "Requirement",
    "ResolveUser",
    "split_permission",
]


class Edge:
    """What the routes, guard and dependencies of one mount share. Nothing is opened when it is made."""

    def __init__(
        self,
        get_kavach: GetKavach,
        *,
        resolve_user: ResolveUser | None = None,
        grantable: Grantable | None = None,
        humans_from: HumansFrom = "app",
        mount: str = "/api/kavach",
    ) -> None:
        _check_options(resolve_user, humans_from, mount)
        if isinstance(resolve_user, ChecksConfig):
            resolve_user.check_config(get_kavach.config)
        self.get_kavach = get_kavach
        self.config = get_kavach.config
        #: Where the routes are, for what must name them: the guard's exemption, documents at the root.
        self.mount = mount.rstrip("/")
        self._identifier = Identifier(get_kavach, resolve_user, session_first=humans_from == "session")
        self._granting = Granting(grantable)

    async def identify(self, view: View) -> Identity | None:
        """Tell who is asking; None if nobody says who they are. Asked once per request, then remembered in its state.

        One `Authorization` header decides alone. Without it the app's own auth is asked, then the session cookie, which
        is never allowed to contradict it.

        Raises `Unauthenticated` for a credential that does not hold, `OwnerSuspended` for a human who is,
        `RateLimited`, and `ResolverFailed` or `StoreUnavailable` when it cannot be told.
        """
        return await self._identifier.identify(view)

    def knows_somebody(self, state: Mapping[str, object]) -> bool:
        """Whether this mount, or another one on the way of the request with this state, has told who is behind it."""
        return knows_somebody(state)

    async def check_still(self, view: View) -> None:
        """Ask anew who is behind a connection that stays open, of every mount that has told.

        Raises `Unauthenticated` if that is somebody else now, and as `identify`.
        """
        await check_still(view)

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
        self,
        view: View,
        permission: str,
        arguments: Mapping[str, object] | None = None,
        *,
        cost: int | None = None,
    ) -> AgentIdentity:
        """Verify, authorize and record the agent behind a request, and return it with its audit id.

        `permission` is `"action:resource"`; a segment `{name}` stands for that part of the path. The parts of the path
        are the arguments, unless others are given. `cost` is reserved in the budgets on the agent's path.

        Raises `Unauthenticated`, `CallerNotAllowed`, `PermissionDenied`, `RateLimited`, and `InvalidInput` for a part
        of the path that is not one segment.
        """
        action, resource = split_permission(permission)
        token = bearer_of(view)
        subject = token if token is not None and token.startswith(TokenKind.AGENT) else None
        kavach = await self.get_kavach()
        identity = await kavach.require_authorized(
            subject or await self.require_agent(view),
            action=action,
            resource=fill(resource, view.params),
            arguments=arguments or dict(view.params) or None,
            context=self.context(view),
            cost=cost,
        )
        return self._identifier.remember(view, identity)

    async def authorize(
        self,
        view: View,
        permission: str,
        arguments: Mapping[str, object] | None = None,
        *,
        cost: int | None = None,
    ) -> Decision:
        """Like `require`, but answer with the decision; for each message of a socket that is open already."""
        action, resource = split_permission(permission)
        kavach = await self.get_kavach()
        return await kavach.authorize(
            presented(view) or "",
            action=action,
            resource=fill(resource, view.params),
            arguments=arguments,
            context=self.context(view),
            cost=cost,
        )

    async def session(self, view: View) -> LiveSession | None:
        """Return the live Kavach session behind a request, by cookie or bearer, or None."""
        return await self._identifier.session(view)

    async def recovering(self, view: View) -> HumanIdentity | None:
        """Return the human whom a recovery session lets add a passkey, or None. Everywhere else they are nobody."""
        return await self._identifier.recovering(view)

    def browser(self, view: View) -> Browser:
        """The browser a request came from, as ceremonies are bound to it; a new one if it has no name yet."""
        name = self.config.browser_cookie
        return browser_from(view.cookies(name), cookie_name=name, secure=self.config.is_https)

    def check_anonymous(self, view: View) -> None:
        """Refuse an unsafe request for anyone that a foreign page made a browser send. Raises `OriginRefused`."""
        check_anonymous(view, self.config)

    def check_origin(self, view: View, identity: Identity) -> None:
        """Refuse an unsafe request in a human's name that a foreign page could have made a browser send.

        Raises `OriginRefused`.
        """
        check_origin(view, identity, self.config)

    def context(self, view: View) -> CallContext:
        """Where a request came from, as decisions check and record it."""
        return context_of(view, self.config)

    async def grantable_for(self, identity: Identity | None) -> PermissionSet:
        """The most this caller may give to a new agent. Raises `GrantNotAllowed` and `ResolverFailed`."""
        return await self._granting.to_new_agent(identity)

    async def widening_for(self, identity: Identity | None) -> PermissionSet:
        """The most this caller may add to what an agent has; narrowing is always theirs. Raises `ResolverFailed`."""
        return await self._granting.to_widen(identity)


def _check_options(resolve_user: object, humans_from: object, mount: object) -> None:
    """Raises `ConfigurationError` for what would otherwise be found out by the first request."""
    if resolve_user is not None and not callable(resolve_user):
        raise ConfigurationError("resolve_user is an async function of a view.")
    if humans_from not in ("app", "session"):
        raise ConfigurationError("humans_from is app or session.")
    # The guard lets every path of the mount pass, so it cannot be the root, or a pattern.
    if not isinstance(mount, str) or not mount.startswith("/") or not mount.strip("/") or ":" in mount:
        raise ConfigurationError("mount is a path below the root that begins with a slash, such as /api/kavach.")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Establishes the agent behind a request: verified, authorized for one `"action:resource"`, and recorded.

    Two for the same permission and cost of the same edge are equal. Raises `InvalidInput` at once for what is none.
    """

    edge: Edge = field(repr=False)
    permission: str
    #: Units that each call reserves in the budgets on the agent's path.
    cost: int | None = None

    def __post_init__(self) -> None:
        split_permission(self.permission)
        if self.cost is not None:
            require_amount(self.cost, "cost")

    def __call__(self, view: View) -> Awaitable[AgentIdentity]:
        """Return the agent. Raises as `Edge.require`."""
        return self.edge.require(view, self.permission, cost=self.cost)
