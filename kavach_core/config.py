"""Settings, typed and checked when they are made: half-set security refuses to start."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import UnionType
from typing import Final, Literal, TypedDict, Unpack, cast
from urllib.parse import urlsplit

from kavach_core.errors import ConfigurationError, InvalidInput, RemoteNotAvailable
from kavach_core.primitives import duration
from kavach_core.primitives.clock import Clock
from kavach_core.primitives.duration import Duration
from kavach_core.primitives.hosts import ascii_host
from kavach_core.primitives.paths import is_safe_next
from kavach_core.primitives.permissions import PermissionLike
from kavach_core.primitives.text import is_clean

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
DEEPEST: Final = 16
SHORTEST_SECRET: Final = 32

#: What a browser leaves out of an origin.
_PORTS: Final = {"http": 80, "https": 443}

#: Ends of argument names whose values never reach the audit, at any depth: `client_secret`, `X-Api-Key`.
REDACTED: Final = frozenset(
    {"password", "passwd", "passphrase", "secret", "token", "apikey", "authorization", "cookie"}
)

UserVerification = Literal["required", "preferred"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """A mail the app is asked to send. `link` is a secret of whoever receives it, and belongs in no log."""

    to: str
    #: `recovery`, `verify_email`, or `account_exists` for somebody who asked for a second account.
    purpose: Literal["recovery", "verify_email", "account_exists"]
    link: str = field(repr=False)


#: Hands a mail to the app's own mailer.
SendEmail = Callable[[Email], Awaitable[None]]

#: Tells what a human may do, by their owner id.
OwnerPermissions = Callable[[str], Awaitable[Sequence[PermissionLike]]]

#: What becomes of a reservation that nobody settled in time.
Unsettled = Literal["keep", "release"]


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
    #: How long after a decision its cost can be settled, in microseconds, and what becomes of it otherwise.
    settle_within: int
    unsettled: Unsettled
    #: What a cost is counted in, as people are told it: `cents`.
    cost_unit: str
    #: How long an approval waits for an answer, and then for its use, in microseconds.
    approval_lifetime: int
    #: Decisions that may wait for the database, and other transactions; the next one is turned away at once.
    max_waiting: int
    #: How long a decision may take, in microseconds, before its caller is told to come back; others may wait as long.
    answer_within: int
    #: Peers whose `X-Forwarded-For` is believed.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    #: Further origins whose pages may act for a signed-in human.
    allowed_origins: tuple[str, ...]
    #: Ends of argument names kept out of the audit, as `plain_name` writes them.
    redact: tuple[str, ...]
    #: How long a session may rest, in microseconds, and how long it may live at all.
    session_idle: int
    session_lifetime: int
    #: How long after a sign-in sensitive changes need no new proof, in microseconds.
    fresh_for: int
    #: Whether people may make themselves an account.
    sign_up: bool
    #: What authenticators call the app, and the domain its passkeys belong to (WebAuthn, RP ID).
    rp_name: str
    rp_id: str
    #: The path of the app's own stylesheet, which the pages load after theirs; None leaves them as they are.
    theme: str | None
    #: Origins of native apps, such as `android:apk-key-hash:...`, whose passkeys are accepted.
    app_origins: tuple[str, ...]
    #: `required`, or `preferred` for old security keys that have no PIN.
    user_verification: UserVerification
    #: Sign-in attempts in a quarter of an hour, of one account and from one address.
    attempts_per_account: int
    attempts_per_address: int
    #: Whether e-mail and password is a way to sign in.
    passwords: bool
    #: Whether a new account with a password waits until the mail to its address was answered.
    verify_email: bool
    #: Tells what a human may do, beside what is on record; None asks nobody.
    owner_permissions: OwnerPermissions | None = field(default=None, repr=False)
    #: Sends a link to an address; None switches off everything that needs mail.
    send_email: SendEmail | None = field(default=None, repr=False)
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
    def browser_cookie(self) -> str:
        """The name of the cookie that binds a ceremony to the browser that began it."""
        return "__Host-kv_browser" if self.is_https else "kv_browser"

    @property
    def session_cookie(self) -> str:
        """The name of the session cookie; on https its prefix makes the browser refuse one set by a sibling domain."""
        return "__Host-kv_session" if self.is_https else "kv_session"

    def allows_ceremony(self, origin: str) -> bool:
        """Whether a passkey's answer may come from this origin: one of the app's pages, or one of its native apps."""
        return self.allows_origin(origin) or origin in self.app_origins

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may act for a signed-in human. Without `base_url`: http localhost alone."""
        if self.base_url is None:
            return origin in self.allowed_origins or _LOCAL_ORIGIN.fullmatch(origin) is not None
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
    owner_permissions: OwnerPermissions | None
    settle_within: Duration
    unsettled: Unsettled
    cost_unit: str
    approval_lifetime: Duration
    max_waiting: int
    answer_within: Duration
    trusted_proxies: Sequence[str]
    allowed_origins: Sequence[str]
    redact: Sequence[str]
    session_idle: Duration
    session_lifetime: Duration
    fresh_for: Duration
    sign_up: bool
    rp_name: str
    rp_id: str | None
    theme: str | None
    app_origins: Sequence[str]
    user_verification: UserVerification
    attempts_per_account: int
    attempts_per_address: int
    passwords: bool
    verify_email: bool
    send_email: SendEmail | None
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
    _check_names(settings)
    base_url = settings.get("base_url")
    origin = _origin(os.environ.get("KAVACH_BASE_URL") if base_url is None else base_url, "base_url")
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
        owner_permissions=settings.get("owner_permissions"),
        settle_within=_micros(settings.get("settle_within", "15m"), "settle_within"),
        unsettled=settings.get("unsettled", "keep"),
        cost_unit=settings.get("cost_unit", "units"),
        approval_lifetime=_micros(settings.get("approval_lifetime", "1h"), "approval_lifetime"),
        max_waiting=settings.get("max_waiting", 10_000),
        answer_within=_micros(settings.get("answer_within", "10s"), "answer_within"),
        trusted_proxies=tuple(_network(text) for text in settings.get("trusted_proxies", ())),
        allowed_origins=tuple(
            filter(None, (_origin(text, "allowed_origins") for text in settings.get("allowed_origins", ())))
        ),
        redact=tuple(sorted(REDACTED | {plain_name(name) for name in settings.get("redact", ())})),
        session_idle=_micros(settings.get("session_idle", "7d"), "session_idle"),
        session_lifetime=_micros(settings.get("session_lifetime", "30d"), "session_lifetime"),
        fresh_for=_micros(settings.get("fresh_for", "10m"), "fresh_for"),
        sign_up=settings.get("sign_up", True),
        rp_name=settings.get("rp_name", "Kavach"),
        rp_id=_rp_id(settings.get("rp_id")) or _host(origin),
        theme=settings.get("theme"),
        app_origins=tuple(settings.get("app_origins", ())),
        user_verification=settings.get("user_verification", "required"),
        attempts_per_account=settings.get("attempts_per_account", 10),
        attempts_per_address=settings.get("attempts_per_address", 100),
        passwords=settings.get("passwords", False),
        verify_email=settings.get("verify_email", False),
        send_email=settings.get("send_email"),
        clock=settings.get("clock"),
    )
    _check(config)
    return config


#: Settings that are lists; a text would be taken for a list of letters.
_LISTS: Final = ("trusted_proxies", "allowed_origins", "app_origins", "redact")
#: What other settings are; the text "false" would be taken for true.
_KINDS: Final = (
    ("True or False", bool, ("skip_migrations", "pgbouncer", "sign_up", "passwords", "verify_email")),
    ("a text", str, ("project", "rp_name", "cost_unit")),
    ("a text", str | None, ("database", "base_url", "rp_id", "theme")),
    ("a whole number", int, ("max_agents_per_owner", "max_delegation_depth", "max_waiting")),
    ("a whole number", int, ("attempts_per_account", "attempts_per_address")),
    ("a whole number", int | None, ("refused_per_minute",)),
)


def _check_names(settings: Settings) -> None:
    """A misspelt setting, or one of another kind, would leave what it was to protect unprotected."""
    unknown = sorted(settings.keys() - Settings.__annotations__.keys())
    _require(not unknown, f"There is no setting {', '.join(unknown)}.")
    for name in _LISTS:
        _require(_is_list_of_texts(settings.get(name, ())), f"{name} is a list of texts.")
    secret = settings.get("secret")
    _require(isinstance(secret, str | None) or _is_list_of_texts(secret), "secret is a text or a list of texts.")
    for told, kind, names in _KINDS:
        for name in names:
            _require(name not in settings or _is_a(kind, settings.get(name)), f"{name} is {told}.")
    for name in ("send_email", "clock"):
        _require(settings.get(name) is None or callable(settings.get(name)), f"{name} is a function.")


def _is_a(kind: type[object] | UnionType, value: object) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_list_of_texts(value: object) -> bool:
    if not isinstance(value, Collection) or isinstance(value, (str, bytes)):
        return False
    return all(isinstance(each, str) for each in cast("Collection[object]", value))


def _check(config: Config) -> None:
    depth, refused, project = config.max_delegation_depth, config.refused_per_minute, config.project
    _require(1 <= depth <= DEEPEST, f"max_delegation_depth lies between 1 and {DEEPEST}.")
    _require(config.max_agents_per_owner >= 0, "max_agents_per_owner is not negative.")
    _require(refused is None or refused > 0, "refused_per_minute is positive or None.")
    _require(config.unsettled in ("keep", "release"), "unsettled is keep or release.")
    _require(config.max_waiting > 0, "max_waiting is positive.")
    unit = config.cost_unit
    _require(bool(unit.strip()) and len(unit) <= 32 and is_clean(unit), "cost_unit has 1 to 32 readable characters.")
    asks = config.owner_permissions
    _require(asks is None or callable(asks), "owner_permissions is an async function of an owner id.")
    readable = project.isascii() and project.isprintable()
    _require(0 < len(project) <= 64 and readable, "project has 1 to 64 printable ASCII characters.")
    _require(bool(config.secret) or not config.is_https, "An https base_url needs a secret.")
    _check_humans(config)


def _check_humans(config: Config) -> None:
    host = _host(config.base_url)
    is_parent = "." in config.rp_id and host.endswith(f".{config.rp_id}")
    _require(host == config.rp_id or is_parent, "rp_id is the host of base_url or a parent of it.")
    _require(bool(config.rp_name.strip()), "rp_name is what the app is called: it is not empty.")
    local = all(urlsplit(origin).hostname in LOCAL_HOSTS for origin in config.allowed_origins)
    _require(local or config.base_url is not None, "allowed_origins beside localhost need base_url.")
    _require(config.user_verification in ("required", "preferred"), "user_verification is required or preferred.")
    _require(config.attempts_per_account > 0, "attempts_per_account is positive.")
    _require(config.attempts_per_address > 0, "attempts_per_address is positive.")
    _require(config.send_email is None or config.base_url is not None, "send_email needs base_url: mails hold links.")
    _require(not config.verify_email or config.send_email is not None, "verify_email needs send_email.")
    _require(not config.verify_email or config.passwords, "verify_email is part of passwords=True.")
    _require(config.theme is None or is_safe_next(config.theme), "theme is a path on the app's own origin.")
    for origin in config.app_origins:
        _require(
            origin.startswith(("android:", "ios:")), "app_origins are those of native apps; pages: allowed_origins."
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


def _origin(text: str | None, name: str) -> str | None:
    """An origin as browsers send it: scheme, host in ASCII, and the port if it is another than the scheme's own."""
    if text is None:
        return None
    _require(bool(text.strip()), f"{name} is empty; leave it out while developing on localhost.")
    try:
        parts = urlsplit(text.rstrip("/"))
        host, port = ascii_host(parts.hostname or ""), parts.port
    except ValueError:
        raise ConfigurationError(f"{name} is an http or https origin.") from None
    _require(parts.scheme in _PORTS and bool(host), f"{name} is an http or https origin.")
    behind = parts.path or parts.query or parts.fragment
    _require(not behind and "@" not in parts.netloc, f"{name} has no path or user.")
    _require(parts.scheme == "https" or host in LOCAL_HOSTS, f"{name} uses https unless it is a localhost origin.")
    shown = f"[{host}]" if ":" in (host or "") else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _rp_id(text: str | None) -> str | None:
    """The domain of passkeys as browsers compare it."""
    return None if text is None else ascii_host(text) or text


def _host(origin: str | None) -> str:
    """The host passkeys belong to; without `base_url` the one name of one's own machine that browsers take for it."""
    return "localhost" if origin is None else urlsplit(origin).hostname or ""


def _micros(value: Duration, name: str) -> int:
    try:
        return duration.to_micros(value, field=name)
    except InvalidInput as error:
        raise ConfigurationError(f"{name}: {error.message}") from None


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


_LOCAL_ORIGIN: Final = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
