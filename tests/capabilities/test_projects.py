"""Two projects in one database: to each the other does not exist."""

from __future__ import annotations

import pytest

from kavach_core import Kavach
from kavach_core.errors import NotFound, PasskeyUnknown, SignInFailed
from kavach_core.store import Transaction
from tests.capabilities.support import Home, OpenKavach, all_entries, ask, code, limited, make_agent, select, store_of
from tests.passkeys.support import Person


@pytest.fixture
async def two(open_kavach: OpenKavach, home: Home) -> tuple[Kavach, Kavach]:
    """Two projects with the same owner ids."""
    return await open_kavach(passwords=True), await open_kavach(passwords=True, project=f"{home.project}-other")


async def test_ids_of_another_project_do_not_exist(two: tuple[Kavach, Kavach]) -> None:
    mine, theirs = two
    agent, receiver = await make_agent(theirs), await make_agent(theirs)
    own = await make_agent(mine)
    link = await theirs.delegations.create(from_agent=agent.id, to_agent=receiver.id, permissions=["read:repos"])
    key, session = await theirs.keys.create(name="ci", scopes=["*"]), await theirs.sessions.create("alice")
    entry = await ask(theirs, agent.token, cost=1)
    budget = await theirs.budgets.create(agent_id=agent.id, limit=5, per="day")
    consent = await make_agent(theirs, limited("repos", "read", requireApproval=True))
    waiting = await ask(theirs, consent.token)
    assert waiting.approval_id and entry.audit_id
    for use in (
        mine.agents.get(agent.id),
        mine.agents.update(agent.id, name="mine"),
        mine.agents.rotate(agent.id),
        mine.agents.revoke(agent.id),
        mine.agents.delegate(from_=agent.id, permissions=["read:repos"]),
        mine.delegations.create(from_agent=own.id, to_agent=agent.id, permissions=["read:repos"]),
        mine.delegations.create(from_agent=agent.id, to_agent=own.id, permissions=["read:repos"]),
        mine.delegations.get(link.id),
        mine.delegations.list(agent.id),
        mine.delegations.revoke(link.id),
        mine.delegations.effective_permissions(agent.id),
        mine.audit.trace(agent.id),
        mine.keys.get(key.id),
        mine.keys.rotate(key.id),
        mine.keys.revoke(key.id),
        mine.sessions.get(session.id),
        mine.sessions.revoke(session.id),
        mine.budgets.create(agent_id=agent.id, limit=1, per="day"),
        mine.budgets.create(delegation_id=link.id, limit=1, per="day"),
        mine.budgets.get(budget.id),
        mine.budgets.update(budget.id, limit=9),
        mine.budgets.delete(budget.id),
        mine.approvals.get(waiting.approval_id),
        mine.approvals.approve(waiting.approval_id, by="alice"),
        mine.settle(entry.audit_id, 0),
        mine.remaining(agent.id),
    ):
        with pytest.raises(NotFound):
            await use
    assert await code(mine, agent.id) == "UNKNOWN_AGENT"
    assert (await mine.agents.list()).total == 1 and await mine.audit.count() == 0
    assert await mine.audit.count(before=entry.audit_id) == 0 and await mine.keys.list() == []
    assert (await mine.budgets.list()).total == (await mine.approvals.list()).total == 0
    assert await mine.sessions.revoke_all("alice") == 0 and await mine.sessions.list("alice") == []


async def test_tokens_of_another_project_are_of_nobody(two: tuple[Kavach, Kavach]) -> None:
    mine, theirs = two
    agent, key = await make_agent(theirs), await theirs.keys.create(name="ci", scopes=["*"])
    session = await theirs.sessions.create("alice")
    assert await code(mine, agent.token) == "UNKNOWN_CREDENTIAL"
    identity = await theirs.agents.verify(agent.token or "")
    assert await code(mine, identity) == "UNKNOWN_CREDENTIAL"
    assert not await mine.sessions.verify(session.token or "")
    assert (await mine.keys.verify(key.key or "")).code == "UNKNOWN_CREDENTIAL"  # type: ignore[union-attr]


async def test_changes_stay_in_their_project(two: tuple[Kavach, Kavach]) -> None:
    mine, theirs = two
    agent = await make_agent(theirs)
    await make_agent(mine)
    await mine.owners.suspend("alice")
    await mine.owners.set_permissions("alice", [])
    await mine.project.suspend()
    await mine.budgets.create(owner_id="alice", limit=0, per="day")
    await mine.budgets.create(limit=0, per="forever")
    assert await ask(theirs, agent.token)
    await mine.owners.rename("alice", "bob")
    assert (await theirs.agents.get(agent.id)).owner_id == "alice"


@pytest.mark.usefixtures("cheap_passwords")
async def test_a_user_of_another_project_is_a_stranger(two: tuple[Kavach, Kavach]) -> None:
    mine, theirs = two
    session = await theirs.auth.password.sign_up("ada@example.org", "correct horse battery")
    codes = await theirs.auth.recovery.issue_codes(session)
    await mine.auth.password.sign_up("ada@example.org", "another password of hers")
    for use in (
        mine.auth.password.sign_in("ada@example.org", "correct horse battery"),
        mine.auth.recovery.use_code(codes[0]),
    ):
        with pytest.raises(SignInFailed):
            await use
    with pytest.raises(NotFound):
        await mine.users.get(session.user_id)
    person = Person(theirs)
    await person.register()
    person.passkeys = mine.auth.passkey
    with pytest.raises(PasskeyUnknown):
        await person.sign_in()


@pytest.mark.usefixtures("cheap_passwords")
async def test_every_row_of_every_table_carries_its_project(two: tuple[Kavach, Kavach]) -> None:
    mine, theirs = two
    for kavach in two:
        agent = await make_agent(
            kavach, {"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 9}}
        )
        await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
        await kavach.keys.create(name="ci", scopes=["*"])
        await _join(kavach)
        await kavach.budgets.create(limit=9, per="day", measure="cost")
        assert await ask(kavach, agent.token, cost=1)
        consent = await make_agent(kavach, limited("repos", "read", requireApproval=True))
        assert not await ask(kavach, consent.token)
        assert len(await all_entries(kavach)) == 2
    for table in await _tables(mine):
        projects = {project for (project,) in await select(mine, f"select distinct project_id from {table}")}
        assert {mine.config.project, theirs.config.project} <= projects, table


async def _join(kavach: Kavach) -> None:
    """A user with a password, recovery codes and a passkey, who is about to sign in."""
    session = await kavach.auth.password.sign_up("ada@example.org", "correct horse battery")
    await kavach.auth.recovery.issue_codes(session)
    person = Person(kavach)
    await person.add(session, person.authenticator)
    await person.begin_sign_in()


async def _tables(kavach: Kavach) -> list[str]:
    names = (
        "select name from sqlite_master where type = 'table' and name like 'kavach%'"
        if store_of(kavach).dialect == "sqlite"
        else "select tablename from pg_tables where schemaname = 'public'"
    )

    async def look(tx: Transaction) -> list[str]:
        return [str(name) for (name,) in await tx.fetch(names)]

    return sorted(set(await store_of(kavach).read(look)) - {"kavach_migrations"})
