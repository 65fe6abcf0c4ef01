"""What Litestar's router makes of a path next to a mounted app, which the guard around it has to know."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.routes import ASGIRoute, BaseRoute
from litestar.utils import normalize_path


class Mounts:
    """Reads `/filesx` as `x` under `/files` if an app is mounted there, since Litestar only looks how a path begins.

    A route for exactly that path comes before the mount. Each of them is received when it is registered.
    """

    def __init__(self) -> None:
        self._mounts: set[str] = set()
        self._plain: set[str] = set()

    def receive(self, route: BaseRoute) -> None:
        """Take note of a route."""
        if isinstance(route, ASGIRoute) and route.route_handler.is_mount:
            self._mounts.add(route.path)
        elif not route.path_parameters:
            self._plain.add(route.path)

    def also_reads(self, path: str) -> Iterable[str]:
        """Give the paths below a mount that this one is to the router, beside those that it is to everyone."""
        normal = normalize_path(path)
        if normal not in self._plain:
            for mount in self._mounts:
                rest = normal[len(mount) :]
                if normal.startswith(mount) and not rest.startswith("/") and rest:
                    yield f"{mount}/{rest}"
