"""Passkeys of a cast, and the answers of its authenticator to what is asked in their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from kavach_core import Kavach, Session
from kavach_core.capabilities.passkeys import DeviceType
from kavach_core.capabilities.passkeys import queries as passkeys
from kavach_core.capabilities.passkeys.model import NewCredential
from kavach_core.capabilities.sessions import SignInMethod
from kavach_core.capabilities.users import queries as users
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.primitives.browser import Browser, browser_from
from kavach_core.store import Transaction
from kavach_core.testing_passkeys import SoftAuthenticator, SoftCredential
from tests.http.world import ORIGIN, Headers, World, bearer

_TWO: Final = 2


async def passkeys_of(kavach: Kavach, owner: str) -> tuple[str, SoftAuthenticator]:
    """Make an owner a user with two passkeys and no others; returns the id of one, and what holds both."""
    authenticator = SoftAuthenticator()

    async def give(tx: Transaction) -> bytes:
        user = await _user(tx, kavach.config.project, owner)
        await tx.execute("delete from kavach_passkeys where user_id = $1", user.id)
        rows = [await _passkey(tx, kavach.config.project, user, authenticator) for _ in range(_TWO)]
        return rows[0]

    return f"psk_{(await kavach._store.transact(give)).hex()}", authenticator


async def recovering(kavach: Kavach, owner: str) -> Headers:
    """The credential of somebody whom a recovery code let in."""
    sessions = kavach.sessions
    session = await kavach._store.transact(sessions.start_in, owner, SignInMethod.RECOVERY, None, None)
    return bearer(session.token)


async def registering(world: World, authenticator: SoftAuthenticator, caller: Session) -> dict[str, Any]:
    """The answer of somebody who makes an account."""
    browser = new_browser(world.kavach)
    options = await world.kavach.auth.passkey.begin_registration(browser=browser)
    return answer(SoftAuthenticator().create(options, ORIGIN), browser)


async def signing_in(world: World, authenticator: SoftAuthenticator, caller: Session) -> dict[str, Any]:
    """The answer of somebody who signs in."""
    browser = new_browser(world.kavach)
    options = await world.kavach.auth.passkey.begin_authentication(browser=browser)
    return answer(authenticator.get(options, ORIGIN), browser)


async def verifying(world: World, authenticator: SoftAuthenticator, caller: Session) -> dict[str, Any]:
    """The answer of a signed-in human who proves once more who they are."""
    browser = new_browser(world.kavach)
    options = await world.kavach.auth.passkey.begin_verification(session=caller, browser=browser)
    return answer(authenticator.get(options, ORIGIN), browser)


async def adding(world: World, authenticator: SoftAuthenticator, caller: Session) -> dict[str, Any]:
    """The answer of a signed-in human who adds a passkey."""
    browser = new_browser(world.kavach)
    options = await world.kavach.auth.passkey.begin_addition(session=caller, browser=browser)
    return answer(SoftAuthenticator().create(options, ORIGIN), browser)


def new_browser(kavach: Kavach) -> Browser:
    """A browser that was never seen."""
    return browser_from([], cookie_name=kavach.config.browser_cookie, secure=False)


def answer(body: Mapping[str, Any], browser: Browser) -> dict[str, Any]:
    """An answer of a browser as arguments for the client."""
    return {"json": body, "headers": {"cookie": f"{browser.cookie_name}={browser.nonce}"}}


async def _user(tx: Transaction, project: str, owner: str) -> UserRow:
    known = await users.by_owner(tx, project, owner)
    if known is not None:
        return known
    row = UserRow(tx.new_id(), owner, owner.encode().ljust(32), None, None, None, tx.now)
    assert await users.insert(tx, project, row)
    return row


async def _passkey(tx: Transaction, project: str, user: UserRow, authenticator: SoftAuthenticator) -> bytes:
    made = SoftCredential(
        id=tx.new_id() * 2, rp_id="localhost", user_handle=user.handle, key=ec.generate_private_key(ec.SECP256R1())
    )
    authenticator.credentials.append(made)
    credential = NewCredential(
        credential_id=made.id,
        public_key=made.public_key,
        sign_count=0,
        aaguid="",
        device_type=DeviceType.SINGLE_DEVICE,
        backed_up=False,
        transports=("internal",),
    )
    row = await passkeys.insert(tx, project, user.id, credential)
    assert row is not None
    return row.id
