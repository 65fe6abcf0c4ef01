"""`kavach budgets`: set, shown as they stand, changed and taken away."""

from __future__ import annotations

from kavach_core import Decision, Kavach
from tests.cli.support import Command, Story, tell


def _ask(command: Command, story: Story, cost: int | None = None) -> Decision:
    async def ask(kavach: Kavach) -> Decision:
        return await kavach.authorize(story.token, action="read", resource="repos", cost=cost)

    return command.inside(ask)


def test_a_budget_is_set_spent_shown_changed_and_taken_away(everywhere: Command) -> None:
    story = everywhere.inside(tell)
    made = everywhere.out("budgets", "create", "--agent", story.agent_id, "--limit", "1", "--per", "forever").strip()
    assert [_ask(everywhere, story).code for _ in range(2)] == ["ALLOWED", "BUDGET_EXCEEDED"]
    (budget,) = everywhere.json("budgets", "list", "--agent", story.agent_id)
    stands = {"id": made, "agentId": story.agent_id, "measure": "calls", "action": "block", "setBy": "app"}
    assert stands.items() <= budget.items()
    assert (budget["limit"], budget["spent"], budget["left"], budget["resetsAt"]) == (1, 1, 0, None)
    remaining = everywhere.json("budgets", "remaining", story.child_id)
    assert (remaining["calls"], remaining["cost"], remaining["budgets"]) == (0, None, [budget])
    text = everywhere.out("budgets", "remaining", story.child_id)
    assert text.startswith("calls: 0 left, cost: unbounded") and "1 of 1" in text
    assert everywhere.out("budgets", "update", made, "--limit", "5", "--action", "warn") == f"Updated {made}.\n"
    assert _ask(everywhere, story)
    assert [(each["limit"], each["action"], each["spent"]) for each in everywhere.json("budgets", "list")] == [
        (5, "warn", 2)
    ]
    assert everywhere.out("budgets", "delete", made) == f"Deleted {made}.\n"
    assert everywhere.json("budgets", "list") == []


def test_budgets_hang_on_what_is_named_and_on_everybody_else(kavach: Command, story: Story) -> None:
    terms = ("--limit", "9", "--per", "month", "--measure", "cost", "--action", "revoke")
    holders = (("--delegation", story.delegation_id), ("--owner", "alice"), ())
    made = [kavach.out("budgets", "create", *holder, *terms).strip() for holder in holders]
    assert _ask(kavach, story, cost=4)
    listed = kavach.json("budgets", "list")
    assert [(each["id"], each["delegationId"], each["ownerId"], each["spent"]) for each in listed] == [
        (made[0], story.delegation_id, None, 0),
        (made[1], None, "alice", 4),
        (made[2], None, None, 4),
    ]
    assert {each["per"] for each in listed} == {"month"} and all(each["resetsAt"] for each in listed)
    assert [each["id"] for each in kavach.json("budgets", "list", "--owner", "alice")] == made[:2]
    assert [each["id"] for each in kavach.json("budgets", "list", "--delegation", story.delegation_id)] == made[:1]
    text = kavach.out("budgets", "list")
    for expected in (story.delegation_id, "owner alice", "everybody", "4 of 9", "revoke"):
        assert expected in text


def test_what_is_no_budget_is_told_in_one_line(kavach: Command, story: Story) -> None:
    right = ("--limit", "1", "--per", "day")
    assert kavach.refusal("budgets", "create", "--limit", "1", "--per", "week").startswith("INVALID_INPUT: ")
    assert kavach.refusal("budgets", "create", *right, "--agent", "agt_nobody").startswith("NOT_FOUND: ")
    two = ("--agent", story.agent_id, "--owner", "alice")
    assert kavach.refusal("budgets", "create", *right, *two).startswith("INVALID_INPUT: ")
    for verb in ("update", "delete"):
        assert kavach.refusal("budgets", verb, "bdg_nothing") == "NOT_FOUND: There is no such budget."
    assert kavach.refusal("budgets", "remaining", "agt_nobody").startswith("NOT_FOUND: ")
    assert kavach("budgets", "create", "--limit", "-1", "--per", "day").exit_code == 2
    assert kavach("budgets", "create", "--limit", "1").exit_code == 2
    assert kavach.json("budgets", "list") == []
