"""What the history of reservations says about budgets, whatever the database says about itself.

Nobody outside knows when exactly something was counted; it was between the moment a call began and the one it ended.
So there are two curves for each budget: the least that was surely spent or reserved, which must never be above the
limit, and the most that may have been, which must have left too little for every call that was refused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

#: Nanoseconds: how long a reservation that nobody settles is held, and how much later it may fall back.
_SECOND = 1_000_000_000
LEASE, LATE = _SECOND, _SECOND // 16
#: How long after the end of a process the database may still carry out what it was sent.
_SLACK = _SECOND // 10


@dataclass
class Call:
    """One call as its process told it, and what is on record of it."""

    agent: int
    cost: int
    begin: int
    #: When its process was seen to be gone, for a call that was not answered.
    dead: int = 0
    end: int = 0
    code: str | None = None
    audit_id: str | None = None
    settle_begin: int = 0
    settle_end: int = 0
    #: On record: whether it was allowed, and what it cost if it was settled.
    allowed: bool = False
    actual: int | None = None

    @property
    def refused(self) -> bool:
        """Whether its caller was told that there is not enough left."""
        return self.code == "BUDGET_EXCEEDED"

    @property
    def latest_end(self) -> int:
        """The last moment at which it may have been decided."""
        return self.end or self.dead + _SLACK

    @property
    def latest_release(self) -> int:
        """The last moment at which it may have held all that it reserved."""
        if self.actual is not None:
            return self.settle_end or self.dead + _SLACK
        return self.latest_end + LEASE + LATE

    @property
    def earliest_release(self) -> int:
        """The first moment at which it may have held less than it reserved."""
        return self.settle_begin if self.actual is not None else self.begin + LEASE


class Limit(NamedTuple):
    """A budget: of calls or of cost, and the agents whose calls it is charged for."""

    name: str
    measures_calls: bool
    most: int
    agents: frozenset[int]

    def needs(self, call: Call) -> int:
        """What a call needs to be left."""
        return 1 if self.measures_calls else call.cost


class Curve:
    """An amount that changes from moment to moment."""

    def __init__(self, changes: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(changes)
        self._moments = [moment for moment, _ in ordered]
        self._amounts = [0, *accumulate(change for _, change in ordered)]

    def most(self, begin: int, end: int) -> int:
        """The largest amount at any moment from `begin` to `end`."""
        first, last = bisect_right(self._moments, begin), bisect_right(self._moments, end)
        return max(self._amounts[first : last + 1])

    @property
    def peak(self) -> int:
        """The largest amount of all."""
        return max(self._amounts)


@dataclass
class Verdict:
    """What a history says."""

    #: By budget, the units that were surely spent above its limit.
    overspent: dict[str, int] = field(default_factory=dict[str, int])
    #: Calls that were refused although there was enough in every budget all the time.
    wrongly_refused: list[Call] = field(default_factory=list[Call])
    #: By budget, how many refusals it alone explains, which tells that each was put to the test.
    explained: dict[str, int] = field(default_factory=dict[str, int])


def judge(calls: Iterable[Call], limits: Iterable[Limit]) -> Verdict:
    """Compare what callers saw with what budgets allow."""
    verdict, left = Verdict(), {}
    charged = list(limits)
    everything = list(calls)
    for limit in charged:
        counted = [call for call in everything if call.allowed and call.agent in limit.agents]
        least = Curve(change for call in counted for change in _surely(call, limit))
        verdict.overspent[limit.name] = max(0, least.peak - limit.most)
        left[limit.name] = Curve(change for call in counted for change in _possibly(call, limit))
    for call in everything:
        if call.refused:
            _explain(call, charged, left, verdict)
    return verdict


def _explain(call: Call, limits: Iterable[Limit], most: Mapping[str, Curve], verdict: Verdict) -> None:
    short = [
        limit.name
        for limit in limits
        if call.agent in limit.agents and most[limit.name].most(call.begin, call.end) + limit.needs(call) > limit.most
    ]
    if not short:
        verdict.wrongly_refused.append(call)
    elif len(short) == 1:
        verdict.explained[short[0]] = verdict.explained.get(short[0], 0) + 1


def _surely(call: Call, limit: Limit) -> Iterable[tuple[int, int]]:
    if limit.measures_calls:
        return [(call.latest_end, 1)]
    kept = call.actual or 0
    if call.earliest_release <= call.latest_end:
        return [(call.latest_end, kept)]
    return [(call.latest_end, call.cost), (call.earliest_release, kept - call.cost)]


def _possibly(call: Call, limit: Limit) -> Iterable[tuple[int, int]]:
    if limit.measures_calls:
        return [(call.begin, 1)]
    kept = call.actual or 0
    return [(call.begin, call.cost), (call.latest_release, kept - call.cost)]
