"""API keys: scopes, what they may give, and how they end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kavach_core import ApiKey, Kavach, Reason, Scope
from kavach_core.errors import FinalState, InvalidInput, NotFound
from kavach_core.primitives.permissions import parse_permissions
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, count, events


async def end_of(kavach: Kavach, key: ApiKey | str) -> Reason | None:
    """Why the key does not hold; None if it does."""
    verified = await kavach.keys.verify(key if isinstance(key, str) else key.key or "")
    return None if not hasattr(verified, "code") else verified.code


async def test_a_key_has_its_scopes_and_what_it_may_give(kavach: Kavach) -> None:
    key = await kavach.keys.create(name="ci", scopes=["agents:read", Scope.AUTHORIZE], grantable=["read:repos"])
    assert key.key and key.key.startswith("kv_live_") and key.key.endswith(key.hint) and len(key.hint) == 4
    identity = await kavach.keys.verify(key.key)
    assert (identity.id, identity.name) == (key.id, "ci")  # type: ignore[union-attr]
    assert identity.has_scope("authorize") and not identity.has_scope("agents:write")  # type: ignore[union-attr]
    assert tuple(identity.grantable) == parse_permissions(["read:repos"])  # type: ignore[union-attr]
    assert (await kavach.keys.get(key.id)).key is None
    everything = await kavach.keys.verify((await kavach.keys.create(name="all", scopes=["*"])).key or "")
    assert all(everything.has_scope(scope) for scope in (*Scope, "of:tomorrow"))  # type: ignore[union-attr]
    assert [found.name for found in await kavach.keys.list()] == ["all", "ci"]


async def test_a_test_key_is_refused_where_the_app_is_reached_over_https(open_kavach: OpenKavach) -> None:
    local, public = await open_kavach(), await open_kavach(base_url="https://app.example", secret="s" * 32)
    test, live = [await local.keys.create(name="k", scopes=["*"], test=test) for test in (True, False)]
    assert test.test and (test.key or "").startswith("kv_test_")
    assert [await end_of(local, key) for key in (test, live)] == [None, None]
    assert [await end_of(public, key) for key in (test, live)] == [Reason.TEST_KEY_REFUSED, None]
    assert (await local.keys.rotate(test.id)).key.startswith("kv_test_")  # type: ignore[union-attr]


async def test_keys_end_by_rotating_revoking_and_in_time(kavach: Kavach, clock: FrozenClock) -> None:
    key = await kavach.keys.create(
        name="ci", scopes=["*"], grantable=["read:a"], expires_at=clock.now + timedelta(hours=1)
    )
    rotated = await kavach.keys.rotate(key.id)
    assert (rotated.id, rotated.scopes, rotated.grantable, rotated.expires_at) == (
        key.id,
        key.scopes,
        key.grantable,
        key.expires_at,
    )
    assert [await end_of(kavach, each) for each in (key, rotated)] == [Reason.UNKNOWN_CREDENTIAL, None]
    clock.advance("1h")
    assert await end_of(kavach, rotated) is Reason.KEY_ENDED
    other = await kavach.keys.create(name="x", scopes=["*"])
    await kavach.keys.revoke(other.id)
    await kavach.keys.revoke(other.id)
    assert await end_of(kavach, other) is Reason.KEY_ENDED and (await kavach.keys.get(other.id)).revoked_at == clock.now
    with pytest.raises(FinalState):
        await kavach.keys.rotate(other.id)
    assert await events(kavach) == ["key.created", "key.rotated", "key.created", "key.revoked"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\x00"},
        {"scopes": []},
        {"scopes": ["agents"]},
        {"scopes": ["agents:read "]},
        {"grantable": ["nonsense"]},
        {"grantable": "read:repos"},
    ],
    ids=str,
)
async def test_bad_input_makes_no_key(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.keys.create(**{"name": "ci", "scopes": ["*"], **wrong})
    assert await count(sqlite_kavach, "kavach_api_keys") == 0


async def test_a_key_that_ends_in_the_past_is_not_made(sqlite_kavach: Kavach, clock: FrozenClock) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.keys.create(name="ci", scopes=["*"], expires_at=clock.now)


async def test_unknown_and_malformed_keys_are_told_apart_from_nothing(kavach: Kavach) -> None:
    key = await kavach.keys.create(name="ci", scopes=["*"])
    session = await kavach.sessions.create("alice")
    for bad in ("", "kv_live_", (key.key or "")[:-1], session.token or ""):
        assert await end_of(kavach, bad) is Reason.MALFORMED_CREDENTIAL
    for unknown in ("key_" + "0" * 32, "key_x"):
        for use in (kavach.keys.get, kavach.keys.rotate, kavach.keys.revoke):
            with pytest.raises(NotFound):
                await use(unknown)
