"""Argon2id through pwdlib, in threads and a few at a time: each takes 64 MiB and a good part of a second."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Final

from kavach_core.errors import ConfigurationError

if TYPE_CHECKING:
    from pwdlib import PasswordHash

_AT_ONCE: Final = 4


class Hasher:
    """Hashes and checks passwords without holding up the event loop."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        async with self._turns:
            return await asyncio.to_thread(_library().hash, password)

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Tell whether a password is the stored one, and what to store instead if that was made with older settings.

        With nothing stored it takes as long, and the answer is no.
        """
        async with self._turns:
            return await asyncio.to_thread(_verify, password, stored)


def _verify(password: str, stored: str | None) -> tuple[bool, str | None]:
    # Asked for whoever comes first: made only for an unknown account, it would tell that account by its time.
    nobodys = _nobodys()
    holds, replacement = _library().verify_and_update(password, nobodys if stored is None else stored)
    return (holds, replacement) if stored is not None else (False, None)


@cache
def _library() -> PasswordHash:
    try:
        from pwdlib import PasswordHash
    except ImportError as error:
        raise ConfigurationError('passwords=True needs pwdlib: pip install "kavach-asgi[passwords]".') from error
    return PasswordHash.recommended()


@cache
def _nobodys() -> str:
    """A hash that nobody's password has, with the settings of everybody's."""
    return _library().hash("nobody has this password: it only costs what a wrong one costs")
