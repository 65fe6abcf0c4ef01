"""A process that calls without a pause, whatever becomes of its database, and tells what it was told and when.

Moments are those of `time.monotonic`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from typing import Any, NamedTuple

from kavach_core import LazyKavach, lazy_kavach
from kavach_core.errors import StoreUnavailable
from kavach_core.store import postgres_driver
from kavach_core.testing import temporary_kavach
from tests.proofs.mortals import Mouth, Orders

_CALLERS = 4
_PAUSE = 0.01
#: Who the process is that may not write, where root runs the tests.
NOBODY = 65534


class Told(NamedTuple):
    """One call: when it began and was answered, and the audit id if it was allowed."""

    begin: float
    end: float
    allowed: bool
    audit_id: str | None


def work(mouth: Mouth, orders: Orders, database: str, variant: str, token: str, settings: dict[str, Any]) -> None:
    """Call until killed. Anything but an answer and `StoreUnavailable` ends the process."""
    if variant == "nobody" and os.geteuid() == 0:
        asyncio.run(_use_one())
        os.seteuid(NOBODY)
    if variant == "impatient":
        postgres_driver.COMMAND_TIMEOUT = 0.3  # type: ignore[misc]
    asyncio.run(_work(mouth, lazy_kavach(database=database, **settings), token, fails_open=variant == "open"))


async def _use_one() -> None:
    """Have everything imported, which nobody may not be allowed to read."""
    async with temporary_kavach() as kavach:
        await kavach.agents.list()


async def _work(mouth: Mouth, get_kavach: LazyKavach, token: str, *, fails_open: bool) -> None:
    async def call_on() -> None:
        while True:
            begin = time.monotonic()
            allowed, audit_id = await _call(get_kavach, token, fails_open)
            mouth.send(Told(begin, time.monotonic(), allowed, audit_id))
            await asyncio.sleep(_PAUSE)

    await asyncio.gather(*[call_on() for _ in range(_CALLERS)])


async def _call(get_kavach: LazyKavach, token: str, fails_open: bool) -> tuple[bool, str | None]:
    try:
        kavach = await get_kavach()
        decision = await kavach.authorize(token, action="read", resource="repos", cost=1)
    except StoreUnavailable:
        # What Kavach does not do: let a call pass when nobody can say whether it may.
        return fails_open, None
    return decision.allowed, decision.audit_id


def hold_lock(mouth: Mouth, orders: Orders, path: str) -> None:
    """Hold the lock of a SQLite file until told to let go."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("begin immediate")
    mouth.send(True)
    orders.recv()
    connection.execute("rollback")
    mouth.send(True)
