"""Counters of attempts: nobody uses up another's, and none is kept once nothing it holds counts any more."""

from __future__ import annotations

import pytest

from kavach_core import Kavach, Reason
from kavach_core.capabilities.limits import Attempt, keys
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, count
from tests.passkeys.support import code_of

_LIMITED = {"resource": "repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 1}}


async def test_only_counters_that_nobody_counted_in_for_a_day_are_forgotten(kavach: Kavach, clock: FrozenClock) -> None:
    agent = await kavach.agents.create(owner_id="alice", name="reader", permissions=[_LIMITED])
    assert await kavach.authorize(agent.id, action="read", resource="repos")
    clock.advance("23h")
    assert await kavach.limits.prune() == 0
    clock.advance("2h")
    assert await kavach.authorize(agent.id, action="read", resource="repos")
    assert await kavach.limits.prune() == 0
    assert (await kavach.authorize(agent.id, action="read", resource="repos")).code is Reason.RATE_LIMITED
    clock.advance("25h")
    assert await kavach.limits.prune() == 1


async def test_what_strangers_fill_the_table_with_goes_as_others_come(kavach: Kavach, clock: FrozenClock) -> None:
    for number in range(40):
        await kavach.limits.attempt(Attempt(account=f"{number}@example.org", address=f"203.0.113.{number}"))
    assert await count(kavach, "kavach_counters") == 120
    clock.advance("1h")
    await kavach.limits.attempt(Attempt(address="192.0.2.1"))
    assert await count(kavach, "kavach_counters") == 121, "an hour still counts"
    clock.advance("61m")
    for number in range(20):
        await kavach.limits.attempt(Attempt(account=f"new-{number}@example.org", address="192.0.2.1"))
    assert await count(kavach, "kavach_counters") == 41


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        # 198.51.100.7 and this address had one counter, as 4,096 and a checksum without a secret let anybody find out.
        ("198.51.100.7", "2001:db8::f9a", False),
        ("2001:db8:1::1", "2001:db8:1::2:ffff:1", True),
        ("2001:db8:1:0:ffff::1", "2001:db8:1:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "another", False),
    ],
)
def test_addresses_share_a_counter_only_where_one_customer_has_both(one: str, other: str, is_shared: bool) -> None:
    for key in (keys.attempts_from, keys.begun_from, keys.sign_ups_from):
        assert (key(one) == key(other)) is is_shared
    assert (keys.attempts_at("ada", one) == keys.attempts_at("ada", other)) is is_shared
    assert len({keys.attempts_from(one), keys.begun_from(one), keys.sign_ups_from(one), keys.attempts_of(one)}) == 4


async def test_a_success_takes_its_attempt_back(open_kavach: OpenKavach, clock: FrozenClock) -> None:
    """Whichever minute it was counted in."""
    limits = (await open_kavach(attempts_per_account=2, attempts_per_address=2)).limits
    attempt = Attempt(account="ada@example.org", address="192.0.2.1")
    for _ in range(4):
        await limits.attempt(attempt)
        clock.advance("1m")
        await limits._store.transact(limits.succeed_in, attempt)
    codes = [await code_of(limits.attempt(attempt)) for _ in range(3)]
    assert codes == ["ok", "ok", "RATE_LIMITED"]


async def test_asking_for_accounts_keeps_nobody_from_their_own(open_kavach: OpenKavach) -> None:
    limits = (await open_kavach(attempts_per_address=1)).limits
    sign_up = [limits._store.transact(limits.sign_up_in, "192.0.2.1", "ada@example.org") for _ in range(2)]
    assert [await code_of(each) for each in sign_up] == ["ok", "RATE_LIMITED"]
    assert await code_of(limits.attempt(Attempt(account="ada@example.org", address="192.0.2.1"))) == "ok"
