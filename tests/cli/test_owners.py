"""`kavach owners`: what an administrator does for humans."""

from __future__ import annotations

import pytest

from kavach_core import Kavach, User
from tests.cli.support import Command


@pytest.mark.usefixtures("cheap_passwords")
def test_a_recovery_link_opens_one_recovery_session(everywhere: Command) -> None:
    user = everywhere.inside(_ada, passwords=True)
    link = everywhere.out("owners", "recover", user.id, "--base-url", "https://app.example").strip()
    page, _, token = link.partition("#token=")
    assert page == "https://app.example/api/kavach/recover"
    session = everywhere.inside(lambda kavach: kavach.auth.recovery.use_link(token))
    assert (session.user_id, session.method.value) == (user.id, "recovery")


def test_there_is_no_link_for_somebody_from_elsewhere(kavach: Command) -> None:
    kavach.out("migrate")
    assert kavach.refusal("owners", "recover", "user_2x9").startswith("NOT_FOUND")


async def _ada(kavach: Kavach) -> User:
    session = await kavach.auth.password.sign_up("ada@example.org", "correct horse battery")
    return await kavach.users.get(session.user_id)
