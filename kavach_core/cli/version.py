"""`kavach version`: what runs here, for reports."""

from __future__ import annotations

import platform
import sqlite3
from importlib import metadata

import typer


def version() -> None:
    """Print the versions of Kavach and of what it runs on."""
    typer.echo(f"kavach {_version_of('kavach-asgi')}")
    typer.echo(f"python {platform.python_version()}")
    typer.echo(f"sqlite {sqlite3.sqlite_version}")
    typer.echo(f"asyncpg {_version_of('asyncpg')}")


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"
