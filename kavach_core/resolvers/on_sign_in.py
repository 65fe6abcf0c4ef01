"""Calls a hook when an owner is first seen, whatever resolver names them, for such things as a default agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from kavach_core.api.hooks import ChecksConfig, ResolveUser
from kavach_core.api.view import View
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.config import Config
from kavach_core.resolvers.checks import require
from kavach_core.resolvers.single_flight import SingleFlight

#: What an app does for an owner who signs in. It may be called again for one it knows: it must be idempotent.
SignInHook = Callable[[str], Awaitable[None]]

#: Owners that are remembered; of more, those not seen for longest are greeted again.
_MOST_OWNERS: Final = 10_000


class OnSignIn(ChecksConfig):
    """A resolver and what to do at the first sight of each owner it names."""

    def __init__(self, resolver: ResolveUser, hook: SignInHook, *, most_owners: int = _MOST_OWNERS) -> None:
        self._resolver = resolver
        self._hook = hook
        self._most = most_owners
        #: The owners greeted by this process, those seen last at the end.
        self._seen: dict[str, None] = {}
        self._flights = SingleFlight[str, None]()

    def check_config(self, config: Config) -> None:
        """Raises `ConfigurationError` where the resolver inside does."""
        if isinstance(self._resolver, ChecksConfig):
            self._resolver.check_config(config)

    async def __call__(self, view: View) -> str | None:
        owner_id = await self._resolver(view)
        if owner_id is None:
            return None
        if require_owner_id(owner_id) not in self._seen:
            await self._flights.run(owner_id, lambda: self._greet(owner_id))
        self._remember(owner_id)
        return owner_id

    async def _greet(self, owner_id: str) -> None:
        await self._hook(owner_id)

    def _remember(self, owner_id: str) -> None:
        self._seen.pop(owner_id, None)
        self._seen[owner_id] = None
        while len(self._seen) > self._most:
            self._seen.pop(next(iter(self._seen)), None)


def on_sign_in(resolver: ResolveUser, hook: SignInHook) -> OnSignIn:
    """Call `hook(owner_id)` when this process first sees an owner: once, however many requests arrive together.

    Nobody is let in half prepared: while the hook raises, the owner's requests answer 503, the error is in the log, and
    the next request tries again. Other processes call it too, so it must be idempotent.

    Raises `ConfigurationError` for what cannot be called.
    """
    require(callable(resolver), "on_sign_in needs a resolver: an async function of a view.")
    return OnSignIn(resolver, checked_hook(hook))


def checked_hook(hook: SignInHook) -> SignInHook:
    """The hook. Raises `ConfigurationError` for what is none, which the first sign-in would find out otherwise."""
    require(callable(hook), "on_sign_in is an async function of an owner id.")
    return hook


def with_hook(resolver: ChecksConfig, hook: SignInHook | None) -> ChecksConfig:
    """The resolver with its hook, if it has one."""
    return resolver if hook is None else on_sign_in(resolver, hook)
