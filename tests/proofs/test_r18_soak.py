"""R18: half of what it can carry, with everything switched on, for a long time: no errors, and nothing that grows.

`KAVACH_SOAK_MINUTES` says how long, half an hour unless it does.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kavach_core import Agent, Kavach, Session, create_kavach
from kavach_core.errors import Conflict, KavachError
from tests.capabilities.support import ask, limited, make_agent, select
from tests.proofs.memory import resident

_MINUTES = float(os.environ.get("KAVACH_SOAK_MINUTES", "30"))
_SAMPLES = 60
_OWNERS, _AGENTS = 20, 6
#: Seconds of calls without a pause that say how much it can carry.
_PROBE = 3.0
_AT_ONCE = 64
_MB = 1 << 20

pytestmark = [pytest.mark.long, pytest.mark.timeout(int(_MINUTES * 60) + 600)]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is used at a moment, in seconds, megabytes and numbers, and how many errors there were until then."""

    at: float
    resident: float
    descriptors: int
    wal: float
    errors: int


@dataclass
class Load:
    """Calls of all kinds, by agents of several owners."""

    kavach: Kavach
    agents: list[Agent] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    chance: random.Random = field(default_factory=lambda: random.Random(18))

    async def prepare(self) -> None:
        """Owners with budgets and rights, and agents with rates, approvals, delegations and an end by inactivity."""
        permissions = [
            "read:repos",
            limited("repos", "list", maxCallsPerHour=10**6),
            limited("bills", "pay", requireApproval=True),
        ]
        for number in range(_OWNERS):
            owner = f"owner-{number}"
            for measure in ("calls", "cost"):
                await self.kavach.budgets.create(measure=measure, limit=10**12, per="day", owner_id=owner)
            await self.kavach.owners.set_permissions(owner, ["*:**", "*:*"])
            for _ in range(_AGENTS // 2):
                root = await make_agent(self.kavach, *permissions, owner_id=owner, ttl="2h")
                self.agents += [root, await self.kavach.agents.delegate(from_=root.id, permissions=["read:repos"])]
            self.sessions.append(await self.kavach.sessions.create(owner))

    async def call(self) -> None:
        """One of them, counted, and so is an error that nobody expects."""
        name = self.chance.choices(list(_MIX), [share for share, _ in _MIX.values()])[0]
        self.calls[name] += 1
        try:
            await _MIX[name][1](self)
        except KavachError as error:
            self.errors[f"{name}: {error.public_code}"] += 1

    @property
    def token(self) -> str:
        return self.chance.choice(self.agents).token or ""

    async def read(self) -> None:
        if not await ask(self.kavach, self.token):
            self.errors["read: denied"] += 1

    async def refused(self) -> None:
        await ask(self.kavach, self.token, "write:repos", arguments={"path": "a" * 200, "password": "secret"})

    async def settled(self) -> None:
        decision = await ask(self.kavach, self.token, cost=10)
        await self.kavach.settle(decision.audit_id or "", 7)

    async def rated(self) -> None:
        await ask(self.kavach, self.token, "list:repos")

    async def approved(self) -> None:
        agent = self.agents[self.chance.randrange(len(self.agents) // 2) * 2]
        asked = await ask(self.kavach, agent.token, "pay:bills", arguments={"to": self.chance.randrange(5)})
        if asked.code == "APPROVAL_REQUIRED" and asked.approval_id:
            try:
                await self.kavach.approvals.approve(asked.approval_id, by="somebody")
            except Conflict:
                return  # somebody else was faster

    async def churned(self) -> None:
        agent = await make_agent(self.kavach, owner_id=f"owner-{self.chance.randrange(_OWNERS)}")
        await self.kavach.agents.rotate(agent.id)
        await self.kavach.agents.revoke(agent.id)

    async def signed_in(self) -> None:
        if not await self.kavach.sessions.verify(self.chance.choice(self.sessions).token):
            self.errors["session: refused"] += 1

    async def looked(self) -> None:
        agent = self.chance.choice(self.agents)
        await self.kavach.audit.query(agent_id=agent.id, limit=50)
        await self.kavach.remaining(agent.id)

    async def verified(self) -> None:
        await self.kavach.agents.verify(self.token)


_MIX: dict[str, tuple[float, Callable[[Load], Awaitable[None]]]] = {
    "read": (50, Load.read),
    "refused": (10, Load.refused),
    "settled": (8, Load.settled),
    "rated": (8, Load.rated),
    "approved": (4, Load.approved),
    "churned": (1, Load.churned),
    "signed in": (10, Load.signed_in),
    "looked": (2, Load.looked),
    "verified": (7, Load.verified),
}


@pytest.mark.parametrize("minutes", [1 / 6, _MINUTES])
async def test_half_load_for_long_makes_no_errors_and_nothing_grows(
    database_url: str, minutes: float, figure: Callable[[str], None]
) -> None:
    async with await create_kavach(database=database_url, refused_per_minute=None) as kavach:
        load = Load(kavach)
        await load.prepare()
        rate = await _capacity(load) / 2
        samples = await _soak(load, rate, minutes * 60)
    settled = samples[len(samples) // 3 :]
    slope = _slope([(each.at, each.resident) for each in settled]) * 600
    figure(
        f"R18 {minutes:.1f} min at {rate:.0f} calls/s, {load.calls.total():,} calls: {load.errors.total()} errors,"
        f" memory {slope:+.2f} MB per 10 min at {samples[-1].resident:.0f} MB, descriptors"
        f" {settled[0].descriptors} to {settled[-1].descriptors}, WAL at most {max(s.wal for s in samples):.0f} MB"
        f" ({database_url.partition(':')[0]})"
    )
    assert not load.errors, [(round(each.at), each.errors) for each in samples]
    assert settled[-1].descriptors <= settled[0].descriptors
    assert max(each.wal for each in samples) < (128 if database_url.startswith("sqlite") else 1100)
    assert slope < 1 or minutes < 20  # before that, caches of pages and statements still fill


async def _capacity(load: Load) -> float:
    """Calls a second without a pause."""
    ends, before = time.monotonic() + _PROBE, load.calls.total()

    async def call() -> None:
        while time.monotonic() < ends:
            await load.call()

    await asyncio.gather(*[call() for _ in range(_AT_ONCE)])
    return (load.calls.total() - before) / _PROBE


async def _soak(load: Load, rate: float, seconds: float) -> list[Sample]:
    """Begin calls at this rate, whatever becomes of those before; but never more than four seconds' worth at once."""
    began, begun = time.monotonic(), 0
    samples: list[Sample] = []
    under_way: set[asyncio.Task[None]] = set()
    while (passed := time.monotonic() - began) < seconds:
        if passed >= len(samples) * seconds / _SAMPLES:
            samples.append(await _sample(load, passed))
        for _ in range(min(int(rate * passed) - begun, int(rate * 4) - len(under_way))):
            task = asyncio.create_task(load.call())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            begun += 1
        begun = max(begun, int(rate * passed))
        await asyncio.sleep(0.005)
    await asyncio.gather(*under_way)
    return [*samples, await _sample(load, seconds)]


async def _sample(load: Load, at: float) -> Sample:
    kavach = load.kavach
    if kavach.config.database.startswith("sqlite"):
        wal = _size(f"{kavach.config.database.removeprefix('sqlite:///')}-wal")
    else:
        wal = int((await select(kavach, "select cast(sum(size) as bigint) from pg_ls_waldir()"))[0][0])
    return Sample(at, resident() / _MB, _descriptors(), wal / _MB, load.errors.total())


def _size(path: str) -> int:
    return Path(path).stat().st_size


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _slope(points: list[tuple[float, float]]) -> float:
    """By least squares, per second."""
    middle = sum(x for x, _ in points) / len(points)
    height = sum(y for _, y in points) / len(points)
    return sum((x - middle) * (y - height) for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def test_a_leak_has_a_slope() -> None:
    """The negative control: a megabyte in ten minutes is seen through what goes up and down."""
    noise = random.Random(1)
    flat = [(at, 100 + noise.uniform(-1, 1)) for at in range(0, 1800, 30)]
    assert abs(_slope(flat) * 600) < 1
    assert _slope([(at, resident + at / 300) for at, resident in flat]) * 600 > 1
