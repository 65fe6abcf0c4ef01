"""Rows as an earlier release left them: written by this one, and copied into the tables and columns that were there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from kavach_core import Kavach
from kavach_core.errors import KavachError
from kavach_core.store import postgres_driver
from tests.capabilities.support import ask, limited, make_agent
from tests.proofs.records import all_rows, lost

_COLUMNS = """
select table_name, string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns
where table_schema = 'public' and table_name like 'kavach_%' group by table_name
"""


class Heirlooms(NamedTuple):
    """The tokens of agents in every state, and what else came down."""

    root: str
    child: str
    revoked: str
    rotated: str
    suspended: str
    root_id: str
    session: str
    key: str
    #: The codes on record by audit id.
    record: dict[str, str]


async def make_heirlooms(kavach: Kavach) -> Heirlooms:
    """Things that every release knows, each used once."""
    root = await make_agent(kavach, "read:repos", limited("mail", "send", maxCallsPerHour=1))
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    revoked, rotated = await make_agent(kavach), await make_agent(kavach)
    suspended = await make_agent(kavach, owner_id="bob")
    session, key = await kavach.sessions.create("alice"), await kavach.keys.create(name="ci", scopes=["*"])
    assert await ask(kavach, root.token, "send:mail") and await ask(kavach, child.token)
    await kavach.agents.revoke(revoked.id)
    await kavach.agents.rotate(rotated.id)
    await kavach.owners.suspend("bob")
    return Heirlooms(
        root=root.token or "",
        child=child.token or "",
        revoked=revoked.token or "",
        rotated=rotated.token or "",
        suspended=suspended.token or "",
        root_id=root.id,
        session=session.token or "",
        key=key.key or "",
        record={row.audit_id: row.code for row in await all_rows(kavach)},
    )


async def what_changed(kavach: Kavach, heirlooms: Heirlooms) -> list[str]:
    """Where a database decides otherwise about its heirlooms than it did when they were made."""
    asked = {
        "root": (heirlooms.root, "read:repos", "ALLOWED"),
        "rate": (heirlooms.root, "send:mail", "RATE_LIMITED"),
        "child": (heirlooms.child, "read:repos", "ALLOWED"),
        "widened": (heirlooms.child, "send:mail", "NOT_GRANTED"),
        "revoked": (heirlooms.revoked, "read:repos", "AGENT_REVOKED"),
        "rotated": (heirlooms.rotated, "read:repos", "TOKEN_ROTATED"),
        "suspended": (heirlooms.suspended, "read:repos", "OWNER_SUSPENDED"),
    }
    found = [
        f"{name}: {decision.code}"
        for name, (token, permission, code) in asked.items()
        if (decision := await ask(kavach, token, permission)).code != code
    ]
    holds = {
        "token": bool(await kavach.agents.verify(heirlooms.root)),
        "session": bool(await kavach.sessions.verify(heirlooms.session)),
        "key": bool(await kavach.keys.verify(heirlooms.key)),
        "record": not lost(heirlooms.record, await all_rows(kavach)) and bool(heirlooms.record),
        "budget": await _can_be_bounded(kavach, heirlooms),
    }
    return [*found, *(name for name, held in holds.items() if not held)]


async def _can_be_bounded(kavach: Kavach, heirlooms: Heirlooms) -> bool:
    """Whether what came later works on what was there before."""
    try:
        await kavach.budgets.create(agent_id=heirlooms.root_id, limit=1, per="forever")
    except KavachError:
        return False
    codes = [(await ask(kavach, heirlooms.child)).code for _ in range(2)]
    return codes == ["ALLOWED", "BUDGET_EXCEEDED"]


async def hand_down(source: str, target: str) -> None:
    """Copy every row of one database into another, as far as that has tables and columns for it."""
    if source.startswith("sqlite"):
        _hand_down_file(source.removeprefix("sqlite:///"), target.removeprefix("sqlite:///"))
        return
    giver = await postgres_driver.connect(source)
    receiver = await postgres_driver.connect(target)
    for table, columns in await receiver.fetch(_COLUMNS):
        if table != "kavach_migrations":
            rows = [tuple(row) for row in await giver.fetch(f"select {columns} from {table}")]
            places = ", ".join(f"${place}" for place in range(1, str(columns).count(",") + 2))
            await receiver.executemany(f"insert into {table} ({columns}) values ({places})", rows)  # type: ignore[arg-type]
    for connection in (giver, receiver):
        await connection.close()


def _hand_down_file(source: str, target: str) -> None:
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("attach ? as giver", [source])
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            if table != "kavach_migrations":
                columns = ", ".join(row[1] for row in connection.execute(f"pragma table_info({table})"))
                connection.execute(f"insert into main.{table} ({columns}) select {columns} from giver.{table}")
