"""Statements about passkeys."""

from __future__ import annotations

from typing import Final, NamedTuple

from kavach_core.capabilities.passkeys.ceremony import encode
from kavach_core.capabilities.passkeys.model import Assertion, DeviceType, NewCredential, Passkey
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.primitives import ids
from kavach_core.primitives.clock import optional_datetime, to_datetime
from kavach_core.store import Row, Transaction


class PasskeyRow(NamedTuple):
    """A stored passkey, in the order of the columns."""

    id: bytes
    user_id: bytes
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: str
    device_type: str
    backed_up: bool
    aaguid: str
    name: str
    created_at: int
    last_used_at: int | None
    disabled_at: int | None

    @property
    def transport_names(self) -> tuple[str, ...]:
        """How browsers reach it."""
        return tuple(filter(None, self.transports.split(",")))


#: A passkey, and whose it is.
Found = tuple[PasskeyRow, UserRow]

_COLUMNS: Final = ", ".join(PasskeyRow._fields)
_WIDTH: Final = len(PasskeyRow._fields)
_INSERT: Final = f"""
insert into kavach_passkeys (project_id, {_COLUMNS})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
on conflict do nothing
"""
_OF_USER: Final = f"select {_COLUMNS} from kavach_passkeys where user_id = $2 and project_id = $1 order by id"
_FIND: Final = f"select {_COLUMNS} from kavach_passkeys where id = $2 and user_id = $3 and project_id = $1"
_BY_CREDENTIAL: Final = f"""
select {", ".join(f"p.{name}" for name in PasskeyRow._fields)}, {", ".join(f"u.{name}" for name in UserRow._fields)}
from kavach_passkeys p join kavach_users u on u.project_id = p.project_id and u.id = p.user_id
where p.credential_id = $2 and p.project_id = $1
"""
_USE: Final = """
update kavach_passkeys set sign_count = $4, backed_up = $5, last_used_at = $6
where id = $2 and project_id = $1 and sign_count = $3 and disabled_at is null
"""
_DISABLE: Final = (
    "update kavach_passkeys set disabled_at = $3 where id = $2 and project_id = $1 and disabled_at is null"
)
_RENAME: Final = "update kavach_passkeys set name = $4 where id = $2 and user_id = $3 and project_id = $1"
_DELETE: Final = "delete from kavach_passkeys where id = $2 and user_id = $3 and project_id = $1"


async def insert(tx: Transaction, project: str, user_id: bytes, credential: NewCredential) -> PasskeyRow | None:
    """Write a new passkey; None if its credential id belongs to one on record, whoever's."""
    row = PasskeyRow(
        id=tx.new_id(),
        user_id=user_id,
        credential_id=credential.credential_id,
        public_key=credential.public_key,
        sign_count=credential.sign_count,
        transports=",".join(credential.transports),
        device_type=credential.device_type.value,
        backed_up=credential.backed_up,
        aaguid=credential.aaguid,
        name=credential.default_name,
        created_at=tx.now,
        last_used_at=None,
        disabled_at=None,
    )
    return row if await tx.execute(_INSERT, project, *row) == 1 else None


async def of_user(tx: Transaction, project: str, user_id: bytes) -> list[PasskeyRow]:
    """Return the passkeys of a user, disabled ones too, oldest first."""
    return [_make(row) for row in await tx.fetch(_OF_USER, project, user_id)]


async def find(tx: Transaction, project: str, passkey_id: bytes, user_id: bytes) -> PasskeyRow | None:
    """Return a passkey if it is this user's."""
    row = await tx.fetch_one(_FIND, project, passkey_id, user_id)
    return None if row is None else _make(row)


async def by_credential(tx: Transaction, project: str, credential_id: bytes) -> Found | None:
    """Return the passkey that browsers know by an id, and whose it is."""
    row = await tx.fetch_one(_BY_CREDENTIAL, project, credential_id)
    if row is None:
        return None
    columns = tuple(row)
    return PasskeyRow._make(columns[:_WIDTH]), UserRow._make(columns[_WIDTH:])


async def use(tx: Transaction, project: str, row: PasskeyRow, assertion: Assertion) -> bool:
    """Note a use of a passkey as it was read; False if it was used, disabled or deleted meanwhile."""
    values = (row.sign_count, assertion.sign_count, assertion.backed_up, tx.now)
    return await tx.execute(_USE, project, row.id, *values) == 1


async def disable(tx: Transaction, project: str, passkey_id: bytes) -> bool:
    """Refuse a passkey from now on; returns whether that is new."""
    return await tx.execute(_DISABLE, project, passkey_id, tx.now) == 1


async def rename(tx: Transaction, project: str, passkey_id: bytes, user_id: bytes, name: str) -> bool:
    """Give a passkey another name; returns whether it is this user's."""
    return await tx.execute(_RENAME, project, passkey_id, user_id, name) == 1


async def delete(tx: Transaction, project: str, passkey_id: bytes, user_id: bytes) -> None:
    """Forget a passkey of this user."""
    await tx.execute(_DELETE, project, passkey_id, user_id)


def to_model(row: PasskeyRow) -> Passkey:
    """The public form of a stored passkey."""
    return Passkey(
        id=ids.PASSKEY.text(row.id),
        name=row.name,
        credential_id=encode(row.credential_id),
        created_at=to_datetime(row.created_at),
        last_used_at=optional_datetime(row.last_used_at),
        device_type=DeviceType(row.device_type),
        backed_up=bool(row.backed_up),
        transports=row.transport_names,
        disabled_at=optional_datetime(row.disabled_at),
    )


def _make(row: Row) -> PasskeyRow:
    return PasskeyRow._make(tuple(row))
