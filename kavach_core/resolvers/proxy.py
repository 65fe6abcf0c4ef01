"""Humans by a header that a proxy in front of the app sets, believed from the proxies that are named alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from kavach_core.api.hooks import ChecksConfig
from kavach_core.api.view import View
from kavach_core.config import Config
from kavach_core.errors import ConfigurationError
from kavach_core.primitives.permissions import find_address
from kavach_core.resolvers.checks import require, text, texts
from kavach_core.resolvers.on_sign_in import SignInHook, with_hook

#: Headers that mean something else, or that the guard takes away.
_TAKEN: Final = frozenset({"authorization", "cookie", "host", "x-user-id"})
_TAKEN_PREFIX: Final = "x-kavach-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyUser(ChecksConfig):
    """Takes the one value of a header for a user id, where the connection comes from a known proxy."""

    header: str
    proxies: tuple[IPv4Network | IPv6Network, ...]

    def check_config(self, config: Config) -> None:
        """Nothing in Kavach's settings speaks against it."""

    async def __call__(self, view: View) -> str | None:
        # A bearer token decides alone, and this is none.
        if view.all("authorization") or not self._is_proxy(view.peer):
            return None
        values = view.all(self.header)
        return _user(values[0]) if len(values) == 1 else None

    def _is_proxy(self, peer: str | None) -> bool:
        address = find_address(peer)
        return address is not None and any(address in network for network in self.proxies)


def proxy_header(name: str, *, proxies: Sequence[str], on_sign_in: SignInHook | None = None) -> ChecksConfig:
    """Use as `resolve_user=proxy_header("x-forwarded-user", proxies=["10.0.0.0/8"])` behind a proxy with a sign-in.

    The proxy must remove this header from what it receives. The peer that counts is the one the server sees, so the
    server must not rewrite it (uvicorn: `--no-proxy-headers`). `on_sign_in` is called at the first sight of each user.

    Raises `ConfigurationError` without proxies, or for a header that has another meaning.
    """
    header = text(name, "name").strip().lower()
    require(
        header.isascii() and header.replace("-", "").isalnum(), "The header's name has letters, digits and hyphens."
    )
    require(header not in _TAKEN and not header.startswith(_TAKEN_PREFIX), f"{header} cannot carry a user.")
    networks = tuple(map(_network, texts(proxies, "proxies")))
    v4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    v6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    # Together, because 0.0.0.0/1 and 128.0.0.0/1 leave nobody out.
    lengths = [network.prefixlen for network in v4] + [network.prefixlen for network in v6]
    require(min(lengths) > 0, "proxies cannot be the whole internet.")
    return with_hook(ProxyUser(header=header, proxies=networks), on_sign_in)


def _network(written: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(written)
    except ValueError:
        raise ConfigurationError(f"proxies holds networks such as 10.0.0.0/8, not {written!r}.") from None


def _user(value: str) -> str | None:
    """The value as text. With a comma it may be two that were joined on the way, one of them a stranger's."""
    try:
        user = value.encode("latin-1").decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return user if user and "," not in user else None
