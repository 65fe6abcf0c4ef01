"""Keep and load permission sets by digest. The cache is bounded in bytes; callers hold on to what they were given."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, cast

from kavach_core.primitives.permissions import PermissionSet
from kavach_core.store import Transaction

_KEEP = """
insert into kavach_permission_sets (project_id, digest, body) values ($1, $2, $3)
on conflict (project_id, digest) do nothing
"""
_LOAD = "select digest, body from kavach_permission_sets where project_id = $1 and digest = $2"

_CACHE_BYTES: Final = 64 * 1024 * 1024


class PermissionSets:
    """The sets of one project. One per Kavach; used from the threads of the store, hence the lock."""

    def __init__(self, project: str, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._project = project
        self._cache = _Cache(cache_bytes)

    async def keep(self, tx: Transaction, permissions: PermissionSet) -> bytes:
        """Store a set if it is new; returns its digest."""
        await tx.execute(_KEEP, self._project, permissions.digest, permissions.body)
        return permissions.digest

    async def load(self, tx: Transaction, digests: Iterable[bytes]) -> dict[bytes, PermissionSet]:
        """Return the sets by digest. A digest that is not stored is missing from the answer."""
        found, missing = self._cache.split(digests)
        if missing:
            rows = await tx.fetch_each(_LOAD, [(self._project, digest) for digest in missing])
            for row in rows:
                loaded = PermissionSet.from_body(cast(str, row[1]), cast(bytes, row[0]))
                found[loaded.digest] = loaded
                self._cache.put(loaded)
        return found


class _Cache:
    """Least recently used sets, by the bytes they hold."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._sets: OrderedDict[bytes, PermissionSet] = OrderedDict()
        self._lock = threading.Lock()

    def split(self, digests: Iterable[bytes]) -> tuple[dict[bytes, PermissionSet], list[bytes]]:
        """The sets that are here, and the digests of those that are not."""
        found: dict[bytes, PermissionSet] = {}
        missing: list[bytes] = []
        with self._lock:
            for digest in digests:
                held = self._sets.get(digest)
                if held is None:
                    missing.append(digest)
                else:
                    self._sets.move_to_end(digest)
                    found[digest] = held
        return found, missing

    def put(self, permissions: PermissionSet) -> None:
        with self._lock:
            if permissions.digest in self._sets:
                return
            self._sets[permissions.digest] = permissions
            self._held += permissions.size
            while self._held > self._most and len(self._sets) > 1:
                _, dropped = self._sets.popitem(last=False)
                self._held -= dropped.size
