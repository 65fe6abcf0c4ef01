"""What Litestar's router makes of a path next to a mounted app, which the guard around it has to know."""

from __future__ import annotations

from collections.abc import Iterable

from litestar import Litestar
from litestar.routes import ASGIRoute, BaseRoute
from litestar.utils import normalize_path

from kavach_adapters._asgi import innermost


class Mounts:
    """Reads `/filesx` as `x` under `/files` if an app is mounted there, since Litestar only looks how a path begins.

    A route for exactly that path comes before the mount. Each of them is received when it is registered; those of a
    Litestar that is mounted are looked up in it.
    """

    def __init__(self) -> None:
        self._mounts: dict[str, Mounts] = {}
        self._plain: set[str] = set()

    def receive(self, *routes: BaseRoute) -> None:
        """Take note of routes."""
        for route in routes:
            if isinstance(route, ASGIRoute) and route.route_handler.is_mount:
                mounted = innermost(route.route_handler.fn, Litestar)
                below = self._mounts[route.path] = Mounts()
                below.receive(*(() if mounted is None else mounted.routes))
            elif not route.path_parameters:
                self._plain.add(route.path)

    def also_reads(self, path: str, root_path: str) -> Iterable[str]:
        """Give the paths below a mount that this one is to the router, beside those that it is to everyone.

        What is mounted is told the root path too, and may look for it in what is left of the path.
        """
        normal = normalize_path(path)
        if normal in self._plain:
            return
        for mount, mounted in self._mounts.items():
            if normal.startswith(mount):
                # What is mounted gets a slash at the end.
                place, rest = mount.rstrip("/"), f"{normal[len(mount) :]}/"
                if place and not rest.startswith("/"):
                    yield f"{place}/{rest}"
                if root_path.strip("/") and root_path in rest:
                    yield normalize_path(f"{place}/{rest.partition(root_path)[2]}")
                for read in mounted.also_reads(rest, root_path):
                    yield normalize_path(f"{place}/{read}")
