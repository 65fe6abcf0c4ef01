"""From an error to an answer: the one place that knows which status an error has, and the one body all errors share."""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from kavach_core import errors
from kavach_core.api.operation import Reply
from kavach_core.errors import KavachError

_STATUS: Final[dict[type[KavachError], int]] = {
    errors.InvalidInput: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.ConfigurationError: 503,
    KavachError: 500,
}
#: What an app's authors see; clients of the app see only that it is unavailable.
_PRIVATE: Final = errors.ConfigurationError

#: Seconds between two lines about one cause.
_QUIET: Final = 10.0

_log = logging.getLogger("kavach")


class _Outages:
    """Tells the log why the database cannot be used: each cause once in a while, since every request would tell it."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def tell(self, error: errors.StoreUnavailable) -> None:
        """Log the cause of an error, unless it was logged a short while ago."""
        cause, now = error.cause or error.message, time.monotonic()
        if now - self._told.get(cause, -_QUIET) >= _QUIET:
            self._told = {**{each: at for each, at in self._told.items() if now - at < _QUIET}, cause: now}
            _log.warning("the database cannot be used: %s", cause)


_outages: Final = _Outages()


def status_of(error: KavachError) -> int:
    """The HTTP status of an error: its class's, or that of the nearest class above."""
    return next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS)


def to_reply(error: Exception) -> Reply:
    """The answer for any exception. The text of one that is not ours never leaves the server: it is logged."""
    if not isinstance(error, KavachError):
        _log.error("unexpected error", exc_info=error)
        return _reply(500, "INTERNAL_ERROR", "Something went wrong here.", {}, ())
    error = _for_clients(error)
    return _reply(status_of(error), error.public_code, error.message, error.details, _headers(error))


def to_close(error: Exception) -> tuple[int, str]:
    """The close code and reason of a socket for any exception: 4000 and its status (RFC 6455, 7.4.2), and its code."""
    if not isinstance(error, KavachError):
        return 4000 + to_reply(error).status, "INTERNAL_ERROR"
    error = _for_clients(error)
    return 4000 + status_of(error), error.public_code


def _for_clients(error: KavachError) -> KavachError:
    """The error as clients of an app may see it: what only its authors should know is logged instead."""
    if isinstance(error, errors.StoreUnavailable):
        _outages.tell(error)
    if not isinstance(error, _PRIVATE):
        return error
    _log.error("%s: %s", error.code, error.message)
    return errors.Unavailable("This service is not configured to run.", retry_after=60)


def _headers(error: KavachError) -> tuple[tuple[bytes, bytes], ...]:
    match error:
        case errors.Unauthenticated():
            return ((b"www-authenticate", b'Bearer realm="kavach"'),)
        case errors.RateLimited() | errors.Unavailable():
            return ((b"retry-after", str(error.retry_after).encode()),)
        case errors.MethodNotAllowed():
            return ((b"allow", ", ".join(error.allowed).encode()),)
        case _:
            return ()


def _reply(
    status: int, code: str, message: str, details: dict[str, object], headers: tuple[tuple[bytes, bytes], ...]
) -> Reply:
    body = json.dumps({"error": {"code": code, "message": message, "details": details}}, separators=(",", ":"))
    return Reply(status=status, body=body.encode(), headers=headers)
