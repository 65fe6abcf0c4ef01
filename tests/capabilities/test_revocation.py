"""No call that begins after a revoke was acknowledged is allowed, in any process. Seen from two, on both databases."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kavach_core import Agent, DelegatedAgent, Kavach, create_kavach
from tests.capabilities.support import Home, make_agent

_ROOT = Path(__file__).parents[2]
_ENDS = ("revoke", "revoke the root", "cut the chain", "narrow the root", "suspend", "rotate")


class OtherProcess:
    """One that calls all the time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call_with(self, token: str) -> None:
        """Have it call with a token; returns when a call was allowed."""
        await self._tell(token)
        assert await self.hear() == "allowed"

    async def stop(self) -> dict[str, int]:
        """Have it stop a little later, and tell what it saw."""
        await self._tell("stop")
        seen: dict[str, int] = json.loads(await self.hear())
        return seen

    async def hear(self) -> str:
        assert self._process.stdout
        return (await self._process.stdout.readline()).decode().strip()

    async def _tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()


@asynccontextmanager
async def other_process(home: Home, variant: str) -> AsyncGenerator[OtherProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.capabilities.revocation_worker", home.database, home.project, variant),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        other = OtherProcess(process)
        assert await other.hear() == "ready"
        yield other
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


async def test_no_call_begun_after_an_acknowledged_revoke_is_allowed(home: Home) -> None:
    late, calls = await _rounds(home, "fresh", 96)
    assert late == 0 and calls > 96 * 12


async def test_the_same_check_catches_a_cache_of_decisions(home: Home) -> None:
    """The negative control: with answers remembered for 50 ms, calls after the revoke are allowed."""
    late, _ = await _rounds(home, "cached", 6)
    assert late > 0


async def _rounds(home: Home, variant: str, rounds: int) -> tuple[int, int]:
    """In how many rounds a call was allowed that began after the acknowledged revoke, and how many calls there were."""
    late = calls = 0
    async with (
        await create_kavach(database=home.database, project=home.project) as kavach,
        other_process(home, variant) as other,
    ):
        for number in range(rounds):
            root = await make_agent(kavach, owner_id=f"owner-{number}")
            child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
            leaf = await kavach.agents.delegate(from_=child.id, permissions=["read:repos"])
            await other.call_with(leaf.token or "")
            await _end(kavach, _ENDS[number % len(_ENDS)], root, child, leaf)
            acknowledged = time.monotonic_ns()
            seen = await other.stop()
            late += seen["last_allowed"] > acknowledged
            calls += seen["calls"]
    return late, calls


async def _end(kavach: Kavach, how: str, root: Agent, child: DelegatedAgent, leaf: Agent) -> None:
    """One of the ways in which the leaf's token stops working."""
    if how == "revoke":
        await kavach.agents.revoke(leaf.id)
    elif how == "revoke the root":
        await kavach.agents.revoke(root.id)
    elif how == "cut the chain":
        await kavach.delegations.revoke(child.delegation_id)
    elif how == "narrow the root":
        await kavach.agents.update(root.id, permissions=["read:issues"])
    elif how == "suspend":
        await kavach.owners.suspend(root.owner_id)
    else:
        await kavach.agents.rotate(leaf.id)


@pytest.mark.parametrize("how", _ENDS)
async def test_each_end_is_seen_by_another_kavach_on_the_next_call(home: Home, how: str) -> None:
    """Without a race: two Kavachs in one process."""
    async with (
        await create_kavach(database=home.database, project=home.project) as one,
        await create_kavach(database=home.database, project=home.project) as two,
    ):
        root = await make_agent(one)
        child = await one.agents.delegate(from_=root.id, permissions=["read:repos"])
        leaf = await one.agents.delegate(from_=child.id, permissions=["read:repos"])
        assert await two.authorize(leaf.token or "", action="read", resource="repos")
        await _end(one, how, root, child, leaf)
        assert not await two.authorize(leaf.token or "", action="read", resource="repos")
