"""One batch of calls: load the facts of all, decide each, record all. The lane commits and answers.

This is the whole hot path, in the order it runs. A batch may run more than once; what it would change in memory is kept
aside and applied when it is committed.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from kavach_core.capabilities.audit import Record
from kavach_core.capabilities.audit import queries as audit
from kavach_core.capabilities.authorize.model import Decision, Question
from kavach_core.capabilities.authorize.outcome import Outcome, turned_away_record
from kavach_core.capabilities.authorize.policy import choose, claims_of, plan
from kavach_core.capabilities.authorize.throttle import Refused, Throttle, close, is_closed
from kavach_core.capabilities.delegation import AgentFacts, Facts, load_facts
from kavach_core.capabilities.limits import Window, keys
from kavach_core.capabilities.limits import queries as limits
from kavach_core.capabilities.limits.model import minute_ends_in
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.primitives.clock import SECOND, idle_from
from kavach_core.primitives.reasons import Reason
from kavach_core.store import Transaction

# Not if the `ttl` was changed after the facts were read: what was computed with the old one could come too late.
_USED: Final = """
update kavach_agents set last_used_at = $3, idle_at = $4
where project_id = $1 and id = $2 and (last_used_at is null or last_used_at < $3) and coalesce(ttl, -1) = $5
"""


@dataclass(slots=True)
class _Written:
    """What a batch changes in memory once it is committed."""

    now: int = 0
    rows: int = 0
    closed: set[Refused] = field(default_factory=set[Refused])
    turned_away: Counter[Refused] = field(default_factory=Counter[Refused])
    told: list[Refused] = field(default_factory=list[Refused])


class DecisionWorker:
    """Decides and records batches for one project. One per Kavach; one writer of the audit."""

    def __init__(self, project: str, sets: PermissionSets, *, refused_per_minute: int | None) -> None:
        self._project = project
        self._sets = sets
        self._throttle = Throttle(refused_per_minute)
        self._writer = uuid.uuid4().bytes
        self._sequence = 0
        self._written = _Written()

    def close(self) -> bool:
        """Have the next batch tell all that was turned away; returns whether there is anything to tell."""
        self._throttle.closing = True
        return bool(self._throttle.agents)

    async def run(self, tx: Transaction, questions: Sequence[Question]) -> Sequence[Decision]:
        """Answer every question, in arrival order, on facts read in this transaction."""
        facts = await self._load(tx, questions)
        self._written = _Written(now=facts.now)
        outcomes = [self._look(question, facts) for question in questions]
        await self._decide(tx, outcomes, facts)
        await self._count(tx, outcomes)
        records = self._overdue(tx, facts)
        records += self._records(tx, outcomes, facts, first=self._sequence + len(records))
        self._written.rows = len(records)
        if records:
            await audit.insert(tx, self._project, records)
        await self._touch_agents(tx, outcomes, facts)
        return [outcome.to_decision(facts) for outcome in outcomes]

    def committed(self) -> None:
        """The last batch is durable: its numbers are taken, its refusals remembered."""
        written = self._written
        self._sequence += written.rows
        self._throttle.apply(written.turned_away, written.told, written.now)

    def lost(self) -> None:
        """Nobody knows whether the last batch is durable: leave its numbers alone and go on as another writer."""
        self._writer, self._sequence = uuid.uuid4().bytes, 0

    async def _load(self, tx: Transaction, questions: Sequence[Question]) -> Facts:
        tokens = [question.credential for question in questions if question.credential is not None]
        agents = [question.agent_id for question in questions if question.agent_id is not None]
        agents += self._throttle.agents
        return await load_facts(tx, self._project, self._sets, tokens=tokens, agents=agents)

    def _look(self, question: Question, facts: Facts) -> Outcome:
        """The stateless part: who is meant, do they live, and what do their grants say?"""
        agent, reason = _identify(question, facts)
        if agent is not None and question.throttled:
            caller = _caller(question, agent, reason)
            if self._throttle.per_minute is not None and is_closed(caller, facts):
                self._written.turned_away[caller] += 1
                return Outcome(question, agent, Reason.TOO_MANY_REFUSALS, retry_after=minute_ends_in(facts.now))
        if reason is not None or agent is None or question.request is None:
            return Outcome(question, agent, reason or Reason.ALLOWED)
        return Outcome(question, agent, Reason.ALLOWED, plan=plan(agent, question.request, facts))

    async def _decide(self, tx: Transaction, outcomes: Sequence[Outcome], facts: Facts) -> None:
        """The counted part, in arrival order: rates are locked together, taken in memory and written back once."""
        wanted = {key for outcome in outcomes if outcome.plan is not None for key in claims_of(outcome.plan)}
        windows = await limits.lock(tx, self._project, wanted) if wanted else {}
        taken: dict[bytes, Window] = {}
        for outcome in outcomes:
            if outcome.plan is None or outcome.agent is None:
                continue
            verdict = choose(outcome.agent, outcome.plan, facts, windows)
            outcome.verdict, outcome.reason, outcome.retry_after = verdict, verdict.reason, verdict.retry_after
            if outcome.consumes:
                for claim in verdict.claims:
                    windows[claim.key].take()
                    taken[claim.key] = windows[claim.key]
        if taken:
            await limits.write(tx, self._project, taken)

    async def _count(self, tx: Transaction, outcomes: Sequence[Outcome]) -> None:
        """Count refusals per agent, turning away those past the limit, and credentials of nobody per address."""
        counted = {key for outcome in outcomes if (key := self._counter_of(outcome)) is not None}
        if not counted:
            return
        windows = await limits.lock(tx, self._project, counted)
        for outcome in outcomes:
            key = self._counter_of(outcome)
            if key is not None:
                self._take_refusal(outcome, windows[key])
        await limits.write(tx, self._project, windows)

    def _counter_of(self, outcome: Outcome) -> bytes | None:
        if outcome.reason is Reason.UNKNOWN_CREDENTIAL:
            return keys.unknown(outcome.question.origin.address)
        if outcome.agent is None or self._throttle.per_minute is None or not outcome.counts_as_refused:
            return None
        if outcome.reason is Reason.TOO_MANY_REFUSALS:
            return None
        return keys.refused(_caller(outcome.question, outcome.agent, outcome.reason).counted)

    def _take_refusal(self, outcome: Outcome, window: Window) -> None:
        limit, agent = self._throttle.per_minute, outcome.agent
        if agent is None or limit is None:
            window.take()
            return
        caller = _caller(outcome.question, agent, outcome.reason)
        if window.minute >= limit:
            outcome.turn_away(minute_ends_in(self._written.now))
            self._written.turned_away[caller] += 1
            return
        window.take()
        if window.minute >= limit:
            self._written.closed.add(caller)

    def _overdue(self, tx: Transaction, facts: Facts) -> list[Record]:
        """One row for each caller whose minute of being turned away is over."""
        records: list[Record] = []
        for caller, calls in self._throttle.ended(facts.now):
            agent = facts.agents.get(caller.agent_id)
            if agent is None:
                continue
            self._written.told.append(caller)
            place = self._sequence + len(records)
            records.append(
                turned_away_record(agent, facts, calls, record_id=tx.new_id(), writer=self._writer, sequence=place)
            )
        return records

    def _records(self, tx: Transaction, outcomes: Iterable[Outcome], facts: Facts, *, first: int) -> Iterator[Record]:
        sequence = count(first)
        for outcome in outcomes:
            if outcome.is_recorded:
                outcome.record_id = tx.new_id()
                yield outcome.to_record(facts, writer=self._writer, sequence=next(sequence))

    async def _touch_agents(self, tx: Transaction, outcomes: Iterable[Outcome], facts: Facts) -> None:
        """An allowed call is a use by every agent on its path; one refusal too many closes the door."""
        now = facts.now
        used = {
            link.agent_id
            for outcome in outcomes
            if outcome.consumes and outcome.verdict is not None
            for link in outcome.verdict.path
            if _is_due(facts.agents[link.agent_id], now)
        }
        if self._written.closed:
            await close(tx, self._project, self._written.closed, also_changed=used)
        if used:
            ttls = [(agent_id, facts.agents[agent_id].ttl) for agent_id in sorted(used)]
            slid = [(self._project, each, now, idle_from(now, ttl), -1 if ttl is None else ttl) for each, ttl in ttls]
            await tx.execute_each(_USED, slid)


def _identify(question: Question, facts: Facts) -> tuple[AgentFacts | None, Reason | None]:
    """The agent a question is about, and why it or its credential does not hold."""
    agent_id = question.agent_id
    if question.credential is not None:
        credential = facts.credentials.get(question.credential)
        if credential is None:
            return None, Reason.UNKNOWN_CREDENTIAL
        agent_id = credential.agent_id
        if credential.retired_at is not None:
            return facts.agents.get(agent_id), Reason.TOKEN_ROTATED
    agent = None if agent_id is None else facts.agents.get(agent_id)
    return agent, Reason.UNKNOWN_AGENT if agent is None else facts.agent_end(agent.id)


def _caller(question: Question, agent: AgentFacts, reason: Reason | None) -> Refused:
    """Whom a refusal counts against: the agent, but for a token it no longer has that token alone."""
    return Refused(agent.id, question.credential if reason is Reason.TOKEN_ROTATED else None)


def _is_due(agent: AgentFacts, now: int) -> bool:
    """Whether the time of last use is written again: at most once a second, or 20 times per `ttl`."""
    pause = SECOND if agent.ttl is None else max(SECOND, agent.ttl // 20)
    return agent.last_used_at is None or now - agent.last_used_at >= pause
