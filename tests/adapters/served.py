"""The test app of one framework as a server loads it, noting in a file what each process opens and closes."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from kavach_core import Config, Kavach, LazyKavach
from kavach_core.config import load_config
from kavach_core.kavach import open_kavach

_notes = Path(os.environ["SERVED_NOTES"])


def note(what: str) -> None:
    with _notes.open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


class Noted(LazyKavach):
    """A factory that tells when it opens, and when it has closed what it opened."""

    async def close(self) -> None:
        was_open = bool(self._current_slots())
        await super().close()
        if was_open:
            note("closed")


async def _open(config: Config) -> Kavach:
    note("opened")
    return await open_kavach(config)


note("imported")
app: Any = import_module(f"tests.http.app_{os.environ['SERVED_FRAMEWORK']}").build(
    Noted(load_config(), _open), recheck=0.2, guard={"protect": ["/dashboard/:path*"]}
)
