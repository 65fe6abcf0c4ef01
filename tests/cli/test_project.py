"""`kavach project`: everybody is stopped at once, and let go on."""

from __future__ import annotations

from tests.cli.support import Command, tell


def test_every_agent_is_stopped_until_resumed(everywhere: Command) -> None:
    story = everywhere.inside(tell)

    def code() -> str:
        return everywhere.inside(lambda kavach: kavach.authorize(story.token, action="read", resource="repos")).code

    assert everywhere.out("project", "status") == "default: active\n"
    assert everywhere.out("project", "suspend") == "Suspended every agent of default.\n"
    assert everywhere.out("project", "status").startswith("default: suspended since 2")
    assert code() == "PROJECT_SUSPENDED"
    assert everywhere.out("project", "status", "--project", "another") == "another: active\n"
    assert everywhere.out("project", "resume", "--project", "another") == "Resumed another.\n"
    assert code() == "PROJECT_SUSPENDED"
    assert everywhere.out("project", "resume") == "Resumed default.\n"
    assert code() == "ALLOWED"
