"""The decision itself: facts + now -> decision. No await, no clock, no store.

First the stateless part: which grants of a live agent let this very request through at every link, and at the rights
of the human behind them? Then the counted part: the first of those for which there is an approval where one is needed,
room in every rate and enough in every budget; and only its path is charged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from kavach_core.capabilities.approvals.model import ApprovalStatus, OpenApproval
from kavach_core.capabilities.budgets import Ledger
from kavach_core.capabilities.budgets.model import Holder
from kavach_core.capabilities.delegation import AgentFacts, Facts, Link, Path
from kavach_core.capabilities.limits import Window, keys
from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet
from kavach_core.primitives.reasons import Reason

#: How close a grant came, from farthest to closest.
_CLOSENESS: Final = {
    reason: rank
    for rank, reason in enumerate(
        (
            Reason.NOT_GRANTED,
            Reason.DELEGATION_ENDED,
            Reason.CHAIN_NARROWED,
            Reason.OWNER_NOT_PERMITTED,
            Reason.UNKNOWN_CONSTRAINT,
            Reason.ARGUMENT_NOT_ALLOWED,
            Reason.OUTSIDE_TIME_WINDOW,
            Reason.ADDRESS_NOT_ALLOWED,
            Reason.APPROVAL_REQUIRED,
            Reason.APPROVAL_DENIED,
            Reason.RATE_LIMITED,
            Reason.BUDGET_EXCEEDED,
        )
    )
}


class Candidate(NamedTuple):
    """A grant that passes everything that needs no memory."""

    path: Path
    #: The links of the path, and the owner's rights where something is said about them.
    links: Sequence[Link]
    #: For each of those the permissions that let the request through, those that need nothing first.
    choices: Sequence[Sequence[Permission]]
    #: What budgets hang on along the path.
    holders: Sequence[bytes]
    #: Whether it passes without approval, rate and budget.
    is_free: bool


class Stopped(NamedTuple):
    """A grant that did not come through: why, and at which link, or at the owner's rights."""

    reason: Reason
    path: Path
    link: Link


class Plan(NamedTuple):
    """The outcome of the stateless part: what may be used, in order, and what stopped the rest."""

    candidates: Sequence[Candidate]
    stopped: Sequence[Stopped]

    @property
    def asks_for_approval(self) -> bool:
        """Whether an approval of this very call could matter."""
        return any(not candidate.is_free and _may_need_approval(candidate) for candidate in self.candidates)


class Stock(NamedTuple):
    """What decisions take from: the counters of rates by key, and budgets by what they hang on."""

    windows: Mapping[bytes, Window]
    ledgers: Mapping[bytes, Sequence[Ledger]]


class Verdict(NamedTuple):
    """What is decided about one call. What it takes must be made true in the transaction that records it."""

    reason: Reason
    path: Path
    grant: Permission | None = None
    #: The counters of rates to take one from.
    rates: tuple[bytes, ...] = ()
    #: The budgets to charge.
    budgets: tuple[Ledger, ...] = ()
    #: The approval it uses, or that waits for an answer.
    approval: bytes | None = None
    #: Budgets with too little left: those that only warn of an allowed call, or those that refuse this one.
    short: tuple[Ledger, ...] = ()
    #: The link at which a candidate stopped, and the permissions there that would do.
    stopped: tuple[Link, Sequence[Permission]] | None = None
    retry_after: int | None = None
    #: What became of the candidates before this one.
    tried: tuple[Verdict, ...] = ()


def decide(
    agent: AgentFacts,
    request: AccessRequest,
    facts: Facts,
    stock: Stock,
    *,
    rights: PermissionSet | None = None,
    approval: OpenApproval | None = None,
    cost: int = 0,
) -> Verdict:
    """Decide one call of an agent. `stock` holds what the plan of it names."""
    return choose(agent, plan(agent, request, facts, rights), facts, stock, approval=approval, cost=cost)


def plan(agent: AgentFacts, request: AccessRequest, facts: Facts, rights: PermissionSet | None = None) -> Plan:
    """Try every grant of a live agent without counters. A grant that needs none ends the search.

    `rights` is what the app says, beside what is on record, that the human behind the agent may do.
    """
    candidates: list[Candidate] = []
    stopped: list[Stopped] = []
    gates = _gates(agent, facts, rights)
    for path in facts.paths_of(agent):
        outcome = _try(path, gates, request, facts)
        if isinstance(outcome, Stopped):
            stopped.append(outcome)
            continue
        candidates.append(outcome)
        if outcome.is_free:
            break
    return Plan(candidates, stopped)


def choose(
    agent: AgentFacts,
    plan: Plan,
    facts: Facts,
    stock: Stock,
    *,
    approval: OpenApproval | None = None,
    cost: int = 0,
) -> Verdict:
    """Take the first candidate for which there is enough of everything; nothing is charged here."""
    refused: list[Verdict] = []
    for candidate in plan.candidates:
        verdict = _settle(candidate, facts.now, stock, approval, cost)
        if verdict.reason is Reason.ALLOWED:
            return verdict._replace(tried=tuple(refused)) if refused else verdict
        refused.append(verdict)
    if refused:
        # Every budget that had not enough refused the call, whichever of them came closest.
        short = tuple(dict.fromkeys(ledger for verdict in refused for ledger in verdict.short))
        return max(refused, key=_nearness)._replace(short=short, tried=tuple(refused))
    closest = max(plan.stopped, key=lambda stop: _CLOSENESS[stop.reason])
    return Verdict(closest.reason, facts.founding_path(agent))


def rates_of(plan: Plan) -> Iterator[bytes]:
    """The counters of rates that choosing may look at."""
    for candidate in plan.candidates:
        if candidate.is_free:
            continue
        for link, choice in zip(candidate.links, candidate.choices, strict=True):
            yield from (_key(link, permission) for permission in choice if _is_rated(permission))


def holders_of(plan: Plan) -> Iterator[bytes]:
    """What the budgets hang on that choosing may look at."""
    for candidate in plan.candidates:
        yield from candidate.holders


def holders_on(path: Path, facts: Facts) -> tuple[bytes, ...]:
    """What budgets hang on along a path: agents and delegations, their owner, the project."""
    found: list[bytes] = []
    for link in path:
        if facts.agents[link.agent_id].budgets:
            found.append(Holder.agent(link.agent_id).raw)
        if link.edge_id is not None and facts.edges[link.edge_id].budgets:
            found.append(Holder.delegation(link.edge_id).raw)
    acting = facts.agents[path[-1].agent_id]
    if acting.owner_budgets:
        found.append(Holder.owner(acting.owner_id).raw)
    if facts.project.budgets:
        found.append(Holder.project().raw)
    return tuple(found)


def is_usable(approval: OpenApproval | None, now: int) -> bool:
    """Whether a call may go ahead by this approval."""
    return approval is not None and approval.status == ApprovalStatus.APPROVED and now < approval.expires_at


def _gates(agent: AgentFacts, facts: Facts, rights: PermissionSet | None) -> tuple[Link, ...]:
    """What the human behind the agent may do, as links that every path must pass: as on record, as the app says."""
    if agent.owner_permissions is None and rights is None:
        return ()
    holder = hashlib.sha256(agent.owner_id.encode()).digest()[:15]
    recorded = None if agent.owner_permissions is None else facts.sets[agent.owner_permissions]
    said = ((b"r", recorded), (b"s", rights))
    return tuple(Link(kind + holder, None, permissions) for kind, permissions in said if permissions is not None)


def _try(path: Path, gates: tuple[Link, ...], request: AccessRequest, facts: Facts) -> Candidate | Stopped:
    """Ask every link for this very request, the acting agent's own first and the human's rights last."""
    last = len(path) - 1
    choices: list[Sequence[Permission]] = []
    for index in range(last, -1, -1):
        choice = _pass(path[index], request, facts.now)
        if isinstance(choice, Reason):
            narrowed = choice is Reason.NOT_GRANTED and index < last
            return Stopped(Reason.CHAIN_NARROWED if narrowed else choice, path, path[index])
        if index == last and not _lives(path[index], facts):
            return Stopped(Reason.DELEGATION_ENDED, path, path[index])
        choices.append(choice)
    choices.reverse()
    for gate in gates:
        choice = _pass(gate, request, facts.now)
        if isinstance(choice, Reason):
            return Stopped(Reason.OWNER_NOT_PERMITTED if choice is Reason.NOT_GRANTED else choice, path, gate)
        choices.append(choice)
    holders = holders_on(path, facts) if facts.any_budgets else ()
    is_free = not holders and not any(choice[0].constraints.any and _needs(choice[0]) for choice in choices)
    return Candidate(path, (*path, *gates) if gates else path, choices, holders, is_free)


def _lives(link: Link, facts: Facts) -> bool:
    """Whether the delegation that leads here lives, with everything above it; an agent's own grants live with it."""
    return link.edge_id is None or facts.edge_lives(link.edge_id)


def _pass(link: Link, request: AccessRequest, now: int) -> Sequence[Permission] | Reason:
    """The permissions of one link that let the request through, or why the closest does not."""
    matching = link.permissions.matching(request)
    if not matching:
        return Reason.NOT_GRANTED
    if len(matching) == 1 and not matching[0].constraints.any:
        return matching
    closest = Reason.NOT_GRANTED
    passing: list[Permission] = []
    for permission in matching:
        reason = permission.constraints.violated(request, now)
        if reason is None:
            passing.append(permission)
        elif _CLOSENESS[reason] > _CLOSENESS[closest]:
            closest = reason
    passing.sort(key=_needs)
    return passing or closest


def _is_rated(permission: Permission) -> bool:
    return permission.constraints.max_calls_per_hour is not None


def _needs(permission: Permission) -> int:
    """What a permission needs beside itself, the dearest last: nothing, room in its rate, a human."""
    constraints = permission.constraints
    return (constraints.max_calls_per_hour is not None) + 2 * constraints.require_approval


def _may_need_approval(candidate: Candidate) -> bool:
    return any(permission.constraints.require_approval for choice in candidate.choices for permission in choice)


def _settle(candidate: Candidate, now: int, stock: Stock, approval: OpenApproval | None, cost: int) -> Verdict:
    """All or nothing: at every link a permission for which there is room, and enough in every budget."""
    if candidate.is_free:
        return Verdict(Reason.ALLOWED, candidate.path, candidate.choices[len(candidate.path) - 1][0])
    picked = _pick(candidate, stock.windows, now, approved=False)
    used = None
    if isinstance(picked, Verdict) and is_usable(approval, now) and _may_need_approval(candidate):
        picked, used = _pick(candidate, stock.windows, now, approved=True), approval
    if isinstance(picked, Verdict):
        return _with_answer(picked, approval, now) if picked.reason is Reason.APPROVAL_REQUIRED else picked
    budgets = tuple(ledger for holder in candidate.holders for ledger in stock.ledgers[holder])
    short = tuple(ledger for ledger in budgets if not ledger.has_room(ledger.units(cost)))
    refusing = tuple(ledger for ledger in short if not ledger.only_warns)
    if refusing:
        wait = max(ledger.retry_after(now) for ledger in refusing)
        return Verdict(Reason.BUDGET_EXCEEDED, candidate.path, short=refusing, retry_after=wait)
    rates = tuple(_key(link, permission) for link, permission in picked if _is_rated(permission))
    return Verdict(
        Reason.ALLOWED,
        candidate.path,
        grant=picked[len(candidate.path) - 1][1],
        rates=rates,
        budgets=budgets,
        approval=None if used is None else used.id,
        short=short,
    )


def _pick(
    candidate: Candidate, windows: Mapping[bytes, Window], now: int, *, approved: bool
) -> list[tuple[Link, Permission]] | Verdict:
    """At every link the first permission that may be used, or what stands in the way at the first that has none."""
    picked: list[tuple[Link, Permission]] = []
    for link, choice in zip(candidate.links, candidate.choices, strict=True):
        usable = [each for each in choice if approved or not each.constraints.require_approval]
        permission = next((each for each in usable if _has_room(link, each, windows)), None)
        if permission is None:
            if not usable:
                return Verdict(Reason.APPROVAL_REQUIRED, candidate.path, stopped=(link, choice))
            wait = min(_wait(link, each, windows, now) for each in usable)
            return Verdict(Reason.RATE_LIMITED, candidate.path, stopped=(link, choice), retry_after=wait)
        picked.append((link, permission))
    return picked


def _with_answer(verdict: Verdict, approval: OpenApproval | None, now: int) -> Verdict:
    """What a missing approval comes to when this call was asked about before."""
    if approval is None or approval.expires_at <= now:
        return verdict
    denied = approval.status == ApprovalStatus.DENIED
    return verdict._replace(reason=Reason.APPROVAL_DENIED if denied else verdict.reason, approval=approval.id)


def _key(link: Link, permission: Permission) -> bytes:
    return keys.rate(link.holder, permission.key)


def _has_room(link: Link, permission: Permission, windows: Mapping[bytes, Window]) -> bool:
    limit = permission.constraints.max_calls_per_hour
    return limit is None or windows[_key(link, permission)].hour < limit


def _wait(link: Link, permission: Permission, windows: Mapping[bytes, Window], now: int) -> int:
    return windows[_key(link, permission)].retry_after(permission.constraints.max_calls_per_hour or 0, now)


def _nearness(refused: Verdict) -> tuple[int, int]:
    """How near a refused candidate came: by its reason, and then by how soon it could pass."""
    return _CLOSENESS[refused.reason], -(refused.retry_after or 0)
