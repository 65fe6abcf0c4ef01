"""Operations on API keys. No key makes, takes over or ends one that may do more than itself."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from kavach_core.api.entitled import check_key_gives
from kavach_core.api.models import EmptyIn, In, Out, PermissionIn, PermissionOut, read_time, write_time
from kavach_core.api.operation import LARGE, Call, Caller, Operation
from kavach_core.capabilities.keys import ApiKey, Scope
from kavach_core.capabilities.keys.model import parse_scopes
from kavach_core.errors import CallerNotAllowed, GrantNotAllowed, ScopeMissing
from kavach_core.primitives.principal import ServiceIdentity

_SERVICE = frozenset({Caller.SERVICE})


class CreateKeyIn(In):
    """A new key; at most what the calling key has."""

    name: str
    scopes: list[str]
    grantable: list[PermissionIn] = Field(default_factory=list[PermissionIn])
    test: bool = False
    expires_at: str | None = None


class KeyOut(Out):
    """An API key. `key` is empty but in the answers of create and rotate."""

    id: str
    name: str
    key: str
    hint: str
    test: bool
    scopes: list[str]
    grantable: list[PermissionOut]
    created_at: str
    rotated_at: str
    expires_at: str | None
    revoked_at: str | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        """The wire form of a key."""
        return cls.model_construct(
            id=key.id,
            name=key.name,
            key=key.key or "",
            hint=key.hint,
            test=key.test,
            scopes=sorted(key.scopes),
            grantable=PermissionOut.of(key.grantable),
            created_at=write_time(key.created_at) or "",
            rotated_at=write_time(key.rotated_at) or "",
            expires_at=write_time(key.expires_at),
            revoked_at=write_time(key.revoked_at),
        )


async def _create(call: Call) -> KeyOut:
    body: CreateKeyIn = call.body
    _check_scopes(call, parse_scopes(body.scopes))
    check_key_gives(call, body.grantable, field="grantable")
    expires_at = read_time(body.expires_at, "expiresAt") or _end_of_caller(call)
    _check_life(call, test=body.test, expires_at=expires_at)
    key = await call.kavach.keys.create(
        name=body.name,
        scopes=body.scopes,
        grantable=body.grantable,
        test=body.test,
        expires_at=expires_at,
    )
    return KeyOut.of(key)


async def _list(call: Call) -> list[KeyOut]:
    return [KeyOut.of(key) for key in await call.kavach.keys.list()]


async def _rotate(call: Call) -> KeyOut:
    key = await _require_no_stronger(call)
    return KeyOut.of(await call.kavach.keys.rotate(key.id))


async def _revoke(call: Call) -> None:
    key = await _require_no_stronger(call)
    await call.kavach.keys.revoke(key.id)


async def _require_no_stronger(call: Call) -> ApiKey:
    """Return the key named in the path, if the calling one could have made it."""
    key = await call.kavach.keys.get(call.param("id"))
    _check_scopes(call, key.scopes)
    check_key_gives(call, key.grantable)
    _check_life(call, test=key.test, expires_at=key.expires_at)
    return key


def _end_of_caller(call: Call) -> datetime | None:
    return call.identity.expires_at if isinstance(call.identity, ServiceIdentity) else None


def _check_life(call: Call, *, test: bool, expires_at: datetime | None) -> None:
    """Hold a key to those that end no later than itself, and a test key to test keys. Raises `GrantNotAllowed`."""
    end = _end_of_caller(call)
    if isinstance(call.identity, ServiceIdentity) and call.identity.test and not test:
        raise GrantNotAllowed("A test key has power over test keys only.")
    if end is not None and (expires_at is None or expires_at > end):
        raise GrantNotAllowed("A key has no power over one that outlives it.")


def _check_scopes(call: Call, scopes: frozenset[Scope]) -> None:
    if not isinstance(call.identity, ServiceIdentity):
        raise CallerNotAllowed("This is for an API key.")
    for scope in sorted(scopes):
        if not call.identity.has_scope(scope):
            raise ScopeMissing(scope)


OPERATIONS = (
    Operation(
        name="createKey",
        method="POST",
        path="/keys",
        callers=_SERVICE,
        scope=Scope.KEYS_WRITE,
        summary="Make an API key; its secret is in this answer and nowhere else",
        tag="keys",
        body=CreateKeyIn,
        output=KeyOut,
        status=201,
        limit=LARGE,
        handler=_create,
    ),
    Operation(
        name="listKeys",
        method="GET",
        path="/keys",
        callers=_SERVICE,
        scope=Scope.KEYS_WRITE,
        summary="List API keys without their secrets",
        tag="keys",
        output=KeyOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="rotateKey",
        method="POST",
        path="/keys/{id}/rotate",
        callers=_SERVICE,
        scope=Scope.KEYS_WRITE,
        summary="Replace the secret of an API key",
        tag="keys",
        body=EmptyIn,
        body_optional=True,
        output=KeyOut,
        handler=_rotate,
    ),
    Operation(
        name="revokeKey",
        method="DELETE",
        path="/keys/{id}",
        callers=_SERVICE,
        scope=Scope.KEYS_WRITE,
        summary="End an API key for good",
        tag="keys",
        status=204,
        handler=_revoke,
    ),
)
