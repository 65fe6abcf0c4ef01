"""Which database a URL names, and how one statement text serves both. The only place that asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from kavach_core.errors import ConfigurationError


class Dialect(StrEnum):
    """The databases Kavach speaks to."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteFile:
    """A SQLite database: the real path of its file."""

    path: str
    dialect: Dialect = Dialect.SQLITE


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A PostgreSQL database. The URL may hold a password, so it stays out of `repr`."""

    url: str = field(repr=False)
    dialect: Dialect = Dialect.POSTGRES


def parse_database(database: str) -> SqliteFile | PostgresServer:
    """Read a database URL.

    Raises `ConfigurationError` for anything but a SQLite file or a PostgreSQL database; the message never repeats the
    URL, because it may hold a password.
    """
    scheme, _, rest = database.partition("://")
    if scheme == "sqlite":
        return SqliteFile(path=_file(rest))
    if scheme in ("postgresql", "postgres"):
        _require_readable(database)
        return PostgresServer(url=database)
    if scheme.startswith(("postgresql+", "postgres+", "sqlite+")):
        raise ConfigurationError("The database URL names a driver; write postgresql:// or sqlite:/// without one.")
    raise ConfigurationError("The database URL must begin with sqlite:/// or postgresql://.")


def _file(rest: str) -> str:
    path = rest.removeprefix("/")
    if ":memory:" in path or "mode=memory" in path or not path.strip("/"):
        raise ConfigurationError("SQLite in memory is not supported; name a file, such as sqlite:///kavach.db.")
    if not rest.startswith("/"):
        raise ConfigurationError("Write sqlite:///relative.db or sqlite:////absolute.db.")
    if "?" in path:
        raise ConfigurationError("A sqlite:/// URL takes no options.")
    real = Path(path).resolve()
    if not real.parent.is_dir():
        raise ConfigurationError(f"The directory of the database does not exist: {real.parent}")
    return str(real)


def _require_readable(url: str) -> None:
    try:
        urlsplit(url).port  # noqa: B018 - parsing happens on access
    except ValueError:
        raise ConfigurationError(
            "The PostgreSQL URL cannot be read; percent-encode special characters in the password."
        ) from None


@lru_cache(maxsize=2048)
def numbered(sql: str) -> str:
    """The statement for SQLite: `$1` becomes `?1`, outside of quotes and comments.

    sqlite3 binds a tuple to `$1` parameters in the order in which they appear, not by their numbers.
    """
    return _PARAMETER.sub(lambda found: f"?{found[1]}" if found[1] else found[0], sql)


@lru_cache(maxsize=256)
def with_keys(sql: str, first: int, count: int) -> str:
    """The statement with so many parameters in the place of `{keys}`, numbered from `first`."""
    return sql.replace("{keys}", ", ".join(f"${place}" for place in range(first, first + count)))


_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|\$(\d+)""")
