"""A human's sign-in: how long it lives, and that ending it is seen at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kavach_core import Kavach
from kavach_core.errors import InvalidInput, NotFound
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, count, events, watched


async def end_of(kavach: Kavach, token: str | None) -> str | None:
    """Why the session does not hold; None if it does."""
    verified = await kavach.sessions.verify(token or "")
    return None if verified.valid else verified.code.value


async def test_a_session_tells_who_it_is_and_how_long(kavach: Kavach, clock: FrozenClock) -> None:
    session = await kavach.sessions.create("alice", address="198.51.100.7\x00", user_agent="u" * 300)
    assert session.token and session.token.startswith("kv_ses_") and session.id.startswith("ses_")
    clock.advance("1h")
    live = await kavach.sessions.verify(session.token)
    assert live.valid and live and live.token is None
    assert (live.id, live.user_id, live.expires_in) == (session.id, "alice", 30 * 86400 - 3600)
    assert (live.address, live.user_agent) == ("198.51.100.7\\u0000", "u" * 256)


async def test_a_session_that_rests_too_long_ends(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    kavach = await open_kavach(session_idle="1h", session_lifetime="4h")
    session = await kavach.sessions.create("alice")
    clock.advance("59m")
    assert await end_of(kavach, session.token) is None
    clock.advance("59m")
    assert await end_of(kavach, session.token) is None
    clock.advance("1h")
    assert await end_of(kavach, session.token) == "SESSION_EXPIRED"
    assert await kavach.sessions.list("alice") == []


async def test_the_absolute_end_does_not_move_with_use(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    kavach = await open_kavach(session_idle="1h", session_lifetime="3h")
    session = await kavach.sessions.create("alice")
    for _ in range(5):
        clock.advance("30m")
        live = await kavach.sessions.verify(session.token or "")
        assert live.valid and (live.created_at, live.expires_at) == (session.created_at, session.expires_at)
    clock.advance(timedelta(minutes=30))
    assert await end_of(kavach, session.token) == "SESSION_EXPIRED"


async def test_use_is_written_at_most_once_a_minute(kavach: Kavach, clock: FrozenClock) -> None:
    session = await kavach.sessions.create("alice")
    other, store = watched(kavach)
    clock.advance("59s")
    await other.sessions.verify(session.token or "")
    assert store.asked == 1 and (await kavach.sessions.get(session.id)).last_used_at == session.created_at
    clock.advance("1s")
    await other.sessions.verify(session.token or "")
    assert store.asked == 3 and (await kavach.sessions.get(session.id)).last_used_at == clock.now


async def test_a_session_that_may_rest_for_seconds_is_kept_alive_by_use(
    open_kavach: OpenKavach, clock: FrozenClock
) -> None:
    kavach = await open_kavach(session_idle="40s")
    session = await kavach.sessions.create("alice")
    for _ in range(6):
        clock.advance("15s")
        assert await end_of(kavach, session.token) is None
    clock.advance("40s")
    assert await end_of(kavach, session.token) == "SESSION_EXPIRED"


async def test_parallel_requests_keep_one_session_alive(kavach: Kavach, clock: FrozenClock) -> None:
    session = await kavach.sessions.create("alice")
    clock.advance("1h")
    ends = await asyncio.gather(*[end_of(kavach, session.token) for _ in range(16)])
    assert set(ends) == {None}


async def test_one_or_all_sessions_end_at_once_and_for_good(kavach: Kavach, open_kavach: OpenKavach) -> None:
    elsewhere = await open_kavach()
    sessions = [await kavach.sessions.create("alice") for _ in range(4)]
    other = await kavach.sessions.create("bob")
    await kavach.sessions.revoke(sessions[0].id)
    await kavach.sessions.revoke(sessions[0].id)
    assert await end_of(elsewhere, sessions[0].token) == "SESSION_REVOKED"
    assert [found.id for found in await kavach.sessions.list("alice")] == [each.id for each in reversed(sessions[1:])]
    assert await kavach.sessions.revoke_all("alice", except_id=sessions[1].id) == 2
    assert [await end_of(elsewhere, each.token) for each in sessions[1:]] == [None, *["SESSION_REVOKED"] * 2]
    assert await kavach.sessions.revoke_all("alice") == 1 and await kavach.sessions.revoke_all("alice") == 0
    assert await end_of(kavach, other.token) is None
    assert await events(kavach) == ["session.created"] * 5 + ["session.revoked", "sessions.revoked", "sessions.revoked"]


async def test_a_suspended_human_has_no_session_until_resumed(kavach: Kavach) -> None:
    session = await kavach.sessions.create("alice")
    await kavach.owners.suspend("alice")
    assert await end_of(kavach, session.token) == "OWNER_SUSPENDED"
    await kavach.owners.resume("alice")
    assert await end_of(kavach, session.token) is None


async def test_what_is_no_session_token_is_unknown_without_a_query(kavach: Kavach) -> None:
    session, key = await kavach.sessions.create("alice"), await kavach.keys.create(name="ci", scopes=["*"])
    other, store = watched(kavach)
    for bad in ("", "kv_ses_", (session.token or "")[:-1], key.key or "", session.id):
        assert await end_of(other, bad) == "UNKNOWN_CREDENTIAL"
    assert store.asked == 0


async def test_bad_input_makes_no_session(kavach: Kavach) -> None:
    for wrong in ("", "a\x00", "u" * 256):
        with pytest.raises(InvalidInput):
            await kavach.sessions.create(wrong)
    for unknown in ("ses_" + "0" * 32, "ses_x", "agt_" + "0" * 32):
        with pytest.raises(NotFound):
            await kavach.sessions.revoke(unknown)
        with pytest.raises(NotFound):
            await kavach.sessions.get(unknown)
    assert await count(kavach, "kavach_sessions") == 0
