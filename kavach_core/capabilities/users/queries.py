"""Statements about users."""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from kavach_core.capabilities.users.model import User
from kavach_core.errors import EmailTaken
from kavach_core.primitives.clock import to_datetime
from kavach_core.store import Row, Transaction
from kavach_core.store.faults import UniqueViolation


class UserRow(NamedTuple):
    """A stored user, in the order of the columns."""

    id: bytes
    owner_id: str
    #: What an authenticator knows the user by (WebAuthn, user handle): random, and the same for all their passkeys.
    handle: bytes
    email: str | None
    email_verified_at: int | None
    display_name: str | None
    created_at: int
    #: The form by which the address finds this user, and no other. None where it is only what they say it is.
    email_key: str | None = None


_COLUMNS: Final = ", ".join(UserRow._fields)
_INSERT: Final = f"""
insert into kavach_users (project_id, {_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict do nothing
"""
_FIND: Final = f"select {_COLUMNS} from kavach_users where id = $2 and project_id = $1"
_BY_OWNER: Final = f"select {_COLUMNS} from kavach_users where owner_id = $2 and project_id = $1"
_BY_EMAIL: Final = f"select {_COLUMNS} from kavach_users where email_key = $2 and project_id = $1"
_LOCK: Final = f"update kavach_users set id = id where id = $2 and project_id = $1 returning {_COLUMNS}"
_HOLD_EMAIL: Final = "update kavach_users set email_key = $3 where id = $2 and project_id = $1"
_VERIFY_EMAIL: Final = """
update kavach_users set email_verified_at = $3 where id = $2 and project_id = $1 and email_verified_at is null
"""
_LOSE_EMAIL: Final = """
update kavach_users set email = null, email_key = null
where email_key = $2 and project_id = $1 and id <> $3 and email_verified_at is null returning owner_id
"""
_MOVE: Final = "update kavach_users set owner_id = $3 where project_id = $1 and owner_id = $2"


async def insert(tx: Transaction, project: str, row: UserRow) -> bool:
    """Write a new user; returns whether id, handle and the address they hold were free."""
    return await tx.execute(_INSERT, project, *row) == 1


async def find(tx: Transaction, project: str, user_id: bytes) -> UserRow | None:
    """Return a user by the id of the row."""
    return _optional(await tx.fetch_one(_FIND, project, user_id))


async def lock(tx: Transaction, project: str, user_id: bytes) -> UserRow | None:
    """Return a user and hold the row until the commit: one change of somebody's ways in at a time."""
    return _optional(await tx.fetch_one(_LOCK, project, user_id))


async def by_owner(tx: Transaction, project: str, owner_id: str) -> UserRow | None:
    """Return the user somebody is, by the owner id that sessions and agents carry."""
    return _optional(await tx.fetch_one(_BY_OWNER, project, owner_id))


async def by_email(tx: Transaction, project: str, key: str) -> UserRow | None:
    """Return the user who holds the address of this form, verified or not."""
    return _optional(await tx.fetch_one(_BY_EMAIL, project, key))


async def hold_email(tx: Transaction, project: str, user_id: bytes, key: str) -> None:
    """Let a user be found by their address. Raises `EmailTaken` where another is; of several at once one succeeds."""
    try:
        await tx.execute(_HOLD_EMAIL, project, user_id, key)
    except UniqueViolation as error:
        raise EmailTaken("This address belongs to another account.") from error


async def lose_email(tx: Transaction, project: str, key: str, *, except_id: bytes) -> str | None:
    """Take an address from a user who never proved it; returns who that was, by their owner id."""
    row = await tx.fetch_one(_LOSE_EMAIL, project, key, except_id)
    return None if row is None else cast(str, row[0])


async def verify_email(tx: Transaction, project: str, user_id: bytes) -> bool:
    """Note that a mail to the user's address was answered; returns whether that is new."""
    return await tx.execute(_VERIFY_EMAIL, project, user_id, tx.now) == 1


async def move_owner(tx: Transaction, project: str, old_id: str, new_id: str) -> None:
    """Let a user sign in as the new owner id."""
    await tx.execute(_MOVE, project, old_id, new_id)


def to_model(row: UserRow) -> User:
    """The public form of a stored user."""
    return User(
        id=row.owner_id,
        email=row.email,
        email_verified=row.email_verified_at is not None,
        display_name=row.display_name,
        created_at=to_datetime(row.created_at),
    )


def _optional(row: Row | None) -> UserRow | None:
    return None if row is None else UserRow._make(tuple(row))
