"""What SQLite looks through: what is about one owner, agent or human never reads all rows of the project."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

from kavach_core import Kavach, create_kavach
from kavach_core.store import sqlite_transaction
from tests.capabilities.support import ask, limited, make_agent

#: A condition that tells rows apart, and the plan of who does not use it.
_NARROW = re.compile(r"\b(owner_id|agent_id|from_agent|to_agent|user_id|binding|holder) (=|in) ")
_WIDE = re.compile(r"^(SCAN kavach_|SEARCH \w+ USING .*\(project_id=\?\)$)")
#: One row of a project, joined to what is looked up by key.
_OF_PROJECT = "SEARCH p USING PRIMARY KEY (project_id=?)"


async def _live(kavach: Kavach) -> None:
    """What agents and their owners do."""
    session = await kavach.sessions.create("alice")
    agent = await make_agent(
        kavach, "read:repos", limited("bills", "pay", requireApproval=True), owner_id="alice", ttl="2h"
    )
    await kavach.agents.ensure(owner_id="alice", name="ensured")
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    await kavach.budgets.create(measure="calls", limit=100, per="day", agent_id=agent.id)
    await ask(kavach, child.token or "")
    asked = await ask(kavach, agent.token, "pay:bills", arguments={"to": "bob"})
    await kavach.approvals.approve(asked.approval_id or "", by="alice")
    await kavach.approvals.list(owner_id="alice", status="pending")
    await kavach.approvals.list(agent_id=agent.id)
    await kavach.agents.list(owner_id="alice", status="active")
    await kavach.agents.list(owner_id="alice")
    await kavach.delegations.list(agent.id)
    await kavach.remaining(agent.id)
    await kavach.budgets.list(owner_id="alice")
    await kavach.sessions.list("alice")
    await kavach.auth.passkey.list("alice")
    await kavach.sessions.revoke_all("alice", except_id=session.id)
    await kavach.agents.rotate(agent.id, cut_children=True)
    await kavach.agents.revoke(agent.id)
    await kavach.owners.rename("alice", "alice-2")


def _wide(path: str, statements: set[str], before: str = "") -> list[str]:
    """The statements that look through a whole project although they need not."""
    found: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(before)
    with closing(sqlite3.connect(path)) as connection:
        for statement in sorted(statements):
            if _NARROW.search(statement) and not statement.lstrip().startswith("insert"):
                places = [None] * len(set(re.findall(r"\?\d+", statement)))
                plan = [row[3] for row in connection.execute(f"explain query plan {statement}", places)]
                if any(_WIDE.match(step) and step != _OF_PROJECT for step in plan):
                    found.append(f"{' '.join(statement.split())}: {plan}")
    return found


async def test_nobodys_rows_are_looked_for_among_all_of_the_project(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tables that were never analysed. The negative control is the same without what a migration says of them."""
    statements = set[str]()
    numbered = sqlite_transaction.numbered

    def noted(sql: str) -> str:
        statements.add(numbered(sql))
        return numbered(sql)

    monkeypatch.setattr(sqlite_transaction, "numbered", noted)
    async with await create_kavach(database=sqlite_database) as kavach:
        await _live(kavach)
    path = sqlite_database.removeprefix("sqlite:///")
    assert len(statements) > 50
    assert _wide(path, statements) == []
    assert len(_wide(path, statements, before="delete from sqlite_stat1")) > 5
