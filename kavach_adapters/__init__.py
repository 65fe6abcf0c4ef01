"""Kavach in web frameworks. Importing this imports none of them; each function does when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kavach_adapters.fastapi import kavach_fastapi
    from kavach_adapters.litestar import kavach_litestar
    from kavach_adapters.quart import kavach_quart
    from kavach_adapters.starlette import kavach_starlette

__all__ = ["kavach_fastapi", "kavach_litestar", "kavach_quart", "kavach_starlette"]

_HOMES: Final = {
    "kavach_fastapi": "fastapi",
    "kavach_litestar": "litestar",
    "kavach_quart": "quart",
    "kavach_starlette": "starlette",
}


def __getattr__(name: str) -> Any:
    """Import the adapter a name lives in (PEP 562). Raises `ImportError` naming the extra that is missing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"kavach_adapters.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == home:
            raise ImportError(f"{name} needs {home}: pip install 'kavach-asgi[{home}]'") from error
        raise
