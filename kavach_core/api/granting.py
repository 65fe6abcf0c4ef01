"""The most a caller may give to agents over HTTP: what the app lets its humans give, what a key was made with."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kavach_core.api.hooks import Grantable
from kavach_core.errors import GrantNotAllowed, ResolverFailed
from kavach_core.primitives.permissions import PermissionLike, PermissionSet, parse_permissions
from kavach_core.primitives.principal import HumanIdentity, Identity, ServiceIdentity

_log = logging.getLogger("kavach")


class Granting:
    """What one mount lets its callers give. Raises `InvalidInput` for a `grantable` that is no list of permissions."""

    def __init__(self, grantable: Grantable | None) -> None:
        self._grantable = grantable if grantable is None or callable(grantable) else _permission_set(grantable)

    async def to_new_agent(self, identity: Identity | None) -> PermissionSet:
        """The most this caller may give to a new agent.

        Raises `GrantNotAllowed` for a human where the app set no `grantable`, and `ResolverFailed`.
        """
        if isinstance(identity, HumanIdentity) and self._grantable is None:
            raise GrantNotAllowed("This app does not let its users give permissions to agents.")
        return await self.to_widen(identity)

    async def to_widen(self, identity: Identity | None) -> PermissionSet:
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


def _permission_set(permissions: Sequence[PermissionLike]) -> PermissionSet:
    return PermissionSet.of(parse_permissions(permissions, field="grantable"))
