"""What an app plugs into a mount: the factory of its Kavach, its own auth, and what its humans may give to agents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.kavach import Kavach
from kavach_core.primitives.permissions import PermissionLike


class GetKavach(Protocol):
    """What an adapter is given: a `LazyKavach`, or a test's own."""

    @property
    def config(self) -> Config:
        """The settings, known before anything is opened."""
        ...

    async def __call__(self) -> Kavach:
        """The open Kavach of this process and loop."""
        ...

    async def close(self) -> None:
        """Close what this loop opened."""
        ...


#: Names the human behind a request by whatever auth the app has, or nobody.
ResolveUser = Callable[[View], Awaitable[str | None]]
#: The most a human may give to an agent over HTTP: permissions, or a function of the owner id.
Grantable = Sequence[PermissionLike] | Callable[[str], Awaitable[Sequence[PermissionLike]]]
#: Whom to ask first where no `Authorization` header speaks: the app's auth or Kavach's own session cookie.
HumansFrom = Literal["app", "session"]


class ChecksConfig(ABC):
    """A resolver that refuses to start under some settings."""

    @abstractmethod
    def check_config(self, config: Config) -> None:
        """Raises `ConfigurationError` if this resolver must not be used with these settings."""

    @abstractmethod
    async def __call__(self, view: View) -> str | None:
        """Name the human behind a request, or nobody."""
