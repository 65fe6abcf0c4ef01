"""`kavach agents` and `kavach owners`: what is shown is what is there, and what is stopped stops."""

from __future__ import annotations

from tests.cli.support import Command, Story, tell


def test_agents_are_listed_by_owner_and_status(everywhere: Command) -> None:
    story = everywhere.inside(tell)
    assert [agent["id"] for agent in everywhere.json("agents", "list")] == [story.child_id, story.agent_id]
    assert everywhere.json("agents", "list", "--owner", "bob") == []
    everywhere.out("agents", "revoke", story.agent_id)
    (revoked,) = everywhere.json("agents", "list", "--owner", "alice", "--status", "revoked")
    assert revoked["id"] == story.agent_id
    decision = everywhere.inside(lambda kavach: kavach.authorize(story.token, action="read", resource="repos"))
    assert decision.code == "AGENT_REVOKED"


def test_the_table_says_when_there_is_more(kavach: Command, story: Story) -> None:
    result = kavach("agents", "list", "--limit", "1")
    assert "1 of 2" in result.stderr
    assert story.child_id in result.stdout
    assert story.agent_id in kavach.out("agents", "list", "--limit", "1", "--offset", "1")


def test_show_tells_what_an_agent_may_do_and_by_what(kavach: Command, story: Story) -> None:
    shown = kavach.json("agents", "show", story.child_id)
    assert shown["permissions"] == []
    assert shown["effectivePermissions"] == [{"resource": "repos", "actions": ["read"]}]
    assert [each["id"] for each in shown["delegations"]] == [story.delegation_id]
    text = kavach.out("agents", "show", story.child_id)
    for expected in (story.delegation_id, f"from {story.agent_id}", "search", "repos"):
        assert expected in text


def test_names_are_shown_as_they_are(kavach: Command, story: Story) -> None:
    """Markup and emoji codes in names come from outside and mean nothing."""
    assert "[red]coder[/] :star:" in kavach.out("agents", "list")


def test_metadata_may_hold_any_text(kavach: Command) -> None:
    """A lone surrogate among it, which no encoding of a terminal can write."""
    metadata = {"note": "a\ud800b"}
    agent = kavach.inside(lambda kv: kv.agents.create(owner_id="alice", name="scout", metadata=metadata))
    assert kavach.json("agents", "list")[0]["metadata"] == metadata
    assert r"a\ud800b" in kavach.out("agents", "show", agent.id, "--json")


def test_wrong_agents_and_states_are_told_in_one_line(kavach: Command, story: Story) -> None:
    assert kavach.refusal("agents", "show", "agt_nobody") == "NOT_FOUND: There is no such agent."
    assert kavach.refusal("agents", "revoke", "agt_" + "0" * 32) == "NOT_FOUND: There is no such agent."
    assert kavach.refusal("agents", "list", "--status", "asleep").startswith("INVALID_INPUT: ")
    assert kavach("agents", "list", "--limit", "-1").exit_code == 2


def test_owners_are_suspended_resumed_and_renamed(everywhere: Command) -> None:
    story = everywhere.inside(tell)

    def code() -> str:
        return everywhere.inside(lambda kavach: kavach.authorize(story.token, action="read", resource="repos")).code

    everywhere.out("owners", "suspend", "alice")
    assert code() == "OWNER_SUSPENDED"
    everywhere.out("owners", "resume", "alice")
    assert code() == "ALLOWED"
    everywhere.out("owners", "rename", "alice", "usr_1")
    assert len(everywhere.json("agents", "list", "--owner", "usr_1")) == 2
    assert everywhere.refusal("owners", "rename", "alice", "bob").startswith("NOT_FOUND: ")


def test_projects_are_worlds_of_their_own(kavach: Command, story: Story) -> None:
    assert kavach.json("agents", "list", "--project", "other") == []
    assert kavach.refusal("agents", "show", story.agent_id, "--project", "other").startswith("NOT_FOUND: ")
