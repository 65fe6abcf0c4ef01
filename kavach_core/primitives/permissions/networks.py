"""Client addresses and the networks they may come from. An IPv4-mapped IPv6 address is the IPv4 address it maps."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias, TypeGuard

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.checks import check_list

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_NETWORKS = 100

_MAPPED_BITS = 96


def find_address(value: object) -> Address | None:
    """Return the address in a text or address object, or None where there is none to be read."""
    if isinstance(value, str):
        return _parse_address(value)
    if isinstance(value, IPv6Address):
        return value.ipv4_mapped or value
    return value if isinstance(value, IPv4Address) else None


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> Address | None:
    """An address as text; remembered, because one call asks several times about the same."""
    try:
        return find_address(ip_address(text))
    except ValueError:
        return None


def check_networks(value: object, field: str) -> tuple[Network, ...]:
    """Return a list of networks and addresses, sorted and unique with host bits cleared, or raise InvalidInput."""
    networks = {_check_network(member, field) for member in check_list(value, field, longest=MAX_NETWORKS)}
    return tuple(sorted(networks, key=network_text))


def network_text(network: Network) -> str:
    """Write a network as people do: a single address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def network_covers(one: Network, other: Network) -> bool:
    """Tell whether every address of `other` is in `one`."""
    if _is_v4(one) and _is_v4(other):
        return other.subnet_of(one)
    return _is_v6(one) and _is_v6(other) and other.subnet_of(one)


def networks_meet(ours: tuple[Network, ...], theirs: tuple[Network, ...]) -> tuple[Network, ...]:
    """Give the networks of exactly the addresses that are in both lists."""
    # Two networks are nested or apart, so what they share is the smaller one.
    shared = {
        mine if network_covers(other, mine) else other
        for mine in ours
        for other in theirs
        if network_covers(other, mine) or network_covers(mine, other)
    }
    return tuple(sorted(shared, key=network_text))


def _check_network(value: object, field: str) -> Network:
    if isinstance(value, (IPv4Network, IPv6Network, IPv4Address, IPv6Address)):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidInput("A network is text: an address, or an address and a length.", field=field)
    _, slash, length = value.partition("/")
    # The standard library also takes netmasks, host masks and zones here, which are too easily misread.
    if "%" in value or (slash and not (length.isascii() and length.isdigit())):
        raise InvalidInput("A network is an address, or an address and a length: 10.0.0.0/8.", field=field)
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise InvalidInput("This is not an IPv4 or IPv6 network.", field=field) from None
    return _unmapped(network)


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _is_v4(network: Network) -> TypeGuard[IPv4Network]:
    return isinstance(network, IPv4Network)


def _is_v6(network: Network) -> TypeGuard[IPv6Network]:
    return isinstance(network, IPv6Network)
