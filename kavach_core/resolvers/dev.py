"""A signed-in human for trying things out on one's own machine. Refuses to start anywhere else."""

from __future__ import annotations

from dataclasses import dataclass

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.capabilities.owners.model import require_owner_id
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError, InvalidInput


@dataclass(frozen=True)
class DevUser(ChecksConfig):
    """Takes every request without an `Authorization` header for one human."""

    user_id: str

    def check_config(self, config: Config) -> None:
        """Raises `ConfigurationError` unless `base_url` is unset or one on localhost."""
        if not config.is_local:
            raise ConfigurationError("dev_user signs everyone in: it works only without base_url or on localhost.")
        try:
            require_owner_id(self.user_id)
        except InvalidInput as error:
            raise ConfigurationError(f"dev_user: {error.message}") from None

    async def __call__(self, view: View) -> str | None:
        return None if view.all("authorization") else self.user_id


def dev_user(user_id: str) -> DevUser:
    """Use as `resolve_user=dev_user("alice")` while developing: whoever calls is this human."""
    return DevUser(user_id)
