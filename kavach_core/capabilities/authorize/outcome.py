"""What became of one question in its batch, and how that is told to the caller and to the record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from kavach_core.capabilities.audit import Record, Result
from kavach_core.capabilities.audit.model import path_text
from kavach_core.capabilities.authorize.explain import explain
from kavach_core.capabilities.authorize.model import Decision, OwnerUnknown, Question, Settlement, Settling
from kavach_core.capabilities.authorize.policy import Plan, Verdict
from kavach_core.capabilities.delegation import AgentFacts, Facts, Path
from kavach_core.primitives import ids
from kavach_core.primitives.principal import AgentIdentity, AgentType
from kavach_core.primitives.reasons import Reason

#: What a row says about a credential that was presented and did not hold, where no action was asked about.
_AUTHENTICATE: Final = ("authenticate", "kavach")
_TURNED_AWAY: Final = "*"


@dataclass(slots=True)
class Outcome:
    """One question, decided."""

    question: Question
    #: None if nobody knows the agent.
    agent: AgentFacts | None
    reason: Reason
    #: What its grants said; None where they were not asked.
    plan: Plan | None = None
    verdict: Verdict | None = None
    #: What an approval of this call would be bound to, where one could matter.
    binding: bytes | None = None
    #: The approval it used, or has to wait for.
    approval_id: bytes | None = None
    retry_after: int | None = None
    record_id: bytes | None = None
    #: Whose rights have to be asked for before this can be decided.
    needs_rights_of: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.reason is Reason.ALLOWED

    @property
    def consumes(self) -> bool:
        """Whether the answer is a yes that uses something up."""
        return self.allowed and self.verdict is not None and not self.question.dry_run

    @property
    def counts_as_refused(self) -> bool:
        """Whether this is one of the refusals that may close the door."""
        refused = not self.allowed and self.needs_rights_of is None
        return self.question.throttled and refused and not self.question.dry_run

    @property
    def is_recorded(self) -> bool:
        """Whether there is a row about it: about every decision on a known agent, and every credential that died."""
        if self.agent is None or self.reason is Reason.TOO_MANY_REFUSALS or self.needs_rights_of is not None:
            return False
        return self.question.request is not None or not self.allowed

    @property
    def asks_for_approval(self) -> bool:
        """Whether nobody was asked yet about this call, which needs an approval."""
        waits = self.reason is Reason.APPROVAL_REQUIRED and self.approval_id is None
        return waits and not self.question.dry_run

    def settle(self, verdict: Verdict) -> None:
        """Take over what was decided."""
        self.verdict, self.reason, self.retry_after = verdict, verdict.reason, verdict.retry_after
        self.approval_id = verdict.approval

    def turn_away(self, retry_after: int) -> None:
        """Refuse without looking: the agent was refused too often in this minute."""
        self.reason, self.verdict, self.retry_after = Reason.TOO_MANY_REFUSALS, None, retry_after
        self.approval_id = self.record_id = None

    def path(self, facts: Facts) -> Path:
        """The path that is recorded: of the grant used, else the one the agent stands on."""
        if self.verdict is not None:
            return self.verdict.path
        if self.agent is None:
            raise RuntimeError("nobody has no path")
        return facts.founding_path(self.agent)

    def to_answer(self, facts: Facts) -> Decision | OwnerUnknown:
        """The answer for the caller."""
        if self.needs_rights_of is not None:
            return OwnerUnknown(self.needs_rights_of)
        verdict = self.verdict
        return Decision(
            allowed=self.allowed,
            code=self.reason,
            audit_id=ids.AUDIT.optional(self.record_id),
            grant=None if verdict is None else verdict.grant,
            retry_after=self.retry_after,
            approval_id=ids.APPROVAL.optional(self.approval_id),
            warnings=self._warnings(),
            identity=self._identity(facts) if self.agent is not None else None,
            explanation=explain(self.agent, self.plan, self.verdict, self.reason, self.question.request)
            if self.question.dry_run
            else None,
        )

    def _warnings(self) -> tuple[str, ...]:
        if self.verdict is None or not self.allowed:
            return ()
        return tuple(ids.BUDGET.text(ledger.row.id) for ledger in self.verdict.short)

    def _identity(self, facts: Facts) -> AgentIdentity | None:
        agent = self.agent
        if agent is None or self.reason.ends_credential:
            return None
        held = [facts.sets[agent.permissions]]
        held += [facts.sets[edge.permissions] for edge in facts.held_by(agent.id) if facts.edge_lives(edge.id)]
        return AgentIdentity(
            agent_id=ids.AGENT.text(agent.id),
            owner_id=agent.owner_id,
            name=agent.name,
            type=AgentType(agent.type),
            audit_id=ids.AUDIT.optional(self.record_id),
            credential=self.question.credential,
            held=tuple(held),
        )

    def to_record(self, facts: Facts, *, writer: bytes, sequence: int) -> Record:
        """The row about it. Only for an outcome that is recorded."""
        question, agent, verdict = self.question, self.agent, self.verdict
        if agent is None or self.record_id is None:
            raise RuntimeError("only a decision about a known agent is recorded")
        request = question.request
        action, resource = _AUTHENTICATE if request is None else (request.action, request.resource)
        path = self.path(facts)
        return Record(
            id=self.record_id,
            writer=writer,
            sequence=sequence,
            agent_id=agent.id,
            owner_id=agent.owner_id,
            path=path_text((link.agent_id, link.edge_id, link.permissions) for link in path),
            action=action,
            resource=resource,
            arguments=question.arguments,
            arguments_hash=question.arguments_hash,
            result=Result.of(self.reason).value,
            code=self.reason.value,
            grant_used=None if verdict is None or verdict.grant is None else verdict.grant.line,
            permissions=path[-1].permissions.digest,
            dry_run=question.dry_run,
            calls=1,
            duration=_micros_since(question.arrived),
            cost=question.cost if self.consumes else None,
            address=question.origin.address,
            user_agent=question.origin.user_agent,
            request_id=question.origin.request_id,
            approval_id=self.approval_id,
        )


@dataclass(slots=True, kw_only=True)
class Settled:
    """A cost that was corrected."""

    settling: Settling
    #: The row of the decision.
    record: Record
    reserved: int
    exceeded: tuple[str, ...]
    record_id: bytes

    def to_settlement(self) -> Settlement:
        """The answer for the caller."""
        return Settlement(
            audit_id=ids.AUDIT.text(self.record_id),
            settles=self.settling.public_id,
            reserved=self.reserved,
            actual=self.settling.actual,
            exceeded=self.exceeded,
        )

    def to_record(self, *, writer: bytes, sequence: int) -> Record:
        """The row about it: that of the decision, with the difference in the place of the cost, and of no call."""
        return self.record._replace(
            id=self.record_id,
            writer=writer,
            sequence=sequence,
            arguments=None,
            arguments_hash=None,
            result=Result.of(Reason.SETTLED).value,
            code=Reason.SETTLED.value,
            calls=0,
            duration=_micros_since(self.settling.arrived),
            cost=self.settling.actual - self.reserved,
            address=None,
            user_agent=None,
            request_id=None,
            approval_id=None,
            settles=self.settling.audit_id,
        )


def turned_away_record(
    agent: AgentFacts, facts: Facts, calls: int, *, record_id: bytes, writer: bytes, sequence: int
) -> Record:
    """The one row that stands for the calls of an agent that were turned away in a minute that is over."""
    path = facts.founding_path(agent)
    reason = Reason.TOO_MANY_REFUSALS
    return Record(
        id=record_id,
        writer=writer,
        sequence=sequence,
        agent_id=agent.id,
        owner_id=agent.owner_id,
        path=path_text((link.agent_id, link.edge_id, link.permissions) for link in path),
        action=_TURNED_AWAY,
        resource=_TURNED_AWAY,
        arguments=None,
        arguments_hash=None,
        result=Result.of(reason).value,
        code=reason.value,
        grant_used=None,
        permissions=path[-1].permissions.digest,
        dry_run=False,
        calls=calls,
        duration=0,
        cost=None,
        address=None,
        user_agent=None,
        request_id=None,
    )


def _micros_since(arrived: int) -> int:
    return (time.monotonic_ns() - arrived) // 1000
