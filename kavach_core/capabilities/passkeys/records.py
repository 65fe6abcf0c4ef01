"""What a verified ceremony writes: each function is part of one transaction, with the event of what it changes."""

from __future__ import annotations

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.passkeys import queries
from kavach_core.capabilities.passkeys.model import MOST_PASSKEYS, Assertion, NewCredential
from kavach_core.capabilities.passkeys.queries import PasskeyRow
from kavach_core.capabilities.passwords import queries as passwords
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.capabilities.users.service import require_user
from kavach_core.errors import Conflict, LastWayIn, LimitReached, NotFound
from kavach_core.primitives import ids
from kavach_core.store import Transaction


async def add(
    tx: Transaction, project: str, user: UserRow, credential: NewCredential, *, recovering: bool = False
) -> PasskeyRow:
    """Give a passkey to a user who was locked or made in this transaction.

    Raises `LimitReached`, and `Conflict` if the passkey is on record already, whoever's it is.
    """
    await require_room(tx, project, user, recovering=recovering)
    row = await queries.insert(tx, project, user.id, credential)
    if row is None:
        raise Conflict("This passkey is registered already.")
    data = {"deviceType": row.device_type, "name": row.name}
    await announce_passkey(tx, project, "passkey.added", row, user, **data)
    return row


async def require_room(tx: Transaction, project: str, user: UserRow, *, recovering: bool) -> list[PasskeyRow]:
    """Return the passkeys of a user who may have one more. Raises `LimitReached`.

    Whoever is recovering may: those they have are lost, and can be deleted by nobody else.
    """
    rows = await queries.of_user(tx, project, user.id)
    if len(rows) >= MOST_PASSKEYS and not recovering:
        raise LimitReached(f"An account has at most {MOST_PASSKEYS} passkeys.", details={"limit": MOST_PASSKEYS})
    return rows


async def use(
    tx: Transaction, project: str, row: PasskeyRow, assertion: Assertion, *, regressed: bool
) -> UserRow | None:
    """Note the use of a passkey as it was read, and return whose it is.

    None if it was used, disabled or deleted since it was read: two at once are one too many.
    """
    if not await queries.use(tx, project, row, assertion):
        return None
    user = require_user(await users.find(tx, project, row.user_id))
    if regressed:
        counts = {"stored": row.sign_count, "presented": assertion.sign_count}
        await announce_passkey(tx, project, "passkey.count_regressed", row, user, **counts)
    return user


async def disable(tx: Transaction, project: str, row: PasskeyRow, user: UserRow, presented: int) -> None:
    """Refuse a passkey of which a copy was seen."""
    if await queries.disable(tx, project, row.id):
        counts = {"stored": row.sign_count, "presented": presented}
        await announce_passkey(tx, project, "passkey.disabled", row, user, **counts)


async def delete(tx: Transaction, project: str, user: UserRow, passkey_id: bytes, *, with_passwords: bool) -> None:
    """Take a passkey from a user. Raises `NotFound`, and `LastWayIn` if they could not sign in without it.

    A password is a way in where the app takes passwords (`with_passwords`) and their address still leads to them.
    """
    user = require_user(await users.lock(tx, project, user.id))
    row = await queries.find(tx, project, passkey_id, user.id)
    if row is None:
        raise NotFound("There is no such passkey.")
    rows = await queries.of_user(tx, project, user.id)
    others = [each for each in rows if each.id != row.id and each.disabled_at is None]
    by_password = with_passwords and user.email_key is not None and await passwords.find(tx, project, user.id)
    if row.disabled_at is None and not others and not by_password:
        raise LastWayIn("This is the last way to sign in to the account: add another passkey first.")
    await queries.delete(tx, project, row.id, user.id)
    await announce_passkey(tx, project, "passkey.deleted", row, user)


async def announce_passkey(
    tx: Transaction, project: str, event: str, row: PasskeyRow, user: UserRow, **data: object
) -> None:
    """Write an event about a passkey."""
    await announce(tx, project, event, subject=ids.PASSKEY.text(row.id), owner_id=user.owner_id, data=data)
