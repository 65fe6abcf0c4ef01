"""An agent never may what its human may not: by what is on record, and by what the app says when it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kavach_core import CallContext, Kavach
from kavach_core.capabilities.authorize import rights
from kavach_core.errors import InvalidInput, NotFound, ResolverFailed
from kavach_core.testing import FrozenClock
from tests.capabilities.support import Home, OpenKavach, ask, code, count, events, limited, make_agent, opener

# On record.


async def test_what_the_human_may_not_no_agent_of_theirs_may(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """From the next call on, in every process, all the way down the chain, until it is taken back."""
    elsewhere = await open_kavach()
    root = await make_agent(kavach, "*:*")
    child = await kavach.agents.delegate(from_=root.id, permissions=["*:*"])
    stranger = await make_agent(kavach, "*:*", owner_id="bob")
    agents = (root, child, stranger)

    async def codes(permission: str) -> list[str]:
        return [await code(elsewhere, agent.token, permission) for agent in agents]

    await kavach.owners.set_permissions("alice", ["read:**", "write:drafts:**"])
    assert await codes("read:papers") == await codes("write:drafts:one") == ["ALLOWED"] * 3
    assert await codes("write:papers") == ["OWNER_NOT_PERMITTED"] * 2 + ["ALLOWED"]
    assert await codes("write:drafts") == ["OWNER_NOT_PERMITTED"] * 2 + ["ALLOWED"]
    await elsewhere.owners.set_permissions("alice", [])
    assert await codes("read:papers") == ["OWNER_NOT_PERMITTED"] * 2 + ["ALLOWED"]
    await elsewhere.owners.set_permissions("alice", None)
    assert await codes("write:papers") == ["ALLOWED"] * 3


async def test_a_right_of_the_human_gives_no_agent_anything(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "read:repos")
    await kavach.owners.set_permissions("alice", ["*:*"])
    assert [await code(kavach, agent.token, asked) for asked in ("read:repos", "read:issues")] == [
        "ALLOWED",
        "NOT_GRANTED",
    ]


async def test_constraints_of_a_right_count_as_everywhere(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await make_agent(kavach, "*:*")
    await kavach.owners.set_permissions(
        "alice",
        [
            limited("files", "read", allowedArgPatterns=["path=src/*"]),
            limited("nights", "read", timeWindow={"start": "22:00", "end": "06:00"}),
            limited("inside", "read", ipAllowlist=["10.0.0.0/8"]),
        ],
    )
    home, away = CallContext(ip="10.1.2.3"), CallContext(ip="192.0.2.1")
    assert await code(kavach, agent.token, "read:files", arguments={"path": "src/a"}) == "ALLOWED"
    assert await code(kavach, agent.token, "read:files", arguments={"path": "etc"}) == "ARGUMENT_NOT_ALLOWED"
    assert await code(kavach, agent.token, "read:inside", context=home) == "ALLOWED"
    assert await code(kavach, agent.token, "read:inside", context=away) == "ADDRESS_NOT_ALLOWED"
    assert await code(kavach, agent.token, "read:nights") == "OUTSIDE_TIME_WINDOW"
    clock.move_to(datetime(2030, 1, 1, 22, tzinfo=UTC))
    assert await code(kavach, agent.token, "read:nights") == "ALLOWED"


async def test_a_rate_of_a_right_is_one_for_all_agents_of_the_owner(kavach: Kavach, open_kavach: OpenKavach) -> None:
    """And in all processes; a call that it refuses takes nothing from the agent's own."""
    both = kavach, await open_kavach()
    agents = [await make_agent(kavach, limited("repos", "read", maxCallsPerHour=9)) for _ in range(3)]
    await kavach.owners.set_permissions("alice", [limited("repos", "read", maxCallsPerHour=7)])
    decisions = await asyncio.gather(*[ask(both[number % 2], agents[number % 3].token) for number in range(18)])
    assert sum(map(bool, decisions)) == 7
    assert {decision.code.value for decision in decisions if not decision} == {"RATE_LIMITED"}
    assert {decision.retry_after for decision in decisions if not decision} == {3600}
    await kavach.owners.set_permissions("alice", None)
    decisions = await asyncio.gather(*[ask(both[number % 2], agents[number % 3].token) for number in range(27)])
    assert sum(map(bool, decisions)) == 27 - 7


async def test_a_right_that_needs_an_approval_asks_the_human(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.owners.set_permissions("alice", [limited("repos", "read", requireApproval=True)])
    asked = await ask(kavach, agent.token)
    assert asked.code == "APPROVAL_REQUIRED" and asked.approval_id
    await kavach.approvals.approve(asked.approval_id, by="alice")
    assert [await code(kavach, agent.token) for _ in range(2)] == ["ALLOWED", "APPROVAL_REQUIRED"]


async def test_rights_are_kept_shown_and_told_as_they_were_given(kavach: Kavach) -> None:
    with pytest.raises(NotFound):
        await kavach.owners.get("alice")
    assert await kavach.owners.permissions("alice") is None
    await kavach.owners.set_permissions("alice", ["read:repos"])
    owner = await kavach.owners.get("alice")
    assert owner.permissions and [each.resource for each in owner.permissions] == ["repos"]
    assert await kavach.owners.permissions("alice") == owner.permissions
    await kavach.owners.set_permissions("alice", ["read:repos"])  # nothing new
    await kavach.owners.set_permissions("alice", [])
    assert (await kavach.owners.get("alice")).permissions == await kavach.owners.permissions("alice") == ()
    await kavach.owners.set_permissions("alice", None)
    await kavach.owners.set_permissions("alice", None)
    assert (await kavach.owners.get("alice")).permissions is await kavach.owners.permissions("alice") is None
    assert await events(kavach) == ["owner.bounded"] * 3
    for wrong in (["repos"], [{"resource": "repos"}], [limited("repos", "read", fromTheFuture=1)], "read:repos", [7]):
        given: Any = wrong
        with pytest.raises(InvalidInput):
            await kavach.owners.set_permissions("alice", given)
    with pytest.raises(InvalidInput):
        await kavach.owners.set_permissions("", ["read:repos"])
    with pytest.raises(InvalidInput):
        await kavach.owners.permissions("")
    assert (await kavach.owners.get("alice")).permissions is None and len(await events(kavach)) == 3


async def test_rights_move_with_a_renamed_owner(kavach: Kavach) -> None:
    agent = await make_agent(kavach, "*:*")
    await kavach.owners.set_permissions("alice", ["read:repos"])
    await kavach.owners.rename("alice", "usr-0001")
    assert [await code(kavach, agent.token, asked) for asked in ("read:repos", "write:repos")] == [
        "ALLOWED",
        "OWNER_NOT_PERMITTED",
    ]
    await make_agent(kavach, owner_id="alice")
    assert (await kavach.owners.get("alice")).permissions is None


async def test_a_dry_run_says_that_it_stopped_at_the_human(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    await kavach.owners.set_permissions("alice", ["write:repos"])
    why = (await ask(kavach, agent.token, dry_run=True)).explanation
    assert why and why.closest and (why.closest.stopped_at, why.closest.permissions) == ("alice", ())
    assert (why.closest.code, why.closest.source) == ("OWNER_NOT_PERMITTED", "own")
    assert "owners.set_permissions" in why.would_pass


# As the app says.


class App:
    """Stands for what an app knows of its users. While `gate` is closed, nobody is answered."""

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        #: Set while somebody waits for an answer.
        self.under_way = asyncio.Event()

    async def __call__(self, owner_id: str) -> Any:
        self.asked.append(owner_id)
        said = self.says[owner_id]
        self.under_way.set()
        await self.gate.wait()
        if isinstance(said, Exception):
            raise said
        return said


async def test_the_app_says_what_its_humans_may(open_kavach: OpenKavach) -> None:
    """At once, whatever was said a call ago; and beside what is on record."""
    app = App(alice=["read:*"], bob=[])
    kavach = await open_kavach(owner_permissions=app)
    agent, other = await make_agent(kavach, "*:*"), await make_agent(kavach, "*:*", owner_id="bob")
    child = await kavach.agents.delegate(from_=agent.id, permissions=["*:*"])
    for subject in (agent.token, child.token, agent.id, await kavach.agents.verify(agent.token or "")):
        assert await code(kavach, subject, "read:repos") == "ALLOWED"
        assert await code(kavach, subject, "write:repos") == "OWNER_NOT_PERMITTED"
    assert await code(kavach, other.token, "read:repos") == "OWNER_NOT_PERMITTED"
    app.says["alice"] = ["write:*"]
    assert await code(kavach, agent.token, "read:repos") == "OWNER_NOT_PERMITTED"
    assert await code(kavach, agent.token, "write:repos") == "ALLOWED"
    await kavach.owners.set_permissions("alice", ["write:drafts"])
    assert await code(kavach, agent.token, "write:repos") == "OWNER_NOT_PERMITTED"
    assert await code(kavach, agent.token, "write:drafts") == "ALLOWED"


async def test_a_rate_that_the_app_says_is_one_for_all_agents_of_the_owner(open_kavach: OpenKavach) -> None:
    app = App(alice=[limited("repos", "read", maxCallsPerHour=3)])
    kavach = await open_kavach(owner_permissions=app)
    agents = [await make_agent(kavach) for _ in range(2)]
    await kavach.owners.set_permissions("alice", [limited("repos", "read", maxCallsPerHour=4)])
    assert [await code(kavach, agents[call % 2].token) for call in range(4)] == ["ALLOWED"] * 3 + ["RATE_LIMITED"]
    app.says["alice"] = ["read:*"]
    assert [await code(kavach, agents[0].token) for _ in range(2)] == ["ALLOWED", "RATE_LIMITED"]


async def test_the_app_is_asked_once_for_each_owner_among_those_who_wait(open_kavach: OpenKavach) -> None:
    app = App(alice=["read:*"], bob=["read:*"])
    kavach = await open_kavach(owner_permissions=app)
    agents = [await make_agent(kavach, owner_id=owner) for owner in ("alice", "bob")]
    assert all(await asyncio.gather(*[ask(kavach, agents[call % 2].token) for call in range(10)]))
    assert sorted(app.asked) == ["alice", "bob"]  # nothing was known of them, and the facts told
    assert all(await asyncio.gather(*[ask(kavach, agents[call % 2].token) for call in range(10)]))
    assert sorted(app.asked) == ["alice"] * 2 + ["bob"] * 2


async def test_who_comes_while_the_app_is_asked_shares_the_next_answer(open_kavach: OpenKavach) -> None:
    """And never that one: it may be older than the call."""
    app = App(alice=["read:*"])
    kavach = await open_kavach(owner_permissions=app)
    agent = await make_agent(kavach)
    assert await ask(kavach, agent.token)
    app.gate.clear()
    app.under_way.clear()
    early = asyncio.create_task(code(kavach, agent.token))
    await app.under_way.wait()
    app.says["alice"] = []
    late = [asyncio.create_task(code(kavach, agent.token)) for _ in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(app.asked) == 2 and not early.done()
    app.gate.set()
    assert await early == "ALLOWED"
    assert await asyncio.gather(*late) == ["OWNER_NOT_PERMITTED"] * 5
    assert len(app.asked) == 3


async def test_who_gives_up_takes_nothing_from_those_who_share_the_answer(open_kavach: OpenKavach) -> None:
    app = App(alice=["read:*"])
    kavach = await open_kavach(owner_permissions=app)
    agent = await make_agent(kavach)
    assert await ask(kavach, agent.token)
    app.gate.clear()
    app.under_way.clear()
    first, second = (asyncio.create_task(code(kavach, agent.token)) for _ in range(2))
    await app.under_way.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    app.gate.set()
    assert await second == "ALLOWED" and len(app.asked) == 2
    assert await count(kavach, "kavach_audit") == 2


async def _never(owner_id: str) -> list[str]:
    await asyncio.Event().wait()
    return ["read:*"]


async def _awaiting_what_others_cancelled(owner_id: str) -> list[str]:
    lookup = asyncio.ensure_future(asyncio.Event().wait())
    lookup.cancel()
    await lookup
    return ["read:*"]


async def _blocking(owner_id: str) -> list[str]:
    """Holds the event loop until the deadline is over, so that nothing can end it in time."""
    until = asyncio.get_running_loop().time() + 2 * rights.PATIENCE
    while asyncio.get_running_loop().time() < until:
        pass
    return ["read:*"]


def _not_async(owner_id: str) -> list[str]:
    return ["read:*"]


def _saying(said: Any) -> Callable[[str], Awaitable[Any]]:
    return App(alice=said)


@pytest.mark.parametrize(
    "app",
    [
        *(_saying(KeyError("alice")), _saying(ResolverFailed("down")), _saying(TimeoutError())),
        *(_saying(None), _saying("read:*"), _saying([7]), _saying(["read"]), _saying(7)),
        *(_never, _not_async, _awaiting_what_others_cancelled, _blocking),
    ],
)
async def test_an_app_that_does_not_say_lets_nothing_pass(
    sqlite_home: Home, monkeypatch: pytest.MonkeyPatch, app: Any
) -> None:
    """Nor is anything recorded, charged, or asked of a human."""
    assert rights.PATIENCE == 2.0
    monkeypatch.setattr(rights, "PATIENCE", 0.02)
    async with opener(database=sqlite_home.database) as open_kavach:
        kavach = await open_kavach(owner_permissions=app)
        agent = await make_agent(kavach, limited("repos", "read", requireApproval=True))
        budget = await kavach.budgets.create(agent_id=agent.id, limit=1, per="day")
        for subject, dry_run in ((agent.token, False), (agent.token, True), (agent.id, False)):
            with pytest.raises(ResolverFailed):
                await ask(kavach, subject, dry_run=dry_run)
        assert [await count(kavach, f"kavach_{table}") for table in ("audit", "approvals")] == [0, 0]
        assert (await kavach.budgets.get(budget.id)).spent == 0


class Stubborn:
    """An app that is not ended by a cancellation: it goes on until `gate` opens, and then answers or fails."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = self.over = 0
        self.both_over = asyncio.Event()

    async def __call__(self, owner_id: str) -> list[str]:
        self.begun += 1
        fails = self.begun == 1
        try:
            while not self.gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.gate.wait()
            if fails:
                raise KeyError(owner_id)
            return ["read:*"]
        finally:
            self.over += 1
            if self.over == 2:
                self.both_over.set()


async def test_an_app_that_catches_its_cancellation_holds_nobody_up(
    open_kavach: OpenKavach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call is told at its deadline, the next is asked about anew, and what comes late is used by none."""
    monkeypatch.setattr(rights, "PATIENCE", 0.02)
    monkeypatch.setattr(logging.getLogger("kavach"), "disabled", True)  # records keep what is to be collected
    app = Stubborn()
    kavach = await open_kavach(owner_permissions=app)
    agent = await make_agent(kavach)
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for question in (1, 2):
        calls = [asyncio.create_task(ask(kavach, agent.id)) for _ in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), timeout=10)
        assert {type(answer) for answer in answers} == {ResolverFailed}
        assert (app.begun, app.over) == (question, 0)
    app.gate.set()
    await app.both_over.wait()
    await asyncio.sleep(0)
    del calls, answers
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == [] and await count(kavach, "kavach_audit") == 0


async def test_who_is_cancelled_while_the_app_is_asked_stays_cancelled(open_kavach: OpenKavach) -> None:
    app = App(alice=["read:*"])
    kavach = await open_kavach(owner_permissions=app)
    agent = await make_agent(kavach)
    app.gate.clear()
    calls = [asyncio.create_task(ask(kavach, agent.id)) for _ in range(2)]
    await app.under_way.wait()
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each) for each in ended} == {asyncio.CancelledError}
    app.gate.set()


async def test_an_app_that_fails_once_is_asked_again(open_kavach: OpenKavach) -> None:
    app = App(alice=KeyError("alice"), bob=["read:*"])
    kavach = await open_kavach(owner_permissions=app)
    agent, other = await make_agent(kavach), await make_agent(kavach, owner_id="bob")
    failed = await asyncio.gather(*[ask(kavach, agent.token) for _ in range(3)], return_exceptions=True)
    assert {type(each) for each in failed} == {ResolverFailed} and app.asked == ["alice"]
    assert await ask(kavach, other.token)
    app.says["alice"] = ["read:*"]
    assert await ask(kavach, agent.token)
    assert app.asked == ["alice", "bob", "alice"]


async def test_who_has_ended_is_told_so_although_the_app_cannot_say_anything(open_kavach: OpenKavach) -> None:
    """Whether it was seen alive in this process or not; and it is on record. What moved is asked about anew."""
    app = App(alice=["read:*"], renamed=["read:*"])
    kavach, elsewhere = await open_kavach(owner_permissions=app), await open_kavach()
    agent, moved = await make_agent(kavach), await make_agent(kavach)
    assert await ask(kavach, agent.token) and await ask(kavach, moved.token)
    app.says["alice"] = KeyError("alice")
    await elsewhere.agents.revoke(agent.id)
    assert await code(kavach, agent.token) == "AGENT_REVOKED"
    assert await count(kavach, "kavach_audit") == 3
    with pytest.raises(ResolverFailed):
        await ask(kavach, moved.token)
    await elsewhere.owners.rename("alice", "renamed")
    assert await ask(kavach, moved.token)


async def test_an_agent_that_changed_its_owner_is_asked_about_under_the_new_one(open_kavach: OpenKavach) -> None:
    """What was known of it is a hint, and is not believed."""
    app = App(alice=["*:*"], renamed=[], bob=["read:*"])
    kavach, elsewhere = await open_kavach(owner_permissions=app), await open_kavach()
    agent = await make_agent(kavach)
    assert await ask(kavach, agent.token)
    await elsewhere.owners.rename("alice", "renamed")
    app.asked.clear()
    assert await code(kavach, agent.token) == "OWNER_NOT_PERMITTED"
    assert app.asked == ["alice", "renamed"]
    app.says["renamed"] = ["read:*"]
    assert await code(kavach, agent.token) == "ALLOWED"
    assert app.asked == ["alice", "renamed", "renamed"]
    assert await count(kavach, "kavach_audit") == 3


async def test_nobody_is_asked_about_agents_that_are_dead_or_unknown_or_only_verified(open_kavach: OpenKavach) -> None:
    app = App()
    kavach = await open_kavach(owner_permissions=app)
    dead, stranger = await make_agent(kavach), await make_agent(kavach, owner_id="bob")
    alive = await make_agent(kavach)
    await kavach.agents.revoke(dead.id)
    await kavach.owners.suspend("bob")
    assert await code(kavach, dead.token) == "AGENT_REVOKED"
    assert await code(kavach, stranger.token) == "OWNER_SUSPENDED"
    assert await code(kavach, "agt_" + "0" * 32) == "UNKNOWN_AGENT"
    assert await code(kavach, "kv_agt_x") == "MALFORMED_CREDENTIAL"
    assert (await kavach.agents.verify(alive.token or "")).valid
    assert app.asked == []
