"""Facts made by hand, and decisions on them: what the tests of the policy share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kavach_core.capabilities.approvals.model import ApprovalStatus, OpenApproval
from kavach_core.capabilities.authorize.policy import Stock, Verdict, decide, holders_of, plan, rates_of
from kavach_core.capabilities.budgets import Ledger
from kavach_core.capabilities.budgets.ledger import BudgetRow
from kavach_core.capabilities.budgets.model import Holder
from kavach_core.capabilities.delegation import AgentFacts, Edge, Facts
from kavach_core.capabilities.delegation.facts import ProjectFacts
from kavach_core.capabilities.limits import Window
from kavach_core.primitives.clock import HOUR, MINUTE, NEVER, to_micros
from kavach_core.primitives.permissions import AccessRequest, Permission, PermissionSet, parse_permissions
from kavach_core.primitives.reasons import Reason
from tests.cases import DAY

NOON = to_micros(DAY) + 12 * 60 * MINUTE


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ask(text: str = "read:repos", **more: Any) -> AccessRequest:
    """The request that a permission in one text names."""
    action, _, resource = text.partition(":")
    return AccessRequest.of(action=action, resource=resource, **more)


def some(status: ApprovalStatus, *, now: int = NOON, lasts: int = HOUR) -> OpenApproval:
    """An approval of the call that is asked about."""
    return OpenApproval(id_of(900), b"", status, now + lasts)


def kept(given: Sequence[Any]) -> PermissionSet:
    return PermissionSet.of(each if isinstance(each, Permission) else parse_permissions([each])[0] for each in given)


class World:
    """Agents and delegations are numbered; all agents belong to alice unless told otherwise.

    `call` decides and takes what the decision claims, as the batch does.
    """

    def __init__(self, now: int = NOON) -> None:
        self.now = now
        self.agents: dict[bytes, AgentFacts] = {}
        self.edges: dict[bytes, Edge] = {}
        self.sets: dict[bytes, PermissionSet] = {}
        self.windows: dict[bytes, Window] = {}
        self.ledgers: dict[bytes, list[Ledger]] = {}
        self.suspended_at: int | None = None

    def agent(
        self, number: int, given: Sequence[Any] = (), *, rights: Sequence[Any] | None = None, **more: Any
    ) -> None:
        """An agent with permissions of its own, whose owner may do what `rights` says."""
        usual = AgentFacts(
            id=id_of(number),
            owner_id="alice",
            name="agent",
            type="autonomous",
            permissions=self._keep(given),
            founding_id=None,
            ttl=None,
            idle_at=NEVER,
            expires_at=NEVER,
            last_used_at=None,
            revoked_at=None,
            suspended_at=None,
            owner_permissions=None if rights is None else self._keep(rights),
        )
        self.agents[id_of(number)] = usual._replace(**more)

    def edge(self, number: int, giver: int, receiver: int, given: Sequence[Any], *, source: int | None = None) -> None:
        self.edges[id_of(number)] = Edge(
            id=id_of(number),
            from_agent=id_of(giver),
            to_agent=id_of(receiver),
            source_id=None if source is None else id_of(source),
            depth=1,
            max_depth=9,
            permissions=self._keep(given),
            expires_at=NEVER,
            revoked_at=None,
        )

    def end(self, number: int) -> None:
        """Revoke a delegation."""
        self.edges[id_of(number)] = self.edges[id_of(number)]._replace(revoked_at=self.now)

    def budget(self, holder: Holder, most: int, **terms: Any) -> Ledger:
        """Hang a budget on something."""
        usual = BudgetRow(
            holder=holder.raw,
            id=id_of(500 + len(self.ledgers)),
            measure="calls",
            per="day",
            most=most,
            action="block",
            set_by="app",
            window_at=0,
            spent=0,
            leases="",
            told_at=None,
            created_at=0,
            updated_at=0,
        )
        ledger = Ledger(usual._replace(**terms), self.now)
        self.ledgers.setdefault(holder.raw, []).append(ledger)
        return ledger

    def facts(self) -> Facts:
        """What the loader would find."""
        count = {holder: len(ledgers) for holder, ledgers in self.ledgers.items()}
        return Facts(
            now=self.now,
            agents={
                each.id: each._replace(
                    budgets=count.get(Holder.agent(each.id).raw, 0),
                    owner_budgets=count.get(Holder.owner(each.owner_id).raw),
                )
                for each in self.agents.values()
            },
            edges={
                each.id: each._replace(budgets=count.get(Holder.delegation(each.id).raw, 0))
                for each in self.edges.values()
            },
            credentials={},
            sets=self.sets,
            project=ProjectFacts(self.suspended_at, count.get(Holder.project().raw, 0)),
        )

    def call(
        self,
        number: int,
        request: AccessRequest,
        *,
        cost: int = 0,
        approval: OpenApproval | None = None,
        rights: Sequence[Any] | None = None,
    ) -> Verdict:
        """Decide, and take what the decision claims. `rights` is what the app says that the owner may do."""
        facts = self.facts()
        agent = facts.agents[id_of(number)]
        said = None if rights is None else kept(rights)
        planned = plan(agent, request, facts, said)
        for key in rates_of(planned):
            self.windows.setdefault(key, Window("", self.now))
        stock = Stock(self.windows, {holder: self.ledgers[holder] for holder in holders_of(planned)})
        verdict = decide(agent, request, facts, stock, rights=said, approval=approval, cost=cost)
        if verdict.reason is Reason.ALLOWED:
            for key in verdict.rates:
                self.windows[key].take()
            for ledger in verdict.budgets:
                ledger.take(ledger.units(cost))
        return verdict

    def _keep(self, given: Sequence[Any]) -> bytes:
        found = kept(given)
        self.sets[found.digest] = found
        return found.digest
