"""The story of the demo, told to a running app over HTTP. Every step asserts what it tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import httpx

from kavach_core.cli.demo_stage import Branch, Line, Stage
from kavach_core.testing_passkeys import SoftAuthenticator

_API: Final = "/api/kavach"
_LONG_ID: Final = re.compile(r"((?:agt|apr|bdg|dlg)_)[0-9a-f]+")


class NotAsTold(Exception):
    """The app did something else than the story says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """An agent of the story."""

    name: str
    id: str
    token: str = field(repr=False)
    permissions: tuple[str, ...]
    #: The names from the first agent down to this one.
    chain: tuple[str, ...]
    delegation_id: str | None = None


class Ending(NamedTuple):
    """What the reader needs to go on alone."""

    agent: Actor
    cut: Actor
    #: The token of the owner's session.
    session: str


class Decided(NamedTuple):
    """A decision the story has seen, as the record must show it."""

    audit_id: str
    actor: Actor
    call: str
    code: str


class Story:
    """One telling. Asks as the owner or as one of the agents, and keeps what was decided."""

    def __init__(self, http: httpx.Client, stage: Stage, *, owner: str, consent: Mapping[str, object]) -> None:
        self._http = http
        self._stage = stage
        self._owner = owner
        #: A permission to pay that needs the owner's consent each time.
        self._consent = consent
        self._owner_id = self._session = ""
        self._step = 0
        self._decided: list[Decided] = []

    def tell(self) -> Ending:
        """Walk through all of it. Raises `NotAsTold` at the first step that differs."""
        try:
            return self._tell()
        except (ValueError, LookupError, TypeError) as error:
            raise self._broken(f"an answer is not what it should be, {error!r}") from error

    def _tell(self) -> Ending:
        self._sign_up()
        assistant = self._create_agent("assistant", ("read:repos", "read:issues", "write:comments"))
        self._act_within(assistant)
        self._act_beyond(assistant)
        searcher, reader = self._hand_on(assistant)
        self._stay_within_less(assistant, searcher)
        self._cut(assistant, searcher, reader)
        self._ask_before_paying(assistant)
        self._run_out(assistant)
        self._read_the_record(assistant)
        return Ending(assistant, searcher, self._session)

    def _sign_up(self) -> None:
        self._begin(f"{self._owner} makes a passkey and is signed in")
        # What a browser and its authenticator do, in software: it signs the challenge for this very site.
        authenticator, site = SoftAuthenticator(), str(self._http.base_url).rstrip("/")
        begin, finish = (f"{_API}/passkey/register/{half}" for half in ("begin", "finish"))
        options = self._ask(None, "POST", begin, expect=200, body={"displayName": self._owner})
        made = self._ask(None, "POST", finish, expect=201, body=authenticator.create(options, site))
        self._owner_id, self._session = made["user"]["id"], made["session"]["token"]
        self._check(made["user"]["name"] == self._owner, f"the account is not {self._owner}'s")
        answer = self._ask(None, "GET", "/me", expect=200)
        self._check(answer["owner"] == self._owner_id, f"the app does not know {self._owner}")
        self._stage.remark("An app with a sign-in of its own keeps it, and tells Kavach who the human is.")

    def _create_agent(self, name: str, permissions: tuple[str, ...]) -> Actor:
        self._begin(f"{self._owner} gives an agent an identity of its own")
        body = {"name": name, "permissions": [*permissions, self._consent], "ttl": "2h"}
        made = self._ask(None, "POST", f"{_API}/agents", expect=201, body=body)
        agent = Actor(name=name, id=made["id"], token=made["token"], permissions=permissions, chain=(name,))
        self._check(made["ownerId"] == self._owner_id, "the agent belongs to somebody else")
        self._stage.remark(f"{agent.id}, ends after 2 idle hours.")
        self._stage.remark(f"It may {', '.join(permissions)}.")
        self._stage.remark(f"It may send:payments if {self._owner} agrees, each time.")
        self._stage.remark("Its token, shown this once; only a hash of it is stored:")
        self._stage.secret(agent.token)
        again = self._ask(None, "GET", f"{_API}/agents/{agent.id}", expect=200)
        self._check(agent.token.startswith("kv_agt_") and again["token"] == "", "the token is shown again")
        return agent

    def _act_within(self, agent: Actor) -> None:
        self._begin("The agent does what it may")
        self._decide(agent, "/search", "read:repos", "ALLOWED", expect=200)
        self._stage.remark("Verified, authorized and on record before the route ran.")

    def _act_beyond(self, agent: Actor) -> None:
        self._begin("The agent tries what nobody gave it")
        self._decide(agent, "/deployments", "write:deployments", "NOT_GRANTED", expect=403)

    def _hand_on(self, giver: Actor) -> tuple[Actor, Actor]:
        self._begin("The agent hands on a part of what it has, and that one a part of the part")
        searcher = self._delegate(giver, "searcher", ("read:repos", "read:issues"))
        reader = self._delegate(searcher, "reader", ("read:repos",))
        self._decide(searcher, "/search", "read:repos", "ALLOWED", expect=200)
        self._decide(reader, "/search", "read:repos", "ALLOWED", expect=200)
        self._stage.tree(self._owner, self._branch(giver, [searcher, reader]))
        return searcher, reader

    def _delegate(self, giver: Actor, name: str, permissions: tuple[str, ...]) -> Actor:
        body = {"name": name, "permissions": permissions, "ttl": "30m", "purpose": f"demo: {name}"}
        made = self._ask(giver, "POST", f"{_API}/agents/{giver.id}/delegate", expect=201, body=body)
        return Actor(
            name=name,
            id=made["id"],
            token=made["token"],
            permissions=permissions,
            chain=(*giver.chain, name),
            delegation_id=made["delegationId"],
        )

    def _stay_within_less(self, giver: Actor, child: Actor) -> None:
        self._begin("What was not handed on stays behind")
        self._decide(giver, "/comments", "write:comments", "ALLOWED", expect=200)
        self._decide(child, "/comments", "write:comments", "NOT_GRANTED", expect=403)

    def _cut(self, root: Actor, child: Actor, grandchild: Actor) -> None:
        self._begin(f"{self._owner} cuts the chain below {root.name}")
        self._ask(None, "DELETE", f"{_API}/delegations/{child.delegation_id}", expect=204)
        self._begin("The very next calls below the cut are refused, above it nothing changed")
        self._decide(child, "/search", "read:repos", "CHAIN_CUT", expect=401)
        self._decide(grandchild, "/search", "read:repos", "CHAIN_CUT", expect=401)
        self._decide(root, "/search", "read:repos", "ALLOWED", expect=200)
        self._stage.tree(self._owner, self._branch(root, [child, grandchild], cut=True))

    def _ask_before_paying(self, agent: Actor) -> None:
        self._begin(f"The agent wants to pay, and {self._owner} agrees to exactly this")
        payment = {"to": "bob", "amount": 5}
        asked = self._decide(agent, "/payments", "send:payments", "APPROVAL_REQUIRED", expect=403, body=payment)
        (waiting,) = self._ask(None, "GET", f"{_API}/approvals?status=pending", expect=200)
        self._check(waiting["id"] == asked["approvalId"], "another call waits for an answer")
        self._check(waiting["arguments"] == payment, f"{self._owner} is shown {waiting['arguments']}")
        self._stage.remark(f"What the server recorded, not what the agent says: {waiting['argumentsJson']}")
        self._ask(None, "POST", f"{_API}/approvals/{waiting['id']}/approve", expect=200)
        self._decide(agent, "/payments", "send:payments", "ALLOWED", expect=200, body=payment)
        self._stage.remark("Once; the same payment is asked about anew:")
        self._decide(agent, "/payments", "send:payments", "APPROVAL_REQUIRED", expect=403, body=payment)

    def _run_out(self, agent: Actor) -> None:
        self._begin(f"A budget runs out, and {self._owner} raises it")
        body = {"agentId": agent.id, "limit": 1, "per": "day"}
        budget = self._ask(None, "POST", f"{_API}/budgets", expect=201, body=body)
        self._stage.remark(f"1 call a day, for {agent.name} and all agents below it.")
        self._decide(agent, "/search", "read:repos", "ALLOWED", expect=200)
        self._decide(agent, "/search", "read:repos", "BUDGET_EXCEEDED", expect=429)
        self._ask(None, "PATCH", f"{_API}/budgets/{budget['id']}", expect=200, body={"limit": 1000})
        self._decide(agent, "/search", "read:repos", "ALLOWED", expect=200)

    def _read_the_record(self, root: Actor) -> None:
        self._begin("All of it is on record, in order")
        entries = self._ask(None, "GET", f"{_API}/agents/{root.id}/trace", expect=200)
        names = {decided.actor.id: decided.actor.name for decided in self._decided}
        lines = [
            Line(
                audit_id=entry["id"],
                at=entry["timestamp"],
                chain=tuple(names[link["agentId"]] for link in entry["path"]),
                call=f"{entry['action']}:{entry['resource']}",
                code=entry["code"],
            )
            for entry in entries
        ]
        told = [(each.audit_id, each.actor.chain, each.call, each.code) for each in self._decided]
        kept = [(line.audit_id, line.chain, line.call, line.code) for line in lines]
        self._check(kept == told, f"the record shows {kept}")
        self._stage.record(lines)

    def _decide(
        self,
        actor: Actor,
        path: str,
        call: str,
        code: str,
        *,
        expect: int,
        body: Mapping[str, object] | None = None,
    ) -> Any:
        """Let an agent call a guarded route, and keep the decision for the comparison with the record.

        Returns what the answer tells of it.
        """
        answer = self._ask(actor, "POST", path, expect=expect, code=None if code == "ALLOWED" else code, body=body)
        evidence = answer if code == "ALLOWED" else answer["error"]["details"]
        self._decided.append(Decided(evidence["auditId"], actor, call, code))
        if code != "ALLOWED":
            self._stage.remark(answer["error"]["message"])
        return evidence

    def _branch(self, root: Actor, below: Sequence[Actor], *, cut: bool = False) -> Branch:
        """The chain with the state each delegation has now, as the API tells it."""
        wanted = ("revoked", "ended") if cut else ("active", "active")
        branch: Branch | None = None
        for actor, status in reversed(list(zip(below, wanted, strict=True))):
            listed = self._ask(None, "GET", f"{_API}/delegations/{actor.id}", expect=200, quiet=True)
            found = next((each["status"] for each in listed if each["id"] == actor.delegation_id), "missing")
            self._check(found == status, f"the delegation to {actor.name} is {found}, not {status}")
            branch = Branch(actor.name, actor.permissions, found, branch)
        return Branch(root.name, root.permissions, "active", branch)

    def _ask(
        self,
        actor: Actor | None,
        method: str,
        path: str,
        *,
        expect: int,
        code: str | None = None,
        body: Mapping[str, object] | None = None,
        quiet: bool = False,
    ) -> Any:
        """Call the app as an agent, or as the owner, and return the answer.

        Raises `NotAsTold` unless the answer has this status, and this code where it is a refusal.
        """
        who = self._owner if actor is None else actor.name
        token = self._session if actor is None else actor.token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            response = self._http.request(method, path, headers=headers, json=body)
        except httpx.HTTPError as error:
            raise self._broken(f"{who} got no answer to {method} {path}: {error}") from None
        said = f"{expect} {code}" if code else f"{expect}"
        answer_code = _code_of(response)
        got = f"{response.status_code} {answer_code}".strip()
        self._check(got == said, f"{who} called {method} {path}; the answer is {got}, and the story says {said}")
        if not quiet:
            self._stage.call(who, method, _LONG_ID.sub(r"\1...", path), response.status_code, answer_code)
        if response.status_code == 429:
            retry_after = response.headers.get("retry-after", "")
            self._check(retry_after.isdigit(), "nobody says when to try again")
            self._stage.remark(f"Retry-After: {retry_after} seconds.")
        return response.json() if response.content else None

    def _begin(self, title: str) -> None:
        self._step += 1
        self._stage.step(self._step, title)

    def _check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise self._broken(otherwise)

    def _broken(self, how: str) -> NotAsTold:
        return NotAsTold(f"Step {self._step} is not as told: {how}.")


def _code_of(response: httpx.Response) -> str:
    """The code of a refusal; empty for anything else."""
    if response.status_code < 400:
        return ""
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return ""
