"""Read the record: query, count, export, trace; and prune it. None of this stops decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Literal, TypedDict, TypeVar, Unpack

from kavach_core.capabilities.audit import export, queries
from kavach_core.capabilities.audit.model import AuditEntry, AuditFilter, Result
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import InvalidInput, NotFound
from kavach_core.primitives import clock, ids
from kavach_core.primitives.choice import one_of
from kavach_core.primitives.page import Page, PageRequest
from kavach_core.primitives.text import require_clean
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction

#: How a later room tells which agents stand on the line of one: those above it, itself, and all below.
LineOf = Callable[[Transaction, str, bytes], Awaitable[Sequence[bytes]]]
ExportFormat = Literal["json", "csv"]

T = TypeVar("T")
U = TypeVar("U")

_FIRST: Final = bytes(16)
_LAST: Final = b"\xff" * 16
#: Entries per piece of an export. Writing one out holds up the event loop for a millisecond or two, and no longer.
_CHUNK: Final = 50
#: Decisions come before an export: between two pieces it rests so many times as long as it took to read the last one,
#: which is longer the more there is to do. So 64 callers on SQLite keep two thirds of their throughput, not one.
_REST: Final = 1
_PRUNE_CHUNK: Final = 1000
_LONGEST_LINE: Final = 5000
_MOST_ACTIONS: Final = 50


class Wanted(TypedDict, total=False):
    """Which entries; every part that is given and not None must hold. Both ends of a time span are included."""

    agent_id: str | None
    #: The owner, now, of the agents that acted.
    owner_id: str | None
    since: datetime | None
    until: datetime | None
    actions: Sequence[str]
    result: Result | str | None
    #: Only entries older than this id.
    before: str | None


class Audit:
    """The record of every decision about a known agent."""

    def __init__(self, runtime: Runtime, sets: PermissionSets, *, line_of: LineOf) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._sets = sets
        self._line_of = line_of

    async def query(self, *, limit: int = 100, offset: int = 0, **wanted: Unpack[Wanted]) -> Page[AuditEntry]:
        """Return matching entries, newest first, with the total up to 10,000.

        Page with `before=` the last id seen: such pages do not shift when rows are added. `owner_id` finds the entries
        of all agents the owner has now. Raises `InvalidInput` for a value outside its bounds.
        """
        page = PageRequest(limit=limit, offset=offset)
        return await self._store.read(self._page, make_filter(**wanted), page)

    async def count(self, **wanted: Unpack[Wanted]) -> int:
        """Return how many entries match the filters of `query`: exactly up to 10,000, and 10,001 for any more."""
        return await self._store.read(queries.count, self._project, make_filter(**wanted))

    async def trace(self, agent_id: str, *, after: str | None = None, limit: int = 1000) -> list[AuditEntry]:
        """Return the calls of a whole chain, oldest first: of the agents above this one, of itself, and of all below.

        The order is exact per writer and causal along the chain. Page with `after=` the last id seen.
        """
        PageRequest(limit=limit)
        start = _FIRST if after is None else ids.AUDIT.mark(after, field="after")
        return await self._store.read(self._trace, ids.AGENT.raw(agent_id), start, limit)

    async def export(self, *, format: ExportFormat = "json", **wanted: Unpack[Wanted]) -> AsyncIterator[str]:
        """Yield the whole record that matches, oldest first, in pieces of bounded size.

        It is complete up to the entry that was the newest when the export began. CSV follows RFC 4180 and is safe to
        open in a spreadsheet; JSON is one array.
        """
        if format not in ("json", "csv"):
            raise InvalidInput("format is json or csv.", field="format")
        matching = make_filter(**wanted)
        last = await self._store.read(queries.newest_id, self._project)
        yield "[" if format == "json" else export.csv_header()
        first = True
        async for entries in self._chunks(matching, last):
            if format == "csv":
                yield export.to_csv(entries)
            else:
                yield ("\n" if first else ",\n") + export.to_json(entries)
            first = False
        if format == "json":
            yield "]\n"

    async def prune(self, *, before: datetime) -> int:
        """Delete entries older than `before`, in small transactions; returns how many.

        The only way a row ever leaves the record, and never done by itself.
        """
        bound = ids.earliest(clock.to_micros(before, field="before"))
        deleted = 0
        while True:
            chunk = await self._store.transact(queries.prune, self._project, bound, _PRUNE_CHUNK)
            deleted += chunk
            if chunk < _PRUNE_CHUNK:
                return deleted

    async def _page(self, tx: Transaction, wanted: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        rows = await queries.newest_first(tx, self._project, self._sets, wanted, page.limit, page.offset)
        return Page(rows, await queries.count(tx, self._project, wanted))

    async def _trace(self, tx: Transaction, agent_id: bytes, start: bytes, limit: int) -> list[AuditEntry]:
        line = await self._line_of(tx, self._project, agent_id)
        if not line:
            raise NotFound("There is no such agent.")
        if len(line) > _LONGEST_LINE:
            raise InvalidInput(f"More than {_LONGEST_LINE} agents stand on this line; trace one further down.")
        wanted = AuditFilter(agents=line)
        return await queries.oldest_first(tx, self._project, self._sets, wanted, start, _LAST, limit)

    async def _chunks(self, wanted: AuditFilter, last: bytes | None) -> AsyncIterator[list[AuditEntry]]:
        after = _FIRST
        while last is not None:
            began = time.monotonic()
            entries = await self._store.read(
                queries.oldest_first, self._project, self._sets, wanted, after, last, _CHUNK
            )
            took = time.monotonic() - began
            if entries:
                yield entries
                after = ids.AUDIT.raw(entries[-1].id)
            if len(entries) < _CHUNK:
                return
            await asyncio.sleep(_REST * took)


def make_filter(**wanted: Unpack[Wanted]) -> AuditFilter:
    """Check the parts of a filter. A value outside its enumeration is refused, since ignoring it would widen."""
    actions = wanted.get("actions", ())
    if not isinstance(actions, list | tuple):  # a text would be taken for its letters, and match nothing
        raise InvalidInput("Actions are a list.", field="actions")
    if len(actions) > _MOST_ACTIONS:
        raise InvalidInput(f"At most {_MOST_ACTIONS} actions.", field="actions")
    return AuditFilter(
        agent_id=_optional(wanted.get("agent_id"), lambda text: ids.AGENT.raw(text, field="agentId")),
        owner_id=_optional(wanted.get("owner_id"), lambda text: require_clean(text, field="userId")),
        since=_optional(wanted.get("since"), lambda moment: clock.to_micros(moment, field="since")),
        until=_optional(wanted.get("until"), lambda moment: clock.to_micros(moment, field="until")),
        actions=tuple(require_clean(action, field="actions") for action in actions),
        result=_optional(wanted.get("result"), lambda text: one_of(Result, text, "result")),
        before=_optional(wanted.get("before"), lambda text: ids.AUDIT.mark(text, field="before")),
    )


def _optional(value: T | None, convert: Callable[[T], U]) -> U | None:
    return None if value is None else convert(value)
