"""The public keys of an issuer: read when first needed, kept, and read again when a token names one that is not there.

Where they are is the app's setting, or what the issuer's own document says; never what a token says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from kavach_core.resolvers.fetch import FetchFailed, get_json
from kavach_core.resolvers.single_flight import SingleFlight

if TYPE_CHECKING:
    from kavach_core.resolvers.jose import PublicKey

#: Seconds for which keys are used without asking again.
MAX_AGE: Final = 300.0
#: The issuer is asked at most once in this many seconds, whatever tokens arrive and however often it fails.
ASK_EVERY: Final = 5.0

_KEYS: Final = "keys"
_log = logging.getLogger("kavach")


class KeyRing:
    """The keys of one issuer, in this process."""

    def __init__(
        self, locate: Callable[[], Awaitable[str]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`locate` gives the URL of the key set, and may have to ask for it."""
        self._locate = locate
        self._monotonic = monotonic
        self._keys: Sequence[PublicKey] | None = None
        self._read_at = 0.0
        self._asked_at: float | None = None
        self._flights = SingleFlight[str, Sequence["PublicKey"]]()

    async def matching(self, kid: str | None) -> Sequence[PublicKey]:
        """Return the keys with this id, or all of them for a token that names none.

        An unknown id makes the issuer be asked again, at a bounded rate. Raises `FetchFailed` only where no keys were
        ever read: later failures keep those there are.
        """
        keys = self._keys
        if keys is None or self._monotonic() - self._read_at > MAX_AGE:
            keys = await self._read_again()
        found = _matching(keys, kid)
        return found or _matching(await self._read_again(), kid)

    async def _read_again(self) -> Sequence[PublicKey]:
        """The keys as they are now, or as they were if the issuer fails or was asked a moment ago."""
        try:
            if self._is_too_early() and not self._flights.is_flying(_KEYS):
                raise FetchFailed("The issuer", "was asked a moment ago")
            return await self._flights.run(_KEYS, self._read)
        except FetchFailed:
            if self._keys is None:
                raise
            return self._keys

    def _is_too_early(self) -> bool:
        return self._asked_at is not None and self._monotonic() - self._asked_at < ASK_EVERY

    async def _read(self) -> Sequence[PublicKey]:
        from kavach_core.resolvers.jose import import_keys

        self._asked_at = self._monotonic()
        try:
            url = await self._locate()
            try:
                keys = import_keys(await get_json(url))
            except ValueError as error:
                raise FetchFailed(url, "is no JWK Set") from error
        except FetchFailed as error:
            _log.warning("the keys of an issuer were not read: %s", error)
            raise
        self._keys, self._read_at = keys, self._monotonic()
        return keys


def _matching(keys: Sequence[PublicKey], kid: str | None) -> Sequence[PublicKey]:
    return keys if kid is None else [key for key in keys if key.kid == kid]
