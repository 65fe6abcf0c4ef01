"""What each connection is told: durable by default, planned once for lanes, nothing prepared behind PgBouncer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kavach_core.store import Transaction
from tests.store.conftest import OpenStore


async def test_sqlite_is_durable_by_default(opened: OpenStore, sqlite_database: str) -> None:
    async def look(tx: Transaction) -> list[object]:
        rows = [await tx.fetch_one(f"pragma {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]
        return [row[0] for row in rows if row is not None]

    store = await opened(sqlite_database)
    assert await store.transact(look) == ["wal", 2, 1]


class Look:
    """Answers each question with what a setting is in the lane's session."""

    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[object]:
        rows = await tx.fetch_each("select current_setting($1)", [(question,) for question in questions])
        return [row[0] for row in rows]

    def committed(self) -> None: ...

    def lost(self) -> None: ...


@pytest.mark.parametrize("pgbouncer", [False, True])
async def test_a_lane_on_postgresql_never_plans_for_one_value(
    opened: OpenStore, postgres_database: str, pgbouncer: bool
) -> None:
    store = await opened(postgres_database, pgbouncer=pgbouncer)
    lane = store.lane(Look())
    settings = ("plan_cache_mode", "jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin")
    assert [await lane.submit(name) for name in settings] == ["force_generic_plan", "off", "off", "off", "off"]
    assert await lane.submit("transaction_isolation") == "read committed"


@pytest.mark.parametrize(("pgbouncer", "kept"), [(False, True), (True, False)])
async def test_nothing_stays_prepared_behind_pgbouncer(
    opened: OpenStore, postgres_database: str, pgbouncer: bool, kept: bool
) -> None:
    async def prepared(tx: Transaction) -> bool:
        await tx.fetch("select cast($1 as text)", "x")
        return bool(await tx.fetch("select name from pg_prepared_statements where statement like '%as text)'"))

    store = await opened(postgres_database, pgbouncer=pgbouncer)
    assert await store.transact(prepared) is kept
    lane = store.lane(Look())
    assert await lane.submit("jit") == "off"
