"""Statements about counters. A counter is locked while it is read, in key order, and written back once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from kavach_core.capabilities.limits.model import Window
from kavach_core.store import Transaction

_LOCK = """
insert into kavach_counters (project_id, key, counts, touched_at) values ($1, $2, '', $3)
on conflict (project_id, key) do update set counts = kavach_counters.counts
returning key, counts
"""
_WRITE = "update kavach_counters set counts = $3 where project_id = $1 and key = $2"
# There is an index on it, so it is written once a minute and not with every count.
_TOUCH = "update kavach_counters set counts = $3, touched_at = $4 where project_id = $1 and key = $2"
_FIND = "select counts from kavach_counters where project_id = $1 and key = $2"
_FORGET_SOME = """
delete from kavach_counters where project_id = $1 and key in (
    select key from kavach_counters where project_id = $1 and touched_at < $2 order by touched_at limit $3{lock})
"""
_PRUNE = "delete from kavach_counters where project_id = $1 and touched_at < $2"


async def lock(tx: Transaction, project: str, keys: Iterable[bytes]) -> dict[bytes, Window]:
    """Return the window of each key, made if new, and hold the rows until the commit.

    The keys are locked in ascending order, so that two such transactions cannot wait for each other.
    """
    now = tx.now
    rows = await tx.fetch_each(_LOCK, [(project, key, now) for key in sorted(set(keys))])
    return {cast(bytes, key): Window(cast(str, counts), now) for key, counts in rows}


async def write(tx: Transaction, project: str, windows: Mapping[bytes, Window]) -> None:
    """Write back windows that were locked in this transaction."""
    touched = {key for key, window in windows.items() if window.has_begun_minute}
    counted = windows.keys() - touched
    if counted:
        await tx.execute_each(_WRITE, [(project, key, windows[key].text) for key in sorted(counted)])
    if touched:
        await tx.execute_each(_TOUCH, [(project, key, windows[key].text, tx.now) for key in sorted(touched)])


async def find(tx: Transaction, project: str, key: bytes) -> Window:
    """Return the window of a key without locking; an empty one if it was never counted."""
    row = await tx.fetch_one(_FIND, project, key)
    return Window("" if row is None else cast(str, row[0]), tx.now)


async def forget_some(tx: Transaction, project: str, before: int, most: int) -> None:
    """Delete a few counters that nobody touched since. It waits for nobody: who holds one is about to touch it."""
    lock = " for update skip locked" if tx.dialect == "postgres" else ""
    await tx.execute(_FORGET_SOME.format(lock=lock), project, before, most)


async def prune(tx: Transaction, project: str, before: int) -> int:
    """Delete counters that nobody counted in since, but for a minute; returns how many."""
    return await tx.execute(_PRUNE, project, before)
