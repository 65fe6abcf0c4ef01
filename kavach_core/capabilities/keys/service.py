"""Make, verify, list, rotate and end API keys. The first one is made by `kavach keys create` on the server itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.keys import queries
from kavach_core.capabilities.keys.model import ApiKey, Scope, parse_scopes
from kavach_core.capabilities.keys.queries import KeyRow
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import FinalState, InvalidInput, NotFound
from kavach_core.primitives import clock, ids, tokens
from kavach_core.primitives.permissions import PermissionLike, PermissionSet, parse_permissions
from kavach_core.primitives.principal import Rejected, ServiceIdentity
from kavach_core.primitives.reasons import Reason
from kavach_core.primitives.text import require_name
from kavach_core.primitives.tokens import TokenKind
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

_HINT: Final = 4


class Draft(NamedTuple):
    """A new key, checked, before it has a secret."""

    name: str
    scopes: frozenset[Scope]
    grantable: PermissionSet
    test: bool
    expires_at: int


class Keys:
    """API keys of one project."""

    def __init__(self, runtime: Runtime, sets: PermissionSets) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._is_https = runtime.config.is_https
        self._sets = sets

    async def create(
        self,
        *,
        name: str,
        scopes: Iterable[Scope | str],
        grantable: Sequence[PermissionLike] = (),
        test: bool = False,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Make a key; its secret is `key` on the result and nowhere else.

        `grantable` is the most it may give to agents. Raises `InvalidInput`.
        """
        draft = Draft(
            require_name(name, field="name"),
            parse_scopes(scopes),
            PermissionSet.of(parse_permissions(grantable, field="grantable")),
            test,
            clock.NEVER if expires_at is None else clock.to_micros(expires_at, field="expiresAt"),
        )
        return await self._store.transact(self._create, draft)

    async def verify(self, key: str | None) -> ServiceIdentity | Rejected:
        """Tell whether a key holds now. A test key does not where `base_url` is https."""
        kind = tokens.kind_of(key)
        if key is None or kind not in (TokenKind.LIVE_KEY, TokenKind.TEST_KEY):
            return Rejected(code=Reason.MALFORMED_CREDENTIAL)
        if kind is TokenKind.TEST_KEY and self._is_https:
            return Rejected(code=Reason.TEST_KEY_REFUSED)
        return await self._store.read(self._verify, tokens.digest(key))

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, newest first, without their secrets."""
        return await self._store.read(self._list)

    async def get(self, key_id: str) -> ApiKey:
        """Return a key without its secret. Raises `NotFound`."""
        return await self._store.read(self._get, ids.KEY.raw(key_id))

    async def rotate(self, key_id: str) -> ApiKey:
        """Give a key a new secret; the old one is dead from the next call on. Raises `NotFound` and `FinalState`."""
        return await self._store.transact(self._rotate, ids.KEY.raw(key_id))

    async def revoke(self, key_id: str) -> None:
        """End a key for good. Ending it twice changes nothing. Raises `NotFound`."""
        await self._store.transact(self._revoke, ids.KEY.raw(key_id))

    async def _create(self, tx: Transaction, draft: Draft) -> ApiKey:
        if draft.expires_at <= tx.now:
            raise InvalidInput("The end lies in the past.", field="expiresAt")
        minted = tokens.mint(_kind(draft.test))
        row = KeyRow(
            id=tx.new_id(),
            name=draft.name,
            hint=minted.token[-_HINT:],
            test=draft.test,
            scopes=" ".join(sorted(draft.scopes)),
            grantable=await self._sets.keep(tx, draft.grantable),
            expires_at=draft.expires_at,
            created_at=tx.now,
            rotated_at=tx.now,
            revoked_at=None,
        )
        await queries.insert(tx, self._project, minted.digest, row)
        await self._announce(tx, "key.created", row.id)
        return queries.to_model(row, draft.grantable, minted.token)

    async def _verify(self, tx: Transaction, token_hash: bytes) -> ServiceIdentity | Rejected:
        row = await queries.by_token(tx, self._project, token_hash)
        if row is None:
            return Rejected(code=Reason.UNKNOWN_CREDENTIAL)
        if row.revoked_at is not None or row.expires_at <= tx.now:
            return Rejected(code=Reason.KEY_ENDED)
        sets = await self._sets.load(tx, [row.grantable])
        return ServiceIdentity(
            key_id=ids.KEY.text(row.id),
            name=row.name,
            scopes=row.scope_set,
            grantable=sets[row.grantable],
            test=bool(row.test),
            expires_at=clock.optional_datetime(row.expires_at),
        )

    async def _list(self, tx: Transaction) -> Sequence[ApiKey]:
        return await queries.to_models(tx, self._sets, await queries.all_keys(tx, self._project))

    async def _get(self, tx: Transaction, key_id: bytes) -> ApiKey:
        row = _require(await queries.find(tx, self._project, key_id))
        return (await queries.to_models(tx, self._sets, [row]))[0]

    async def _rotate(self, tx: Transaction, key_id: bytes) -> ApiKey:
        row = _require(await queries.find(tx, self._project, key_id))
        minted = tokens.mint(_kind(row.test))
        hint = minted.token[-_HINT:]
        if not await queries.rotate(tx, self._project, key_id, minted.digest, hint):
            raise FinalState("The key is revoked; that is final.")
        await self._announce(tx, "key.rotated", key_id)
        grantable = (await self._sets.load(tx, [row.grantable]))[row.grantable]
        return queries.to_model(row._replace(hint=hint, rotated_at=tx.now), grantable, minted.token)

    async def _revoke(self, tx: Transaction, key_id: bytes) -> None:
        _require(await queries.find(tx, self._project, key_id))
        if await queries.revoke(tx, self._project, key_id):
            await self._announce(tx, "key.revoked", key_id)

    async def _announce(self, tx: Transaction, event: str, key_id: bytes) -> None:
        await announce(tx, self._project, event, subject=ids.KEY.text(key_id))


def _kind(test: bool) -> TokenKind:
    return TokenKind.TEST_KEY if test else TokenKind.LIVE_KEY


def _require(row: KeyRow | None) -> KeyRow:
    if row is None:
        raise NotFound("There is no such API key.")
    return row
