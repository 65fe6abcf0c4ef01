"""Look users up, and make them inside the transaction of the sign-up that needs one."""

from __future__ import annotations

import secrets
from typing import Final

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.owners import queries as owners
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.capabilities.users import queries
from kavach_core.capabilities.users.model import User
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.errors import EmailTaken, NotFound
from kavach_core.primitives import ids
from kavach_core.primitives.emails import email_key, require_email
from kavach_core.primitives.text import require_name
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: WebAuthn allows 1 to 64 bytes.
HANDLE_BYTES: Final = 32
_LONGEST_NAME: Final = 128


class Users:
    """People who sign in here."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project

    async def get(self, user_id: str) -> User:
        """Return a user by id, the one that sessions and agents carry. Raises `NotFound`."""
        row = await self._store.read(queries.by_owner, self._project, require_owner_id(user_id, field="userId"))
        return queries.to_model(require_user(row))

    async def find(self, user_id: str) -> User | None:
        """Return a user by id, or None for a human whom the app signs in its own way."""
        row = await self._store.read(queries.by_owner, self._project, require_owner_id(user_id, field="userId"))
        return None if row is None else queries.to_model(row)

    async def find_by_email(self, email: str) -> User | None:
        """Return the user an address belongs to, or None. An unverified address proves nothing.

        Nobody is found by one that is only what they say it is: where the app sends mail, until they prove it.
        """
        row = await self._store.read(queries.by_email, self._project, email_key(require_email(email)))
        return None if row is None else queries.to_model(row)

    async def create_in(
        self,
        tx: Transaction,
        *,
        email: str | None,
        display_name: str | None,
        handle: bytes | None = None,
        holds_email: bool = True,
    ) -> UserRow:
        """Make a user inside a transaction of a sign-up.

        One who does not hold their address only says that it is theirs: nobody else is kept from it. Raises
        `EmailTaken` if the address to hold belongs to somebody: signing up never leads into an account that exists.
        """
        user_id = tx.new_id()
        row = UserRow(
            id=user_id,
            owner_id=ids.USER.text(user_id),
            handle=handle or new_handle(),
            email=email,
            email_verified_at=None,
            display_name=display_name,
            created_at=tx.now,
            email_key=None if email is None or not holds_email else email_key(email),
        )
        if not await queries.insert(tx, self._project, row):
            raise EmailTaken("There is an account with this address: sign in first.")
        await owners.lock(tx, self._project, row.owner_id)
        await announce(tx, self._project, "user.created", subject=row.owner_id, owner_id=row.owner_id)
        return row


async def prove_email(tx: Transaction, project: str, user: UserRow) -> UserRow:
    """Make an address the user's own, now that a mail to it was answered: whoever only said that it is theirs loses it.

    Raises `EmailTaken` if another account has proved it, and `NotFound` for a user without an address.
    """
    if user.email is None:
        raise NotFound("This account has no address.")
    key = email_key(user.email)
    loser = await queries.lose_email(tx, project, key, except_id=user.id)
    if loser is not None:
        await announce(tx, project, "user.email_lost", subject=loser, owner_id=loser)
    await queries.hold_email(tx, project, user.id, key)
    if await queries.verify_email(tx, project, user.id):
        await announce(tx, project, "user.email_verified", subject=user.owner_id, owner_id=user.owner_id)
    return user._replace(email_key=key, email_verified_at=user.email_verified_at or tx.now)


def new_handle() -> bytes:
    """A random user handle; it says nothing about who it belongs to (WebAuthn, section 14.6.1)."""
    return secrets.token_bytes(HANDLE_BYTES)


def require_display_name(name: str | None) -> str | None:
    """Return a name for showing, or None for none. Raises `InvalidInput`."""
    return None if name is None else require_name(name, field="displayName", longest=_LONGEST_NAME)


def require_user(row: UserRow | None) -> UserRow:
    """Return a user that was looked for. Raises `NotFound`."""
    if row is None:
        raise NotFound("There is no such user.")
    return row
