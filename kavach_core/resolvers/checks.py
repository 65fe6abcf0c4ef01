"""What resolvers ask of their settings before they start: a half-configured one refuses."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from kavach_core.config import LOCAL_HOSTS
from kavach_core.errors import ConfigurationError

_EXTRA = ("joserfc", "httpx")
_SHORTEST_SECRET: Final = 16


def require(condition: object, message: str) -> None:
    """Raise `ConfigurationError` unless the condition holds."""
    if not condition:
        raise ConfigurationError(message)


def require_extra() -> None:
    """Raise `ConfigurationError` where the packages of the extra `jwt` are missing."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    require(not missing, f'This needs {" and ".join(missing)}: pip install "kavach-asgi[jwt]".')


def secure_url(url: str, name: str) -> str:
    """Return a URL to be asked: https, or http on localhost. Raises `ConfigurationError`."""
    text(url, name)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{name} is no URL.") from None
    require(host and parts.scheme in {"http", "https"}, f"{name} is an https URL.")
    require(parts.scheme == "https" or host in LOCAL_HOSTS, f"{name} uses https unless it is on localhost.")
    require(not (parts.username or parts.password or parts.query or parts.fragment), f"{name} has no user or query.")
    return url


def texts(value: str | Sequence[str] | None, name: str) -> tuple[str, ...]:
    """Return one text or several as a tuple, none of them empty. Raises `ConfigurationError`, for no text as well."""
    given = (value,) if isinstance(value, str) else tuple(value or ())
    require(given and all(map(_says_something, given)), f"{name} is missing or empty.")
    return given


def text(value: str | None, name: str) -> str:
    """Return a text that says something. Raises `ConfigurationError`."""
    require(_says_something(value), f"{name} is missing or empty.")
    return value or ""


def secrets(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the secrets that the app's own auth signs or encrypts with. Raises `ConfigurationError`.

    How long they are is decided there; one that can be searched for lets anybody be anybody here as well.
    """
    given = texts(value, "secret")
    require(min(map(len, given)) >= _SHORTEST_SECRET, f"secret has at least {_SHORTEST_SECRET} characters.")
    return given


def cookie_name(value: str | None) -> str | None:
    """Return the name of a cookie, or None for the default. Raises `ConfigurationError`."""
    return None if value is None else text(value, "cookie")


def _says_something(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
