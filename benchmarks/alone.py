"""How long one caller alone waits, on SQLite, next to one bare durable commit of a single row.

Contenders take turns call by call: what is compared is mostly the disk, and that changes from one second to the next.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from benchmarks.databases import Backend, Opened, opened, sqlite
from benchmarks.load import Sample
from benchmarks.machine import client_cpu
from benchmarks.report import Goal, Row, print_goals, print_rows, say
from benchmarks.turns import Calls, Plain, Variant, row_of
from benchmarks.variants import Direct, batched
from benchmarks.world import AGENTS, PROJECT, Shape, settle
from kavach_core.capabilities.audit.model import Record
from kavach_core.store import Transaction
from kavach_core.store.sqlite_thread import Link

_CHAINS: Final = (0, 3)
#: The p50 of a decision by that of a bare commit.
_TIMES: Final = 1.6
_BUSY_TIMEOUT: Final = 5.0
#: More than the log holds before it begins anew.
_PAGES: Final = 10_000

#: Seconds.
_QUICK, _FULL = 8.0, 30.0

_BARE: Final = "bare commit"
_TABLE: Final = "create table bare (id blob primary key, body blob not null) strict"
_FILL: Final = """
insert into bare (id, body)
with recursive pages (number) as (select 1 union all select number + 1 from pages where number < $1)
select randomblob(16), zeroblob(4000) from pages
"""
_INSERT: Final = "insert into bare (id, body) values ($1, $2)"


async def run(quick: bool) -> Sequence[Row]:
    """Measure, print the table and the targets, return the rows."""
    async with sqlite() as backend:
        say(f"{backend.version}: {backend.durability}")
        rows = await measure(backend, _QUICK if quick else _FULL)
    print_goals([*goals_of(rows)])
    return rows


async def measure(backend: Backend, seconds: float, agents: int = AGENTS, pages: int = _PAGES) -> list[Row]:
    """Measure one database and print its table."""
    async with opened(backend, "decisions") as place, _inline_connection(backend, pages) as connection:
        acting = {chain: await settle(place.store, Shape(chain=chain, agents=agents)) for chain in _CHAINS}
        await place.store.transact(_prepare, pages)
        variant = batched(place.store, place.config, "authorize")
        row = bytes(await _audit_row_size(place, variant, acting[0][0]))
        variants: tuple[tuple[Variant, int], ...] = (
            (Plain(_BARE, lambda _: place.store.transact(_insert, row)), 0),
            (Plain("bare commit, inline", partial(_insert_inline, connection, row)), 0),
            *((variant, chain) for chain in acting),
        )
        contenders = [Calls(each, acting[chain], backend, concurrency=1, chain=chain) for each, chain in variants]
        rows = await _take_turns(contenders, seconds)
    print_rows(f"alone on {backend.version}, and a row of {len(row)} bytes", rows)
    return rows


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The target for each chain."""
    bare = next(row for row in rows if row.variant == _BARE)
    for row in rows:
        if row.variant == "authorize":
            what = f"{row.backend}, alone, chain {row.chain}: p50 by that of a bare commit"
            yield Goal(what, row.p50_ms / bare.p50_ms, _TIMES)


async def _take_turns(contenders: Sequence[Calls], seconds: float) -> list[Row]:
    samples = [Sample() for _ in contenders]
    choose = random.Random(1).choice
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for contender, sample in zip(contenders, samples, strict=True):
            token = choose(contender.tokens)
            cpu, start = client_cpu(), time.perf_counter()
            await contender.variant(token)
            took = time.perf_counter() - start
            sample.client_cpu += client_cpu() - cpu
            sample.seconds += took
            sample.latencies.append(took)
    rows: list[Row] = []
    for contender, sample in zip(contenders, samples, strict=True):
        rows.append(row_of("alone", contender, sample, rows[0] if rows else None))
    return rows


async def _audit_row_size(place: Opened, variant: Direct, token: str) -> int:
    """Bytes in the row that a decision leaves."""
    await variant(token)
    columns = " + ".join(f"coalesce(length(cast({name} as blob)), 0)" for name in Record._fields)
    return await place.store.read(_ask_size, f"select {columns} from kavach_audit where project_id = $1")


async def _ask_size(tx: Transaction, sql: str) -> int:
    row = await tx.fetch_one(sql, PROJECT)
    if row is None or not isinstance(row[0], int):
        raise RuntimeError("a decision left no row")
    return row[0]


async def _prepare(tx: Transaction, pages: int) -> None:
    """Make the table, and the log as long as it gets: to write over what is there is cheaper than to append."""
    await tx.execute(_TABLE)
    await tx.execute(_FILL, pages)


async def _insert(tx: Transaction, row: bytes) -> None:
    await tx.execute(_INSERT, tx.new_id(), row)


@asynccontextmanager
async def _inline_connection(backend: Backend, pages: int) -> AsyncGenerator[sqlite3.Connection]:
    """A connection with the settings of the store's own, to a file of its own, used in the thread of the event loop."""
    async with opened(backend, "inline") as inline:
        await inline.store.transact(_prepare, pages)
    path = inline.config.database.removeprefix("sqlite:///")
    link = Link(path, busy_timeout=_BUSY_TIMEOUT, read_only=False)
    try:
        yield link.connection()
    finally:
        link.close()


async def _insert_inline(connection: sqlite3.Connection, row: bytes, token: str) -> None:
    connection.execute("begin immediate")
    connection.execute(_INLINE, (row,))
    connection.execute("commit")


_INLINE: Final = "insert into bare (id, body) values (randomblob(16), ?1)"
