"""People with authenticators and browsers, and ways to spoil their answers."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from kavach_core import Kavach, Session
from kavach_core.capabilities.passkeys import AddedPasskey, Options
from kavach_core.errors import KavachError
from kavach_core.primitives.browser import Browser, browser_from
from kavach_core.testing_passkeys import SoftAuthenticator

ORIGIN: Final = "http://localhost:8000"

Json = dict[str, Any]
T = TypeVar("T")


class Person:
    """One human with one browser and one authenticator."""

    def __init__(self, kavach: Kavach, authenticator: SoftAuthenticator | None = None) -> None:
        self.kavach = kavach
        self.passkeys = kavach.auth.passkey
        self.authenticator = authenticator or SoftAuthenticator()
        self.browser = new_browser()

    async def begin_registration(self, email: str | None = None) -> Json:
        """An answer that would make an account."""
        options = await self.passkeys.begin_registration(email=email, browser=self.browser)
        return self.authenticator.create(options, ORIGIN)

    async def register(self, email: str | None = None) -> Session:
        """Make an account."""
        return await self.passkeys.finish_registration(await self.begin_registration(email), browser=self.browser)

    async def begin_sign_in(self, **client_data: object) -> Json:
        """An answer that would sign in."""
        options = await self.passkeys.begin_authentication(browser=self.browser)
        return self.authenticator.get(options, ORIGIN, **client_data)

    async def finish_sign_in(self, body: object) -> Session:
        """Sign in with an answer."""
        return await self.passkeys.finish_authentication(body, browser=self.browser)

    async def sign_in(self, **client_data: object) -> Session:
        """Sign in."""
        return await self.finish_sign_in(await self.begin_sign_in(**client_data))

    async def verify(self, session: Session) -> Session:
        """Prove once more who they are."""
        options = await self.passkeys.begin_verification(session=session, browser=self.browser)
        body = self.authenticator.get(options, ORIGIN)
        return await self.passkeys.finish_verification(body, session=session, browser=self.browser)

    async def begin_addition(self, session: Session) -> Options:
        """What is asked for one more passkey."""
        return await self.passkeys.begin_addition(session=session, browser=self.browser)

    async def add(self, session: Session, authenticator: SoftAuthenticator | None = None) -> AddedPasskey:
        """Add the passkey of another authenticator."""
        body = (authenticator or SoftAuthenticator()).create(await self.begin_addition(session), ORIGIN)
        return await self.passkeys.finish_addition(body, session=session, browser=self.browser)


def new_browser() -> Browser:
    """A browser that was never seen."""
    return browser_from([], cookie_name="kv_browser", secure=False)


def synced() -> SoftAuthenticator:
    """An authenticator whose passkeys are on other devices too, and that does not count."""
    return SoftAuthenticator(be=True, bs=True, counter=False)


async def code_of(attempt: Awaitable[object]) -> str:
    """The code an attempt fails with; `ok` if it does not."""
    try:
        await attempt
    except KavachError as error:
        return error.public_code
    return "ok"


async def codes_of_many(times: int, attempt: Callable[[], Awaitable[object]]) -> list[str]:
    """The codes of the same attempt made so often at once, sorted."""
    return sorted(await asyncio.gather(*[code_of(attempt()) for _ in range(times)]))


def changed(body: Json, *path: str, to: object) -> Json:
    """A copy of an answer in which one part is another."""
    spoilt = copy.deepcopy(body)
    inner = spoilt
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = to
    return spoilt


def without(body: Json, *path: str) -> Json:
    """A copy of an answer in which one part is missing."""
    spoilt = copy.deepcopy(body)
    inner = spoilt
    for part in path[:-1]:
        inner = inner[part]
    del inner[path[-1]]
    return spoilt


def client_data_of(body: Json) -> Json:
    """The client data of an answer."""
    return dict(json.loads(decode(body["response"]["clientDataJSON"])))


def with_client_data(body: Json, client_data: object) -> Json:
    """A copy of an answer with other client data; its signature no longer fits."""
    raw = client_data if isinstance(client_data, bytes) else json.dumps(client_data).encode()
    return changed(body, "response", "clientDataJSON", to=encode(raw))


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
