"""Suspend, bound and rename owners. What is said of one is one row, read with the facts of every decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries
from kavach_core.capabilities.owners.model import Owner, require_owner_id
from kavach_core.capabilities.owners.queries import OwnerRow
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import Conflict, InvalidInput, NotFound
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.primitives.permissions import Permission, PermissionLike, PermissionSet, parse_permissions
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: How a later room moves what it holds from one owner id to another, inside the transaction of the rename.
MoveOwner = Callable[[Transaction, str, str, str], Awaitable[None]]


class Owners:
    """The humans agents act for."""

    def __init__(self, runtime: Runtime, sets: PermissionSets, *, moves: Sequence[MoveOwner]) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._sets = sets
        self._moves = tuple(moves)

    async def get(self, owner_id: str) -> Owner:
        """Return what is known of an owner. Raises `NotFound` for one nothing was ever made for."""
        return await self._store.read(self._get, require_owner_id(owner_id))

    async def is_suspended(self, owner_id: str) -> bool:
        """Tell whether everything of this owner is refused now. Raises `InvalidInput` for what cannot be an id."""
        owner = await self._store.read(queries.find, self._project, require_owner_id(owner_id))
        return owner is not None and owner.suspended

    async def suspend(self, owner_id: str) -> None:
        """Refuse everything of this owner from the next call on, in every process, until `resume`.

        Their agents stop, their session is refused, nothing new can be made for them. Suspending twice changes nothing.
        An owner who is not on record yet is put there, so that a suspension may come first.
        """
        await self._store.transact(self._suspend, require_owner_id(owner_id))

    async def resume(self, owner_id: str) -> None:
        """Lift a suspension. What expired meanwhile stays expired. Resuming twice changes nothing."""
        await self._store.transact(self._resume, require_owner_id(owner_id))

    async def permissions(self, owner_id: str) -> tuple[Permission, ...] | None:
        """Return what is on record that a human may do; None where nothing is said. Raises `InvalidInput`."""
        return await self._store.read(self._permissions, require_owner_id(owner_id))

    async def set_permissions(self, owner_id: str, permissions: Sequence[PermissionLike] | None) -> None:
        """Say what a human may do. Their agents may no more than that from the next call on, in every process.

        Constraints count as everywhere: a rate is one for all agents of the owner together. None takes back what was
        said, and an empty list lets no agent of theirs do anything. An owner who is not on record yet is put there.

        Raises `InvalidInput`.
        """
        bound = None if permissions is None else PermissionSet.of(parse_permissions(permissions))
        await self._store.transact(self._set_permissions, require_owner_id(owner_id), bound)

    async def rename(self, old_id: str, new_id: str) -> None:
        """Move everything of one owner id to a new one, in one transaction.

        Raises `NotFound` if nothing is on record for the old id, `Conflict` if there is for the new one. The audit
        keeps what it recorded: it says under which id a thing was done.
        """
        require_owner_id(new_id, field="newId")
        if require_owner_id(old_id) == new_id:
            raise InvalidInput("Old and new id are the same.", field="newId")
        await self._store.transact(self._rename, old_id, new_id)

    async def _suspend(self, tx: Transaction, owner_id: str) -> None:
        await queries.lock(tx, self._project, owner_id)
        if await queries.suspend(tx, self._project, owner_id):
            await announce(tx, self._project, "owner.suspended", subject=owner_id, owner_id=owner_id)

    async def _resume(self, tx: Transaction, owner_id: str) -> None:
        if await queries.resume(tx, self._project, owner_id):
            await announce(tx, self._project, "owner.resumed", subject=owner_id, owner_id=owner_id)

    async def _get(self, tx: Transaction, owner_id: str) -> Owner:
        row = await queries.find(tx, self._project, owner_id)
        if row is None:
            raise NotFound("There is no such owner.")
        return Owner(
            id=row.id,
            created_at=to_datetime(row.created_at),
            suspended_at=optional_datetime(row.suspended_at),
            permissions=await self._load(tx, row.permissions),
        )

    async def _permissions(self, tx: Transaction, owner_id: str) -> tuple[Permission, ...] | None:
        row = await queries.find(tx, self._project, owner_id)
        return None if row is None else await self._load(tx, row.permissions)

    async def _load(self, tx: Transaction, digest: bytes | None) -> tuple[Permission, ...] | None:
        return None if digest is None else tuple((await self._sets.load(tx, [digest]))[digest])

    async def _set_permissions(self, tx: Transaction, owner_id: str, bound: PermissionSet | None) -> None:
        owner = await queries.lock(tx, self._project, owner_id)
        digest = None if bound is None else await self._sets.keep(tx, bound)
        if digest != owner.permissions:
            await queries.set_permissions(tx, self._project, owner_id, digest)
            data = {"bounded": bound is not None}
            await announce(tx, self._project, "owner.bounded", subject=owner_id, owner_id=owner_id, data=data)

    async def _rename(self, tx: Transaction, old_id: str, new_id: str) -> None:
        old, was_free = await self._take_both(tx, old_id, new_id)
        if not was_free:
            raise Conflict("The new id is in use.", details={"newId": new_id})
        if old is None:
            raise NotFound("There is no such owner.")
        for move in self._moves:
            await move(tx, self._project, old_id, new_id)
        await queries.inherit(tx, self._project, old_id, new_id)
        await queries.delete(tx, self._project, old_id)
        await announce(tx, self._project, "owner.renamed", subject=new_id, owner_id=new_id, data={"oldId": old_id})

    async def _take_both(self, tx: Transaction, old_id: str, new_id: str) -> tuple[OwnerRow | None, bool]:
        """Lock the old owner and take the new id if it is free, in the one order that all renames keep."""
        old: OwnerRow | None = None
        was_free = False
        for owner_id in sorted((old_id, new_id)):
            if owner_id == old_id:
                old = await queries.lock_existing(tx, self._project, owner_id)
            else:
                was_free = await queries.insert(tx, self._project, owner_id)
        return old, was_free
