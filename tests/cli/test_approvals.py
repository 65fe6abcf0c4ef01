"""`kavach approvals`: what waits for a human, and an answer for the record."""

from __future__ import annotations

from kavach_core import Agent, Decision, Kavach
from tests.cli.support import Command

_CONSENT = {"resource": "bills", "actions": ["pay"], "constraints": {"requireApproval": True}}


def _agent(command: Command, owner: str = "alice") -> Agent:
    return command.inside(lambda kavach: kavach.agents.create(owner_id=owner, name="a", permissions=[_CONSENT]))


def _pay(command: Command, agent: Agent, **arguments: object) -> Decision:
    async def pay(kavach: Kavach) -> Decision:
        return await kavach.authorize(agent.id, action="pay", resource="bills", arguments=arguments or None)

    return command.inside(pay)


def test_what_waits_is_listed_and_answered_once(everywhere: Command) -> None:
    agent = _agent(everywhere)
    first, second = _pay(everywhere, agent, to="bob").approval_id, _pay(everywhere, agent).approval_id
    assert first and second
    listed = everywhere.json("approvals", "list")
    assert [each["id"] for each in listed] == [second, first]
    assert (
        listed[1].items()
        >= {
            "agentId": agent.id,
            "ownerId": "alice",
            "action": "pay",
            "resource": "bills",
            "arguments": {"to": "bob"},
            "status": "pending",
            "decidedBy": None,
            "auditId": None,
        }.items()
    )
    text = everywhere.out("approvals", "list")
    assert first in text and "pay:bills" in text and '{"to": "bob"}' in text
    assert everywhere.out("approvals", "approve", first, "--by", "the desk") == f"Approved {first}.\n"
    assert everywhere.out("approvals", "deny", second, "--by", "the desk") == f"Denied {second}.\n"
    allowed = _pay(everywhere, agent, to="bob")
    assert allowed and _pay(everywhere, agent).code == "APPROVAL_DENIED"
    assert everywhere.json("approvals", "list") == []
    (used,) = everywhere.json("approvals", "list", "--status", "used")
    assert (used["id"], used["decidedBy"], used["auditId"]) == (first, "the desk", allowed.audit_id)
    assert everywhere.refusal("approvals", "deny", first, "--by", "me").startswith("FINAL_STATE: ")


def test_only_those_of_an_owner_are_listed(kavach: Command) -> None:
    theirs = {owner: _pay(kavach, _agent(kavach, owner)).approval_id for owner in ("alice", "bob")}
    for owner, approval_id in theirs.items():
        assert [each["id"] for each in kavach.json("approvals", "list", "--owner", owner)] == [approval_id]
    assert len(kavach.json("approvals", "list")) == 2
    assert kavach.refusal("approvals", "list", "--status", "open").startswith("INVALID_INPUT: ")
    assert (
        kavach.refusal("approvals", "approve", "apr_nothing", "--by", "me") == "NOT_FOUND: There is no such approval."
    )
    assert kavach("approvals", "approve", theirs["bob"] or "").exit_code == 2  # who says so?
