"""Operations on owners. Their ids are opaque and may hold anything a URL must not, so they travel in bodies."""

from __future__ import annotations

from kavach_core.api.models import In, PermissionIn
from kavach_core.api.operation import LARGE, Call, Caller, Operation
from kavach_core.capabilities.keys import Scope

_SERVICE = frozenset({Caller.SERVICE})


class OwnerIn(In):
    """Which owner."""

    owner_id: str


class OwnerPermissionsIn(In):
    """What an owner may do. An empty list lets none of their agents do anything; null takes back what was said."""

    owner_id: str
    permissions: list[PermissionIn] | None


class RenameOwnerIn(In):
    """From which id to which."""

    owner_id: str
    new_id: str


async def _suspend(call: Call) -> None:
    await call.kavach.owners.suspend(call.body.owner_id)


async def _resume(call: Call) -> None:
    await call.kavach.owners.resume(call.body.owner_id)


async def _set_permissions(call: Call) -> None:
    await call.kavach.owners.set_permissions(call.body.owner_id, call.body.permissions)


async def _rename(call: Call) -> None:
    await call.kavach.owners.rename(call.body.owner_id, call.body.new_id)


OPERATIONS = (
    Operation(
        name="suspendOwner",
        method="POST",
        path="/owners/suspend",
        callers=_SERVICE,
        scope=Scope.OWNERS_WRITE,
        summary="Refuse everything of an owner, from the next call on",
        tag="owners",
        body=OwnerIn,
        status=204,
        handler=_suspend,
    ),
    Operation(
        name="resumeOwner",
        method="POST",
        path="/owners/resume",
        callers=_SERVICE,
        scope=Scope.OWNERS_WRITE,
        summary="Lift a suspension",
        tag="owners",
        body=OwnerIn,
        status=204,
        handler=_resume,
    ),
    Operation(
        name="setOwnerPermissions",
        method="POST",
        path="/owners/permissions",
        callers=_SERVICE,
        scope=Scope.OWNERS_WRITE,
        summary="Say what an owner may do, and so the most any of their agents may, from now on; null lifts it",
        tag="owners",
        body=OwnerPermissionsIn,
        status=204,
        limit=LARGE,
        handler=_set_permissions,
    ),
    Operation(
        name="renameOwner",
        method="POST",
        path="/owners/rename",
        callers=_SERVICE,
        scope=Scope.OWNERS_WRITE,
        summary="Move everything of one owner id to another",
        tag="owners",
        body=RenameOwnerIn,
        status=204,
        handler=_rename,
    ),
)
