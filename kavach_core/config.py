"""Settings, typed and checked when they are made: half-set security refuses to start."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypedDict, Unpack
from urllib.parse import urlsplit

from kavach_core.errors import ConfigurationError, RemoteNotAvailable
from kavach_core.primitives import duration
from kavach_core.primitives.clock import Clock
from kavach_core.primitives.duration import Duration

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
DEEPEST: Final = 16
SHORTEST_SECRET: Final = 32

#: Ends of argument names whose values never reach the audit, at any depth: `client_secret`, `X-Api-Key`.
REDACTED: Final = frozenset(
    {"password", "passwd", "passphrase", "secret", "token", "apikey", "authorization", "cookie"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one Kavach."""

    #: `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://...`.
    database: str = field(repr=False)
    #: The app's own public origin, such as `https://app.example`; None while developing on localhost.
    base_url: str | None
    #: Keys for signed values, newest first.
    secret: tuple[str, ...] = field(repr=False)
    #: Whose world this is; a credential or id of another project does not exist here.
    project: str
    #: Leave migrations to `kavach migrate` and refuse to start while any is due.
    skip_migrations: bool
    #: The database is behind PgBouncer in transaction mode.
    pgbouncer: bool
    #: Live agents an owner may have.
    max_agents_per_owner: int
    #: Links a chain of delegations may have, at most 16.
    max_delegation_depth: int
    #: Refused calls of one agent per minute over HTTP before its next ones answer 429; None switches it off.
    refused_per_minute: int | None
    #: Peers whose `X-Forwarded-For` is believed.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    #: Further origins whose pages may act for a signed-in human.
    allowed_origins: tuple[str, ...]
    #: Ends of argument names kept out of the audit, as `plain_name` writes them.
    redact: tuple[str, ...]
    #: How long a session may rest, in microseconds, and how long it may live at all.
    session_idle: int
    session_lifetime: int
    #: Tests set the time; None asks the database or the process.
    clock: Clock | None = field(default=None, repr=False)

    @property
    def is_https(self) -> bool:
        """Whether the app is reached over https, by its configured origin and never by a request."""
        return self.base_url is not None and self.base_url.startswith("https://")

    @property
    def is_local(self) -> bool:
        """Whether this can only be development: no `base_url`, or one on localhost."""
        return self.base_url is None or urlsplit(self.base_url).hostname in LOCAL_HOSTS

    @property
    def session_cookie(self) -> str:
        """The name of the session cookie; on https its prefix makes the browser refuse one set by a sibling domain."""
        return "__Host-kv_session" if self.is_https else "kv_session"

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may act for a signed-in human. Without `base_url`: http localhost alone."""
        if self.base_url is None:
            return origin in self.allowed_origins or _is_local_origin(origin)
        return origin == self.base_url or origin in self.allowed_origins


class Settings(TypedDict, total=False):
    """The arguments of `create_kavach` and `lazy_kavach`; `Config` tells what each means."""

    database: str | None
    base_url: str | None
    secret: str | Sequence[str] | None
    api_key: str | None
    url: str | None
    project: str
    skip_migrations: bool
    pgbouncer: bool
    max_agents_per_owner: int
    max_delegation_depth: int
    refused_per_minute: int | None
    trusted_proxies: Sequence[str]
    allowed_origins: Sequence[str]
    redact: Sequence[str]
    session_idle: Duration
    session_lifetime: Duration
    clock: Clock | None


def load_config(**settings: Unpack[Settings]) -> Config:
    """Build the settings from arguments and, where they are silent, `KAVACH_*` environment variables.

    Raises `ConfigurationError` for anything half-set or out of bounds, and `RemoteNotAvailable` for `api_key` or `url`.
    """
    if (
        settings.get("api_key")
        or settings.get("url")
        or os.environ.get("KAVACH_API_KEY")
        or os.environ.get("KAVACH_URL")
    ):
        raise RemoteNotAvailable("Remote mode (api_key=, url=) is not part of this release; use database=.")
    origin = _origin(settings.get("base_url") or os.environ.get("KAVACH_BASE_URL"), "base_url")
    secret = settings.get("secret")
    config = Config(
        database=_database(settings.get("database")),
        base_url=origin,
        secret=_secrets(os.environ.get("KAVACH_SECRET") if secret is None else secret),
        project=settings.get("project", "default"),
        skip_migrations=settings.get("skip_migrations", False),
        pgbouncer=settings.get("pgbouncer", False),
        max_agents_per_owner=settings.get("max_agents_per_owner", 1000),
        max_delegation_depth=settings.get("max_delegation_depth", 10),
        refused_per_minute=settings.get("refused_per_minute", 60),
        trusted_proxies=tuple(_network(text) for text in settings.get("trusted_proxies", ())),
        allowed_origins=tuple(
            filter(None, (_origin(text, "allowed_origins") for text in settings.get("allowed_origins", ())))
        ),
        redact=tuple(sorted(REDACTED | {plain_name(name) for name in settings.get("redact", ())})),
        session_idle=duration.to_micros(settings.get("session_idle", "7d"), field="session_idle"),
        session_lifetime=duration.to_micros(settings.get("session_lifetime", "30d"), field="session_lifetime"),
        clock=settings.get("clock"),
    )
    _check(config)
    return config


def _check(config: Config) -> None:
    depth, refused, project = config.max_delegation_depth, config.refused_per_minute, config.project
    _require(1 <= depth <= DEEPEST, f"max_delegation_depth lies between 1 and {DEEPEST}.")
    _require(config.max_agents_per_owner >= 0, "max_agents_per_owner is not negative.")
    _require(refused is None or refused > 0, "refused_per_minute is positive or None.")
    readable = project.isascii() and project.isprintable()
    _require(0 < len(project) <= 64 and readable, "project has 1 to 64 printable ASCII characters.")
    _require(bool(config.secret) or not config.is_https, "An https base_url needs a secret.")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


def _origin(text: str | None, name: str) -> str | None:
    """An origin as browsers send it: scheme, host and port, nothing behind."""
    if text is None:
        return None
    parts = urlsplit(text.rstrip("/"))
    _require(parts.scheme in {"http", "https"} and bool(parts.hostname), f"{name} is an http or https origin.")
    _require(not (parts.path or parts.query or parts.fragment or parts.username), f"{name} has no path or user.")
    _require(
        parts.scheme == "https" or parts.hostname in LOCAL_HOSTS, f"{name} uses https unless it is a localhost origin."
    )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _database(url: str | None) -> str:
    if url is None:
        url = os.environ.get("KAVACH_DATABASE_URL", "sqlite:///kavach.db")
    _require(bool(url), "The database URL is empty; leave it out for sqlite:///kavach.db.")
    return url


def _secrets(value: str | Sequence[str] | None) -> tuple[str, ...]:
    secrets = (value,) if isinstance(value, str) else tuple(value or ())
    for secret in secrets:
        _require(len(secret) >= SHORTEST_SECRET, f"A secret has at least {SHORTEST_SECRET} characters.")
    return secrets


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigurationError(f"trusted_proxies holds networks such as 10.0.0.0/8, not {text!r}.") from None


def plain_name(name: str) -> str:
    """A name without case and separators, so that `api_key`, `apiKey` and `X-API-Key` end alike."""
    return "".join(filter(str.isalnum, name)).casefold()


def _is_local_origin(origin: str) -> bool:
    return _LOCAL_ORIGIN.fullmatch(origin) is not None


_LOCAL_ORIGIN: Final = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
