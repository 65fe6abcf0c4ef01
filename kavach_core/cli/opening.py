"""Open the Kavach that the options name, do one thing with it, and close it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from kavach_core.config import Config
    from kavach_core.kavach import Kavach

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """Which Kavach: what the options said; what they did not comes from the environment."""

    database: str | None
    project: str
    pgbouncer: bool = False

    def config(self, *, skip_migrations: bool = True) -> Config:
        """The checked settings. Raises `ConfigurationError`."""
        from kavach_core.config import load_config

        return load_config(
            database=self.database,
            project=self.project,
            pgbouncer=self.pgbouncer,
            skip_migrations=skip_migrations,
        )

    def run(self, work: Callable[[Kavach], Awaitable[T]], *, migrating: bool = False) -> T:
        """Do the work on the open Kavach and return its result.

        Only with `migrating` a database is made or brought up to date, so that a mistyped name makes no file. Raises
        what the work raises, `ConfigurationError` (`SchemaMissing` among them) and `StoreUnavailable`.
        """
        return asyncio.run(_run(self.config(skip_migrations=not migrating), work))


async def _run(config: Config, work: Callable[[Kavach], Awaitable[T]]) -> T:
    from kavach_core.kavach import open_kavach

    async with await open_kavach(config) as kavach:
        return await work(kavach)
