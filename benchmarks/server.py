"""One app under uvicorn: `python -m benchmarks.server APP --framework NAME --database URL`.

It prints the port it listens on, on loopback, and serves until it is told to end. Requests that come before the app has
started wait for it.
"""

from __future__ import annotations

import argparse
import importlib
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from benchmarks.guarded_apps import FRAMEWORKS, Framework
from kavach_core import lazy_kavach

#: Connections that may wait to be accepted.
_BACKLOG: Final = 2048


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("app", choices=sorted(_APPS))
    parser.add_argument("--framework", default="fastapi", choices=[framework.name for framework in FRAMEWORKS])
    parser.add_argument("--database", default="")
    parser.add_argument("--http", default="auto")
    parser.add_argument("--loop", default="auto")
    chosen = parser.parse_args()
    framework = next(framework for framework in FRAMEWORKS if framework.name == chosen.framework)
    app = _APPS[chosen.app](framework, chosen.database)
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it each answer would wait 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(_BACKLOG)
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(app, http=chosen.http, loop=chosen.loop, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


def _bare(framework: Framework, database: str) -> Any:
    return framework.bare()


def _kavach(framework: Framework, database: str) -> Any:
    return framework.mounted(lazy_kavach(database=database), guarded=False)


def _fastapi_users(framework: Framework, database: str) -> Any:
    # From the extra `bench`, which the other apps do without.
    return importlib.import_module("benchmarks.users_app").build(database)


_APPS: Final[dict[str, Callable[[Framework, str], Any]]] = {
    "bare": _bare,
    "kavach": _kavach,
    "fastapi_users": _fastapi_users,
}

if __name__ == "__main__":
    main()
