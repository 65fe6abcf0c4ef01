"""Where a request comes from: which page made a browser send it, and which address is at its other end."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from kavach_core.api.view import View
from kavach_core.capabilities.authorize import CallContext
from kavach_core.config import Config
from kavach_core.errors import OriginRefused
from kavach_core.primitives.permissions import find_address
from kavach_core.primitives.principal import HumanIdentity, Identity


def check_origin(view: View, identity: Identity, config: Config) -> None:
    """Refuse an unsafe request in a human's name that a foreign page could have made a browser send.

    A human who came by `Authorization` is exempt: no page can make a browser send that. Raises `OriginRefused`.
    """
    if not isinstance(identity, HumanIdentity) or identity.by_header or not view.is_unsafe:
        return
    origins = view.all("origin")
    if len(origins) == 1 and config.allows_origin(origins[0]):
        return
    if origins in ([], ["null"]) and view.all("sec-fetch-site") == ["same-origin"]:
        return
    raise OriginRefused("This must come from one of the app's own pages: its Origin is not in the list.")


def check_anonymous(view: View, config: Config) -> None:
    """Refuse an unsafe request for anyone that a foreign page made a browser send. Programs say nothing and pass.

    Raises `OriginRefused`.
    """
    origins, sites = view.all("origin"), view.all("sec-fetch-site")
    if not view.is_unsafe or (len(origins) == 1 and config.allows_origin(origins[0])):
        return
    if not origins and sites in ([], ["none"]):
        return
    if origins in ([], ["null"]) and sites == ["same-origin"]:
        return
    raise OriginRefused("This must come from one of the app's own pages: its Origin is not in the list.")


def is_browser(view: View) -> bool:
    """Whether a browser sent a request: only browsers tell its page's origin or site."""
    return bool(view.all("origin") or view.all("sec-fetch-site"))


def context_of(view: View, config: Config) -> CallContext:
    """Where a request came from, as decisions check and record it."""
    return CallContext(
        ip=client_address(view, config.trusted_proxies),
        user_agent=view.header("user-agent"),
        request_id=view.header("x-request-id") or view.header("traceparent"),
        over_http=True,
    )


def client_address(view: View, trusted: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """The address a request came from: the peer, or what trusted proxies say stood behind them."""
    address = find_address(view.peer)
    if not trusted:
        return None if address is None else str(address)
    forwarded = [part.strip() for line in view.all("x-forwarded-for") for part in line.split(",")]
    while address is not None and forwarded and any(address in network for network in trusted):
        address = find_address(forwarded.pop())
    return None if address is None else str(address)
