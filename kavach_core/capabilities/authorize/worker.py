"""One batch of calls: load the facts of all, decide each, record all. The lane commits and answers.

This is the whole hot path, in the order it runs. A batch may run more than once; what it would change in memory is kept
aside and applied when it is committed.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kavach_core.capabilities.audit import Record
from kavach_core.capabilities.audit import queries as audit
from kavach_core.capabilities.authorize import effects
from kavach_core.capabilities.authorize.asking import ask_humans
from kavach_core.capabilities.authorize.claims import Claims
from kavach_core.capabilities.authorize.model import Decision, OwnerUnknown, Question, Settlement, Settling
from kavach_core.capabilities.authorize.outcome import Outcome, Settled, turned_away_record
from kavach_core.capabilities.authorize.policy import plan
from kavach_core.capabilities.authorize.throttle import Refused, Throttle, is_closed
from kavach_core.capabilities.delegation import AgentFacts, Facts, load_facts
from kavach_core.capabilities.limits import Window, keys
from kavach_core.capabilities.limits import queries as limits
from kavach_core.capabilities.limits.model import minute_ends_in
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.config import Config
from kavach_core.errors import Conflict, NotFound
from kavach_core.primitives.reasons import Reason
from kavach_core.store import Transaction

Asked = Question | Settling
Answer = Decision | OwnerUnknown | Settlement | NotFound | Conflict


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

    def __init__(self, config: Config, sets: PermissionSets) -> None:
        self._config = config
        self._project = config.project
        self._sets = sets
        self._throttle = Throttle(config.refused_per_minute)
        self._writer = uuid.uuid4().bytes
        self._sequence = 0
        self._written = _Written()

    def close(self) -> bool:
        """Have the next batch tell all that was turned away; returns whether there is anything to tell."""
        self._throttle.closing = True
        return bool(self._throttle.agents)

    async def run(self, tx: Transaction, questions: Sequence[Asked]) -> Sequence[Answer]:
        """Answer every question, in arrival order, on facts read in this transaction."""
        facts = await self._load(tx, questions)
        self._written = _Written(now=facts.now)
        records = self._overdue(tx, facts)
        looked_at = [self._look(question, facts) for question in questions]
        outcomes = [each for each in looked_at if isinstance(each, Outcome)]
        claims = Claims(facts, settle_within=self._config.settle_within, fall_back=self._config.unsettled == "release")
        await claims.lock(tx, self._project, outcomes, [each for each in looked_at if isinstance(each, Settling)])
        done = [self._decide(tx, each, claims) for each in looked_at]
        await claims.write(tx, self._project)
        await self._count(tx, outcomes)
        await ask_humans(
            tx, self._project, outcomes, expired=claims.expired_approvals, lifetime=self._config.approval_lifetime
        )
        await self._record(tx, records, done, facts)
        await self._change(tx, outcomes, claims, facts)
        return [_answer(each, facts) for each in done]

    def committed(self) -> None:
        """The last batch is durable: its numbers are taken, its refusals remembered."""
        written = self._written
        self._sequence += written.rows
        self._throttle.apply(written.turned_away, written.told, written.now)

    def lost(self) -> None:
        """Nobody knows whether the last batch is durable: leave its numbers alone and go on as another writer."""
        self._writer, self._sequence = uuid.uuid4().bytes, 0

    async def _load(self, tx: Transaction, questions: Sequence[Asked]) -> Facts:
        asked = [question for question in questions if isinstance(question, Question)]
        tokens = [question.credential for question in asked if question.credential is not None]
        agents = [question.agent_id for question in asked if question.agent_id is not None]
        agents += self._throttle.agents
        return await load_facts(tx, self._project, self._sets, tokens=tokens, agents=agents)

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

    def _look(self, question: Asked, facts: Facts) -> Outcome | Settling:
        """The stateless part: who is meant, do they live, and what do their grants say?"""
        if isinstance(question, Settling):
            return question
        agent, reason = _identify(question, facts)
        if agent is not None and question.throttled:
            caller = _caller(question, agent, reason)
            if self._throttle.per_minute is not None and is_closed(caller, facts):
                self._written.turned_away[caller] += 1
                return Outcome(question, agent, Reason.TOO_MANY_REFUSALS, retry_after=minute_ends_in(facts.now))
        if reason is not None or agent is None or question.request is None:
            return Outcome(question, agent, reason or Reason.ALLOWED)
        return self._plan(question, agent, facts)

    def _plan(self, question: Question, agent: AgentFacts, facts: Facts) -> Outcome:
        rights = question.rights
        if self._config.owner_permissions is not None and (rights is None or rights.owner_id != agent.owner_id):
            return Outcome(question, agent, Reason.OWNER_NOT_PERMITTED, needs_rights_of=agent.owner_id)
        made = plan(agent, question.require_request(), facts, None if rights is None else rights.permissions)
        binding = question.binding(agent.id) if made.asks_for_approval else None
        return Outcome(question, agent, Reason.ALLOWED, plan=made, binding=binding)

    def _decide(
        self, tx: Transaction, asked: Outcome | Settling, claims: Claims
    ) -> Outcome | Settled | NotFound | Conflict:
        """The counted part. What a call takes is gone for those after it in the same batch."""
        if isinstance(asked, Settling):
            try:
                return claims.settle(asked, tx.new_id())
            except (NotFound, Conflict) as error:
                return error
        if asked.is_recorded:
            asked.record_id = tx.new_id()
        if asked.plan is not None:
            asked.settle(claims.choose(asked))
            claims.take(asked)
        return asked

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

    async def _record(
        self,
        tx: Transaction,
        records: list[Record],
        done: Sequence[Outcome | Settled | NotFound | Conflict],
        facts: Facts,
    ) -> None:
        """Append one row for each decision about a known agent and each settlement, behind those that were overdue."""
        for each in done:
            place = self._sequence + len(records)
            if isinstance(each, Settled):
                records.append(each.to_record(writer=self._writer, sequence=place))
            elif isinstance(each, Outcome) and each.is_recorded:
                records.append(each.to_record(facts, writer=self._writer, sequence=place))
        self._written.rows = len(records)
        if records:
            await audit.insert(tx, self._project, records)

    async def _change(self, tx: Transaction, outcomes: Sequence[Outcome], claims: Claims, facts: Facts) -> None:
        """An allowed call is a use by every agent on its path; one refusal too many closes the door; budgets end."""
        if claims.exceeded:
            await effects.tell_exceeded(tx, self._project, claims.exceeded)
        if claims.ending:
            await effects.end(tx, self._project, facts, claims.ending.values())
        used = {
            link.agent_id
            for outcome in outcomes
            if outcome.consumes and outcome.verdict is not None
            for link in outcome.verdict.path
        }
        await effects.change(tx, self._project, facts, used=used, closing=self._written.closed)


def _answer(done: Outcome | Settled | NotFound | Conflict, facts: Facts) -> Answer:
    if isinstance(done, Outcome):
        return done.to_answer(facts)
    return done.to_settlement() if isinstance(done, Settled) else done


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
