"""All a service may ask of the world: the store, whose `tx.now` is the time, and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from kavach_core.config import Config
from kavach_core.store import Store


@dataclass(frozen=True, slots=True)
class Runtime:
    """Handed to every service in place of the whole Kavach."""

    store: Store
    config: Config

    @property
    def project(self) -> str:
        """The project that every statement carries."""
        return self.config.project
