"""Where a request comes from: which page made a browser send it, and which address is at its other end."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from kavach_core.api.view import View
from kavach_core.capabilities.authorize import CallContext
from kavach_core.config import LOCAL_HOSTS, Config
from kavach_core.errors import OriginRefused
from kavach_core.primitives.permissions import find_address
from kavach_core.primitives.principal import HumanIdentity, Identity


def check_origin(view: View, identity: Identity, config: Config) -> None:
    """Refuse an unsafe request in a human's name that a foreign page could have made a browser send.

    A human who came by `Authorization` is exempt: no page can make a browser send that. So is a program that keeps
    cookies and sends JSON. Raises `OriginRefused`.
    """
    if not isinstance(identity, HumanIdentity) or identity.by_header or not view.is_unsafe:
        return
    if not (_is_of_own_page(view, config) or _is_json_of_a_program(view)):
        raise _refused(view, config)


def check_anonymous(view: View, config: Config) -> None:
    """Refuse an unsafe request for anyone that a foreign page made a browser send. Programs say nothing and pass.

    Raises `OriginRefused`.
    """
    says_nothing = not view.all("origin") and view.all("sec-fetch-site") in ([], ["none"])
    if view.is_unsafe and not says_nothing and not _is_of_own_page(view, config):
        raise _refused(view, config)


def is_browser(view: View) -> bool:
    """Whether a browser sent a request: only browsers tell its page's origin or site."""
    return bool(view.all("origin") or view.all("sec-fetch-site"))


def _is_of_own_page(view: View, config: Config) -> bool:
    origins = view.all("origin")
    if len(origins) == 1 and config.allows_origin(origins[0]):
        return True
    return origins in ([], ["null"]) and view.all("sec-fetch-site") == ["same-origin"]


def _is_json_of_a_program(view: View) -> bool:
    """Whether no browser can have sent this for a page of another site.

    Such a page may send JSON only after a preflight, and every browser names the page's origin with what follows.
    """
    if view.is_websocket or view.all("origin") or any(name.startswith(b"sec-fetch-") for name, _ in view.headers):
        return False
    types = view.all("content-type")
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == "application/json"


def _refused(view: View, config: Config) -> OriginRefused:
    """The error for a page that may not; one on this machine that was opened by its address is told the name."""
    if config.base_url is not None and config.is_local and any(map(_is_on_this_machine, view.all("origin"))):
        return OriginRefused(
            f"Open this page as {config.base_url}: by another name of this machine its Origin differs."
        )
    return OriginRefused("This must come from one of the app's own pages: its Origin is not in the list.")


def _is_on_this_machine(origin: str) -> bool:
    try:
        return urlsplit(origin).hostname in LOCAL_HOSTS
    except ValueError:
        return False


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
