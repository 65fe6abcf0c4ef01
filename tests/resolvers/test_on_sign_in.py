"""The hook runs when an owner is first seen: once, whoever arrives together; and nobody is let in before it did."""

from __future__ import annotations

import asyncio

import pytest

from kavach_core.errors import ConfigurationError
from kavach_core.resolvers import View, dev_user, on_sign_in
from kavach_core.resolvers.on_sign_in import OnSignIn
from tests.resolvers.support import config, view


class Hook:
    def __init__(self) -> None:
        self.called: list[str] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, owner_id: str) -> None:
        self.called.append(owner_id)
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no agent could be made")


async def by_cookie(request: View) -> str | None:
    return next(iter(request.cookies("user")), None)


def of(user: str) -> View:
    return view(("user", user))


async def test_it_runs_once_per_owner() -> None:
    hook = Hook()
    resolve = on_sign_in(by_cookie, hook)
    for user in ("alice", "bob", "alice", "alice", "bob"):
        assert await resolve(of(user)) == user
    assert hook.called == ["alice", "bob"]


async def test_it_does_not_run_for_nobody() -> None:
    hook = Hook()
    assert await on_sign_in(by_cookie, hook)(view()) is None
    assert hook.called == []


async def test_requests_that_arrive_together_wait_for_one_run() -> None:
    hook = Hook()
    hook.gate.clear()
    resolve = on_sign_in(by_cookie, hook)
    waiting = [asyncio.ensure_future(resolve(of("alice"))) for _ in range(20)]
    await asyncio.wait(waiting, timeout=0.05)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()  # whoever came first takes nothing with them
    hook.gate.set()
    assert await asyncio.gather(*waiting[1:]) == ["alice"] * 19
    assert hook.called == ["alice"]


async def test_a_failure_lets_nobody_in_and_is_tried_again() -> None:
    hook = Hook()
    hook.failures = 2
    resolve = on_sign_in(by_cookie, hook)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await resolve(of("alice"))
    assert await resolve(of("alice")) == "alice"
    assert await resolve(of("alice")) == "alice"
    assert hook.called == ["alice"] * 3


async def test_a_failure_nobody_waits_for_any_more_is_no_warning() -> None:
    hook = Hook()
    hook.failures = 1
    hook.gate.clear()
    waiting = asyncio.ensure_future(on_sign_in(by_cookie, hook)(of("alice")))
    await asyncio.wait([waiting], timeout=0.05)
    waiting.cancel()
    hook.gate.set()
    assert await asyncio.gather(waiting, return_exceptions=True) != ["alice"]


async def test_memory_is_bounded_by_those_seen_last() -> None:
    hook = Hook()
    resolve = OnSignIn(by_cookie, hook, most_owners=2)
    for user in ("alice", "bob", "alice", "carol", "alice"):
        await resolve(of(user))
    assert hook.called == ["alice", "bob", "carol"]
    await resolve(of("bob"))
    assert hook.called == ["alice", "bob", "carol", "bob"]


def test_it_refuses_to_start_where_the_resolver_inside_does() -> None:
    with pytest.raises(ConfigurationError):
        on_sign_in(dev_user("alice"), Hook()).check_config(config("https://app.example"))
