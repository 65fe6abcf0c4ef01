"""The frameworks, one row each: the same small app around Kavach in every one of them.

A test that asks for `framework` runs once per row. A new framework is a file like `app_starlette.py` and its row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.http import app_fastapi, app_litestar, app_plain, app_quart, app_starlette

MOUNT: Final = "/api/kavach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework. `build(get_kavach, guard=..., **options)` makes the app; options are those of the adapter."""

    name: str
    build: Callable[..., Any]


FRAMEWORKS: Final = (
    Framework(name="starlette", build=app_starlette.build),
    Framework(name="fastapi", build=app_fastapi.build),
    Framework(name="litestar", build=app_litestar.build),
    Framework(name="quart", build=app_quart.build),
    Framework(name="plain_asgi", build=app_plain.build),
)
