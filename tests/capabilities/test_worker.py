"""The batch that decides: what it does when things are not as they ever should be, and who writes the record."""

from __future__ import annotations

import asyncio

import pytest

from kavach_core import CallContext, Kavach, Reason
from kavach_core.capabilities.authorize import asking
from kavach_core.capabilities.authorize.claims import Claims
from kavach_core.capabilities.authorize.model import Origin, Question
from kavach_core.capabilities.authorize.outcome import Outcome
from kavach_core.capabilities.authorize.rights import _MOST_KNOWN, KnownOwners
from kavach_core.capabilities.delegation import Facts
from kavach_core.primitives import ids
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, all_entries, ask, code, make_agent, run

HTTP = CallContext(ip="198.51.100.7", over_http=True)


async def test_after_a_commit_whose_outcome_is_unknown_another_writer_goes_on(kavach: Kavach) -> None:
    """Numbers that may be taken are not given again."""
    agent = await make_agent(kavach)
    await ask(kavach, agent.token)
    await ask(kavach, agent.token)
    kavach._authorizer._worker.lost()
    await ask(kavach, agent.token)
    first, second, third = await all_entries(kavach)
    assert first.writer == second.writer != third.writer
    assert [entry.sequence for entry in (first, second, third)] == [0, 1, 0]


async def test_of_an_agent_that_somebody_deleted_nothing_is_told(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    """Kavach never does, but it goes on deciding for the others."""
    kavach = await open_kavach(refused_per_minute=1)
    gone, other = await make_agent(kavach), await make_agent(kavach)
    codes = [await code(kavach, gone.token, "write:x", context=HTTP) for _ in range(2)]
    assert codes == ["NOT_GRANTED", "TOO_MANY_REFUSALS"]
    for table, key in (("kavach_agent_tokens", "agent_id"), ("kavach_agents", "id")):
        statement = f"delete from {table} where project_id = $1 and {key} = $2"
        await run(kavach, statement, kavach.config.project, ids.AGENT.raw(gone.id))
    clock.advance("1m")
    assert await code(kavach, gone.token, context=HTTP) == "UNKNOWN_CREDENTIAL"
    assert await code(kavach, other.token, context=HTTP) == "ALLOWED"
    assert [entry.code for entry in await all_entries(kavach)] == ["NOT_GRANTED", "ALLOWED"]


async def test_in_one_batch_each_refusal_counts_for_its_own_agent(open_kavach: OpenKavach) -> None:
    """And a call that is allowed for nobody."""
    kavach = await open_kavach(refused_per_minute=3)
    agents = [await make_agent(kavach) for _ in range(2)]
    asked = [(agents[0], "write:x"), (agents[1], "read:repos"), (agents[1], "write:x"), (agents[0], "write:x")]
    codes = await asyncio.gather(*[code(kavach, agent.token, permission, context=HTTP) for agent, permission in asked])
    assert codes == ["NOT_GRANTED", "ALLOWED", "NOT_GRANTED", "NOT_GRANTED"]
    assert [await code(kavach, agents[0].token, "write:x", context=HTTP) for _ in range(2)] == [
        "NOT_GRANTED",
        "TOO_MANY_REFUSALS",
    ]
    assert await code(kavach, agents[1].token, context=HTTP) == "ALLOWED"


def test_what_cannot_be_is_an_error_and_never_an_answer() -> None:
    """A decision about nobody: the types allow it, and nothing asks for it."""
    question = Question(request=None, origin=Origin(None, None, None), arrived=0)
    nobody = Outcome(question, None, Reason.ALLOWED)
    facts = Facts(now=0, agents={}, edges={}, credentials={}, sets={})
    for impossible in (
        lambda: question.require_request(),
        lambda: nobody.path(facts),
        lambda: nobody.to_record(facts, writer=b"", sequence=0),
        lambda: Claims(facts, settle_within=16, fall_back=False).choose(nobody),
        lambda: asking._agent_of(nobody),
    ):
        with pytest.raises(RuntimeError):
            impossible()


def test_of_whose_agent_a_credential_is_only_the_latest_are_remembered() -> None:
    known = KnownOwners()
    known.learn(None, "alice")
    for number in range(_MOST_KNOWN + 1):
        known.learn(number.to_bytes(4, "big"), "alice")
    known.learn((1).to_bytes(4, "big"), "bob")
    found = [known.find(None if number is None else number.to_bytes(4, "big")) for number in (None, 0, 1, _MOST_KNOWN)]
    assert found == [None, None, "bob", "alice"]
