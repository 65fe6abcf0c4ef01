"""The static files of the pages, read from the package, each with the version that its content gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

#: Spelled out: what a registry of types says differs between machines, and a module of another type is not run.
_TYPES: Final = {
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".ts": b"text/plain; charset=utf-8",
}
#: Longest part of a hash that a URL needs.
_VERSION_LENGTH: Final = 16

NAMES: Final = (
    "client.js",
    "client.d.ts",
    "react.js",
    "react.d.ts",
    "dom.js",
    "sign-in.js",
    "account.js",
    "agents.js",
    "approvals.js",
    "arguments.js",
    "budgets.js",
    "recover.js",
    "verify-email.js",
    "style.css",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file."""

    name: str
    content_type: bytes
    body: bytes = field(repr=False)
    #: Changes with the content: under this version it may be kept for ever.
    version: str

    @property
    def url(self) -> str:
        """Where it is, relative to the mount, as a page names it."""
        return f"{self.name}?v={self.version}"

    @property
    def etag(self) -> str:
        """The strong validator (RFC 9110, section 8.8.3)."""
        return f'"{self.version}"'


@cache
def assets() -> Mapping[str, Asset]:
    """Every asset by its name; read once."""
    return MappingProxyType({name: _read(name) for name in NAMES})


def _read(name: str) -> Asset:
    body = (files(__package__ or "") / "assets" / name).read_bytes()
    return Asset(
        name=name,
        content_type=_TYPES[PurePosixPath(name).suffix],
        body=body,
        version=hashlib.sha256(body).hexdigest()[:_VERSION_LENGTH],
    )
