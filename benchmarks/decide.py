"""What deciding alone costs: facts in memory, no store, no clock. One operation decides one call of a batch of 64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import quantiles
from typing import Final

from benchmarks.report import Goal, Row, print_goals, print_rows
from benchmarks.world import ACTION, RESOURCE, other_resources, permission_set
from kavach_core.capabilities.authorize.policy import Stock, decide
from kavach_core.capabilities.delegation import AgentFacts, Edge, Facts
from kavach_core.primitives.clock import NEVER
from kavach_core.primitives.permissions import AccessRequest, PermissionSet

BATCH: Final = 64
_NOW: Final = 1_800_000_000_000_000
_EMPTY: Final = PermissionSet.of(())


#: Decides once for every agent; returns the seconds of CPU that all of it took.
Batch = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked. `resource` that nobody was granted makes it a denial."""

    name: str
    chain: int
    permissions: int
    resource: str = RESOURCE
    #: Whether every call asks for a resource that nobody asked for before.
    varies: bool = False


USUAL: Final = Case(name="permissions_50", chain=3, permissions=50)
VARIED: Final = replace(USUAL, name="permissions_50, resources vary", varies=True)
_CASES: Final = (
    *(replace(USUAL, chain=chain) for chain in (0, 1, 3, 10)),
    *(Case(name=f"permissions_{count}", chain=3, permissions=count) for count in (10, 1000)),
    VARIED,
    Case(name="denied", chain=3, permissions=50, resource="nothing:here"),
)


_NOTHING_COUNTED = Stock({}, {})


async def run(quick: bool) -> Sequence[Row]:
    """Measure every case, print the table and the target, return the rows."""
    rows = [_measure(case, seconds=0.5 if quick else 3.0) for case in _CASES]
    print_rows("decide, in memory", rows)
    print_goals([*goals_of(rows)])
    return rows


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The target, also where no answer can be remembered from a call before."""
    for row in rows:
        if row.variant in (USUAL.name, VARIED.name) and row.chain == USUAL.chain:
            yield Goal(f"chain of 3, {row.variant}: CPU in µs", row.cpu_us, 20)


def _measure(case: Case, *, seconds: float) -> Row:
    batch = batches_of(case)
    batch()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        took.append(batch())
    return row_of("decide", case.name, took, chain=case.chain)


def batches_of(case: Case) -> Batch:
    """What decides a case for a batch of agents, each with a chain of its own."""
    permissions = permission_set(case.permissions)
    agents, edges, acting = _world(case.chain, permissions)
    sets = {permissions.digest: permissions, _EMPTY.digest: _EMPTY}
    new = other_resources(case.permissions)

    def batch() -> float:
        # Facts of their own for each batch, as in the worker: they remember answers about life and paths.
        facts = Facts(now=_NOW, agents=agents, edges=edges, credentials={}, sets=sets)
        return _decide_batch(facts, acting, [next(new) if case.varies else case.resource for _ in acting])

    return batch


def _decide_batch(facts: Facts, acting: Sequence[bytes], resources: Sequence[str]) -> float:
    """Seconds of CPU for liveness and decision of each acting agent."""
    requests = [AccessRequest.of(action=ACTION, resource=resource) for resource in resources]
    start = time.thread_time()
    for agent_id, request in zip(acting, requests, strict=True):
        if facts.agent_end(agent_id) is not None:
            raise RuntimeError("the agents of this bench live")
        decide(facts.agents[agent_id], request, facts, _NOTHING_COUNTED)
    return time.thread_time() - start


def row_of(bench: str, variant: str, took: Sequence[float], *, chain: int, baseline: Row | None = None) -> Row:
    """What batches took, as a row."""
    mean = sum(took) / len(took) / BATCH
    cuts = quantiles((batch / BATCH for batch in took), n=100)
    return Row(
        bench=bench,
        backend="memory",
        variant=variant,
        concurrency=1,
        chain=chain,
        ops_per_s=1 / mean,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        cpu_us=mean * 1e6,
        server_cpu_us=0.0,
        ratio=None if baseline is None else baseline.cpu_us / (mean * 1e6),
        cpu_ratio=None if baseline is None else mean * 1e6 / baseline.cpu_us,
        baseline=None if baseline is None else baseline.variant,
        batch=BATCH,
        durability="nothing is written",
        database_version="none",
    )


def _world(chain: int, permissions: PermissionSet) -> tuple[dict[bytes, AgentFacts], dict[bytes, Edge], list[bytes]]:
    """As many chains as there are calls in a batch; returns agents, delegations and who acts."""
    agents: dict[bytes, AgentFacts] = {}
    edges: dict[bytes, Edge] = {}
    acting: list[bytes] = []
    for number in range(BATCH):
        line = [_id(number, depth) for depth in range(chain + 1)]
        for depth, agent_id in enumerate(line):
            founding = agent_id if depth else None
            agents[agent_id] = _agent(agent_id, permissions if depth == 0 else _EMPTY, founding)
        for depth, (giver, receiver) in enumerate(pairwise(line), start=1):
            # A delegation has the id of its receiver: ids of different kinds never meet.
            source = giver if depth > 1 else None
            edges[receiver] = Edge(receiver, giver, receiver, source, depth, chain, permissions.digest, NEVER, None)
        acting.append(line[-1])
    return agents, edges, acting


def _id(number: int, depth: int) -> bytes:
    return (number * 100 + depth).to_bytes(16, "big")


def _agent(agent_id: bytes, permissions: PermissionSet, founding: bytes | None) -> AgentFacts:
    return AgentFacts(
        id=agent_id,
        owner_id="owner",
        name="bench",
        type="autonomous",
        permissions=permissions.digest,
        founding_id=founding,
        ttl=None,
        idle_at=NEVER,
        expires_at=NEVER,
        last_used_at=_NOW,
        revoked_at=None,
        suspended_at=None,
    )
