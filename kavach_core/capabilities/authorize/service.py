"""Authorize and verify: one batched path for every credential and every question, in-process and over HTTP alike."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from kavach_core.capabilities.authorize.model import (
    CallContext,
    Decision,
    Origin,
    OwnerUnknown,
    Question,
    Settlement,
    Settling,
)
from kavach_core.capabilities.authorize.redaction import redacted
from kavach_core.capabilities.authorize.remaining import Remaining, remaining
from kavach_core.capabilities.authorize.rights import KnownOwners, OwnerRights
from kavach_core.capabilities.authorize.worker import DecisionWorker
from kavach_core.capabilities.budgets.model import require_amount
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.errors import (
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    ResolverFailed,
    StoreUnavailable,
    Unauthenticated,
)
from kavach_core.primitives import ids, tokens
from kavach_core.primitives.clock import SECOND
from kavach_core.primitives.permissions import AccessRequest
from kavach_core.primitives.principal import AgentIdentity, Rejected, Verified
from kavach_core.primitives.reasons import Reason
from kavach_core.primitives.text import canonical_json, escape, require_shallow
from kavach_core.primitives.tokens import TokenKind
from kavach_core.runtime import Runtime


class HasId(Protocol):
    """An agent, or the identity of one."""

    @property
    def id(self) -> str: ...


#: Who a question may be about: an identity, a token, or an agent's id.
Subject = AgentIdentity | Rejected | str | None

#: Characters of the arguments that are recorded, and that whoever approves a call is shown.
_KEPT_ARGUMENTS: Final = 4096
_SHOWN_ARGUMENTS: Final = 65_536
#: How often an owner may have changed between two looks.
_MOST_OWNERS: Final = 4
#: Turns that the settlements of calls share whose owner is not known here, since they were decided elsewhere.
_TURNS_OF_OTHERS: Final = 16
_NO_CONTEXT: Final = CallContext()
_NONE_FAILED: Final[Mapping[str, ResolverFailed]] = {}


class _Kept(NamedTuple):
    """What is kept of the arguments of a call. All but the last is redacted."""

    recorded: str | None = None
    #: What a human is shown.
    shown: str | None = None
    hash: bytes | None = None
    exact_hash: bytes | None = None


_NO_ARGUMENTS: Final = _Kept()


class Authorizer:
    """Decisions about agents. Each is returned only after its audit row is committed."""

    def __init__(self, runtime: Runtime, sets: PermissionSets) -> None:
        config = runtime.config
        self._store = runtime.store
        self._project = runtime.project
        self._sets = sets
        self._worker = DecisionWorker(config, sets)
        self._lane = runtime.store.lane(
            self._worker,
            turn_of=attrgetter("turn"),
            max_waiting=config.max_waiting,
            patience=config.answer_within / SECOND,
        )
        self._redact = config.redact
        self._rights = None if config.owner_permissions is None else OwnerRights(config.owner_permissions)
        self._owners = KnownOwners()
        #: Whose the calls were that can be settled.
        self._spenders = KnownOwners()

    async def close(self) -> None:
        """Record what was turned away and has no row yet. Raises `StoreUnavailable`."""
        if self._worker.close():
            await self._decide(Question(request=None, origin=_NOWHERE, arrived=time.monotonic_ns()))

    async def authorize(
        self,
        subject: Subject,
        *,
        action: str,
        resource: str,
        arguments: Mapping[str, object] | None = None,
        context: CallContext = _NO_CONTEXT,
        cost: int | None = None,
        dry_run: bool = False,
    ) -> Decision:
        """Decide whether an agent may do this now, and record it.

        `subject` is a verified identity, whose credential is checked again, a token, or an agent id (of a caller who
        may ask about it). The answer rests on facts read after this call began. `cost`, in whole units, is reserved in
        every cost budget on the path: the most the call can cost, which `settle` corrects afterwards. A dry run
        consumes nothing, explains itself, and leaves one row marked so.

        Where the permission needs a human's approval the decision is denied with `APPROVAL_REQUIRED` and names the
        approval that was asked for; the same call with the same arguments goes ahead once it is approved.

        Never raises for a bad credential: that is a denied decision with its code. Raises `InvalidInput` for a question
        that is not well formed and `StoreUnavailable` when it cannot be answered or recorded.
        """
        _check_context(context)
        request = AccessRequest.of(action=action, resource=resource, arguments=arguments, address=context.ip)
        if isinstance(subject, Rejected):
            return Decision(allowed=False, code=subject.code, audit_id=subject.audit_id)
        try:
            credential, agent_id = _who(subject)
        except NotFound:
            return Decision(allowed=False, code=Reason.UNKNOWN_AGENT, audit_id=None)
        if credential is None and agent_id is None:
            return Decision(allowed=False, code=Reason.MALFORMED_CREDENTIAL, audit_id=None)
        kept = self._keep(arguments)
        owner_id = self._owners.find(credential or agent_id)
        question = Question(
            credential=credential,
            agent_id=agent_id,
            request=request,
            arguments=kept.recorded,
            arguments_hash=kept.hash,
            exact_hash=kept.exact_hash,
            shown=kept.shown,
            cost=None if cost is None else require_amount(cost, "cost"),
            origin=_origin(context),
            dry_run=dry_run,
            throttled=context.over_http,
            turn=owner_id or credential or agent_id,
            arrived=time.monotonic_ns(),
        )
        failed: dict[str, ResolverFailed] = {}
        if self._rights is not None and owner_id is not None:
            try:
                question = question._replace(rights=await self._rights.of(owner_id))
            except ResolverFailed as error:
                failed[owner_id] = error  # an agent that has ended is told so, and that is recorded, all the same
        return await self._decide(question, failed)

    async def require_authorized(
        self,
        subject: Subject,
        *,
        action: str,
        resource: str,
        arguments: Mapping[str, object] | None = None,
        context: CallContext = _NO_CONTEXT,
        cost: int | None = None,
    ) -> AgentIdentity:
        """Like `authorize`, but return who acted, with the audit id.

        Raises `Unauthenticated`, `PermissionDenied` or `RateLimited`.
        """
        decision = await self.authorize(
            subject, action=action, resource=resource, arguments=arguments, context=context, cost=cost
        )
        return require_allowed(decision, action=action, resource=resource)

    async def verify(self, token: str | None, *, context: CallContext = _NO_CONTEXT) -> Verified | Rejected:
        """Tell whether an agent's token holds now. A known one that does not leaves an audit row.

        None, for a header that is not there, does not hold.
        """
        _check_context(context)
        if token is None or tokens.kind_of(token) is not TokenKind.AGENT:
            return Rejected(code=Reason.MALFORMED_CREDENTIAL)
        credential = tokens.digest(token)
        question = Question(
            credential=credential,
            request=None,
            origin=_origin(context),
            throttled=context.over_http,
            turn=self._owners.find(credential) or credential,
            arrived=time.monotonic_ns(),
        )
        decision = await self._decide(question)
        if decision.allowed and decision.identity is not None:
            return decision.identity
        return Rejected(code=decision.code, audit_id=decision.audit_id, retry_after=decision.retry_after)

    async def require_verified(self, token: str | None, *, context: CallContext = _NO_CONTEXT) -> Verified:
        """Like `verify`, but raises `Unauthenticated` or `RateLimited` for a token that does not hold."""
        identity = await self.verify(token, context=context)
        if isinstance(identity, Rejected):
            raise rejection(identity)
        return identity

    async def settle(self, audit_id: str, actual: int) -> Settlement:
        """Say what an allowed call really cost, in the place of what it reserved, and record it as a row of its own.

        Once for each decision, and within the lease (`settle_within=`). What it cost is counted even if that is more
        than was reserved, and more than was left: it is spent. A budget whose window is over meanwhile is left alone.

        Raises `InvalidInput`, `NotFound`, `Conflict` for a decision that reserved nothing or is settled, `LeaseEnded`,
        and `StoreUnavailable`, after which the settlement may or may not be on record.
        """
        raw = ids.AUDIT.raw(audit_id, field="auditId")
        settling = Settling(
            audit_id=raw,
            actual=require_amount(actual, "actual"),
            # A turn for each settlement would let who settles a lot go before everybody else.
            turn=self._spenders.find(raw) or raw[-1] % _TURNS_OF_OTHERS,
            arrived=time.monotonic_ns(),
        )
        answer = await self._lane.submit(settling)
        if not isinstance(answer, Settlement):
            raise RuntimeError("a settlement was answered with something else")
        return answer

    async def remaining(self, agent: str | HasId) -> Remaining:
        """Return what an agent may still spend now, by the best of its grants. Raises `NotFound`."""
        agent_id = agent if isinstance(agent, str) else agent.id
        return await self._store.read(remaining, self._project, self._sets, ids.AGENT.raw(agent_id))

    async def _decide(self, question: Question, failed: Mapping[str, ResolverFailed] = _NONE_FAILED) -> Decision:
        """Have a question decided.

        If the app has to be asked what the owner may do: whose agent it is only the facts say. Where that is not known
        here, or turns out to be another, the lane answers with the owner and the question is put again. `failed` are
        the owners about whom the app could not tell.
        """
        for _ in range(_MOST_OWNERS):
            answer = await self._lane.submit(question)
            if isinstance(answer, Decision):
                if answer.identity is not None:
                    self._owners.learn(question.credential or question.agent_id, answer.identity.owner_id)
                    if question.cost is not None and answer.allowed and answer.audit_id is not None:
                        self._spenders.learn(ids.AUDIT.raw(answer.audit_id), answer.identity.owner_id)
                return answer
            if self._rights is None or not isinstance(answer, OwnerUnknown):
                raise RuntimeError("a question was answered with something else")
            if answer.owner_id in failed:
                raise failed[answer.owner_id]
            question = question._replace(rights=await self._rights.of(answer.owner_id))
        raise StoreUnavailable("The agent has a new owner each time it is looked at.")

    def _keep(self, arguments: Mapping[str, object] | None) -> _Kept:
        """What becomes of the arguments: the record only has them if they are short, and the human if not very long."""
        if arguments is None:
            return _NO_ARGUMENTS
        require_shallow(arguments, field="arguments")
        text, whole = canonical_json(redacted(arguments, self._redact)), canonical_json(arguments)
        return _Kept(
            recorded=text if len(text) <= _KEPT_ARGUMENTS else canonical_json({"[omitted]": f"{len(text)} bytes"}),
            shown=text if len(text) <= _SHOWN_ARGUMENTS else None,
            hash=hashlib.sha256(text.encode()).digest(),
            exact_hash=hashlib.sha256(whole.encode()).digest(),
        )


def require_allowed(decision: Decision, *, action: str, resource: str) -> AgentIdentity:
    """Return who acted, or raise the error that a denied decision stands for."""
    if decision.allowed and decision.identity is not None:
        return decision.identity
    if decision.code.ends_credential or decision.code is Reason.TOO_MANY_REFUSALS:
        rejected = Rejected(code=decision.code, audit_id=decision.audit_id, retry_after=decision.retry_after)
        raise rejection(rejected)
    details = {"action": action, "resource": resource}
    if decision.approval_id is not None:
        details["approvalId"] = decision.approval_id
    if decision.retry_after is not None:
        if decision.audit_id:
            details["auditId"] = decision.audit_id
        raise RateLimited(
            decision.reason, reason=decision.code.value, retry_after=decision.retry_after, details=details
        )
    raise PermissionDenied(decision.reason, reason=decision.code.value, audit_id=decision.audit_id, details=details)


def rejection(rejected: Rejected) -> Unauthenticated | RateLimited:
    """The error that a rejected credential stands for."""
    if rejected.retry_after is not None:
        return RateLimited(rejected.code.sentence, retry_after=rejected.retry_after)
    return Unauthenticated(rejected.code.sentence, reason=rejected.code.value, audit_id=rejected.audit_id)


def _check_context(context: object) -> None:
    if not isinstance(context, CallContext):
        raise InvalidInput("context is a CallContext.", field="context")


def _who(subject: AgentIdentity | str | None) -> tuple[bytes | None, bytes | None]:
    """The credential and the agent id of a subject; neither for a token that cannot be one of an agent.

    Raises `NotFound` for an id that cannot be one.
    """
    if isinstance(subject, AgentIdentity):
        return subject.credential, None if subject.credential else ids.AGENT.raw(subject.agent_id)
    if not isinstance(subject, str):  # None is a header that is not there; callers may be untyped
        return None, None
    if subject.startswith(f"{ids.AGENT.prefix}_"):
        return None, ids.AGENT.raw(subject)
    return (tokens.digest(subject), None) if tokens.kind_of(subject) is TokenKind.AGENT else (None, None)


def _origin(context: CallContext) -> Origin:
    if context is _NO_CONTEXT:
        return _NOWHERE
    return Origin(
        address=None if context.ip is None else escape(context.ip, longest=64, field="ip"),
        user_agent=None if context.user_agent is None else escape(context.user_agent, longest=256, field="userAgent"),
        request_id=None if context.request_id is None else escape(context.request_id, longest=128, field="requestId"),
    )


_NOWHERE: Final = Origin(None, None, None)
