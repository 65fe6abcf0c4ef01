"""R16: secrets never leak. A story with every operation, good and bad, and everything it writes down searched."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from httpx import Response

import kavach_core
from kavach_core import CallContext, create_kavach
from kavach_core.api.operation import Operation
from kavach_core.api.table import TABLE
from kavach_core.capabilities.authorize import service as authorizing
from kavach_core.config import Email
from kavach_core.errors import KavachError, StoreUnavailable
from kavach_core.primitives import tokens
from tests.capabilities.support import dump, limited
from tests.cli.support import Command
from tests.http.examples import EXAMPLES, Cast, make_cast
from tests.http.frameworks import FRAMEWORKS
from tests.http.world import ORIGIN, World, bearer, worlds
from tests.passkeys.support import Person
from tests.proofs.canaries import Tapes, recorded_logs

pytestmark = pytest.mark.usefixtures("cheap_passwords")

#: Names under which no value may be kept, at any depth.
_SECRET_NAMES = ("password", "client_secret", "X-Api-Key", "accessToken", "Authorization", "cookie")
#: Operations that tell a program the token of the session it presented, as the published client expects.
_TELL_THEIR_OWN = frozenset({"getSession", "finishPasskeyVerification"})
_COMMANDS = (
    *("agents list", "audit list", "audit export --format csv", "audit export --format json", "keys list"),
    *("budgets list", "approvals list", "approvals list --status used", "project status", "migrate --status"),
    *("agents show {agent}", "audit trace {agent}", "budgets remaining {agent}", "agents show nobody"),
)


@pytest.mark.parametrize(
    ("database_url", "thorough"),
    [
        ("sqlite", False),
        pytest.param("sqlite", True, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
        pytest.param("postgres", True, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
    indirect=["database_url"],
)
async def test_no_secret_is_found_anywhere_but_where_it_is_shown_once(
    database_url: str, thorough: bool, figure: Callable[[str], None]
) -> None:
    """The short form leaves out variants of bad requests; what is on record is the same on both databases."""
    tapes = Tapes()
    with recorded_logs(tapes):
        async with _world(database_url, tapes) as (world, sent):
            await _every_operation(world, tapes, thorough=thorough)
            await _passwords_and_mails(world, sent, tapes)
            agent_id = await _approvals(world, tapes)
            await _in_process(world, tapes)
            tapes.keep("database", await dump(world.kavach))
        await asyncio.to_thread(_commands, database_url, agent_id, tapes)
        await _no_database(tapes)
    leaks = tapes.search()
    figure(
        f"R16 secrets found where they are not shown: {len(leaks)} of {tapes.secrets} secrets"
        f" in {tapes.searched:,} texts, {len(TABLE)} operations ({database_url.partition(':')[0]})"
    )
    assert leaks == []
    assert tapes.secrets > 100


@asynccontextmanager
async def _world(database: str, tapes: Tapes) -> AsyncGenerator[tuple[World, list[Email]]]:
    sent: list[Email] = []

    async def send(mail: Email) -> None:
        tapes.keep("mail as it prints", repr(mail))
        sent.append(mail)

    async with worlds(FRAMEWORKS[0], _with_password(database, tapes), None) as open_world:
        yield (
            await open_world(
                grantable=["*:*"],
                passwords=True,
                verify_email=True,
                send_email=send,
                base_url=ORIGIN,
                secret=[tapes.plant("signing-key-of-the-app-000000000")],
                refused_per_minute=None,
                attempts_per_address=10**6,
            ),
            sent,
        )


def _with_password(database: str, tapes: Tapes) -> str:
    if database.startswith("sqlite"):
        return database
    parts = urlsplit(database)
    password = tapes.plant("database-password")
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{password}@{parts.hostname}:{parts.port}"))


async def _every_operation(world: World, tapes: Tapes, *, thorough: bool) -> None:
    """Each as its first caller does it, then as nobody, as a bad credential, and with a body that is all secrets."""
    service = await world.service()
    tapes.mint("a key", service["authorization"])
    bad, secret = bearer(f"kv_agt_{tapes.plant('credential')}"), tapes.plant("value")
    cast = await make_cast(world)
    for operation in TABLE:
        example = EXAMPLES[operation.name]
        if example.who != "*" or example.answers:
            cast = await make_cast(world)
        callers = {"h": cast.as_human, "a": cast.as_agent, "s": service, "r": cast.as_recovering, "*": {}}
        tapes.mint("a cast", *(str(caller) for caller in callers.values()))
        caller, path = callers[example.who[0]], example.url(cast)
        content = await example.content(world, cast, caller)
        headers = {**caller, **content.pop("headers", {})}
        tapes.mint("a browser", str(headers))
        own = caller.get("authorization", "")[len("Bearer ") :] if operation.name in _TELL_THEIR_OWN else ""
        tapes.answer(operation.name, await world.call(example.method, path, headers, **content), presented=own)
        tapes.answer(operation.name, await world.call(example.method, path, bad, **content))
        for answer in await _worst(world, operation, path, caller, secret, thorough=thorough):
            tapes.answer(operation.name, answer, presented=own)


async def _worst(
    world: World, operation: Operation, path: str, caller: dict[str, str], secret: str, *, thorough: bool
) -> list[Response]:
    """Bodies and queries that are refused, with a secret in every place."""
    bodies = (dict.fromkeys((*_SECRET_NAMES, "token", "code"), secret), {"password": {"a": secret}}, secret)
    texts = (f'{{"password": "{secret}"', f"password={secret}")
    asked = [world.call(operation.method, f"{path}?token={secret}", caller)]
    if operation.body is not None:
        asked += [world.call(operation.method, path, caller, json=body) for body in bodies[: 3 if thorough else 1]]
    if thorough:
        as_json = {**caller, "content-type": "application/json"}
        asked += [world.call(operation.method, path, as_json, content=text) for text in texts]
    return [await each for each in asked]


async def _passwords_and_mails(world: World, sent: list[Email], tapes: Tapes) -> None:
    account = {"email": "ada@example.org", "password": tapes.plant("password")}

    async def call(path: str, as_: dict[str, str] | None = None, **body: Any) -> Any:
        answer = await world.call("POST", path, as_, json=body)
        await world.kavach.auth.outbox.close()
        tapes.mint("a mail", *(mail.link for mail in sent))
        tapes.answer(path, answer)
        return answer.json() if answer.status_code == 201 else None

    await call("/sign-up/email", **account)
    token = sent[-1].link.partition("#sign-up=")[2]
    await call("/sign-up/confirm", token=token, password=tapes.plant("wrong-password"))
    await call("/sign-up/email", **account)
    token = sent[-1].link.partition("#sign-up=")[2]
    made = await call("/sign-up/confirm", token=token, password=account["password"])
    human = bearer(made["session"]["token"])
    await call("/sign-in/email", **account)
    await call("/sign-in/email", **{**account, "password": tapes.plant("guess")})
    await call("/password", human, password=tapes.plant("new-password"))
    await call("/recovery/link", email=account["email"])
    link = sent[-1].link.partition("#token=")[2]
    for _ in range(2):
        await call("/recovery/link/use", token=link)
    session = await Person(world.kavach).register("eve@example.org")
    tapes.mint("a sign-up", session.token)
    codes = await world.kavach.auth.recovery.issue_codes(session)
    tapes.mint("recovery codes", *codes)
    for _ in range(2):
        await call("/recovery/use", code=codes[0])
    await call(f"/users/{session.user_id}/recovery", await world.service())


async def _approvals(world: World, tapes: Tapes) -> str:
    """Secrets among the arguments of calls that are recorded, approved, used and refused."""
    kavach = world.kavach
    agent = await kavach.agents.create(
        owner_id="alice", name="payer", permissions=["read:repos", limited("bills", "pay", requireApproval=True)]
    )
    tapes.mint("an agent", agent.token)
    secret = tapes.plant("argument")
    arguments = {"to": "bob", **dict.fromkeys(_SECRET_NAMES, secret), "deep": [{"login": {"user_password": secret}}]}
    human = await world.human()
    tapes.mint("a session", str(human))
    for resource, action in (("bills", "pay"), ("repos", "read"), ("nothing", "read")):
        body = {"action": action, "resource": resource, "arguments": arguments}
        answer = await world.call("POST", f"/agents/{agent.id}/authorize", human, json=body)
        tapes.answer("authorize with arguments", answer)
    waiting = (await kavach.approvals.list(agent_id=agent.id)).items[0]
    tapes.keep("approval", repr(waiting))
    tapes.answer("getApproval", await world.call("GET", f"/approvals/{waiting.id}", human))
    await kavach.approvals.approve(waiting.id, by="alice")
    used = await kavach.authorize(agent.token, action="pay", resource="bills", arguments=arguments)
    assert used.allowed
    tapes.answer("queryAudit", await world.call("GET", f"/audit?agentId={agent.id}", human))
    tapes.answer("listApprovals", await world.call("GET", "/approvals", human))
    return agent.id


async def _in_process(world: World, tapes: Tapes) -> None:
    """Every public object that there is one of, as it prints, and errors as they are told."""
    kavach = world.kavach
    cast = await make_cast(world)
    for thing in await _things(world, cast):
        values = (getattr(thing, name, None) for name in ("token", "key", "link", "nonce"))
        tapes.mint("its maker", *(value for value in values if isinstance(value, str)))
        tapes.keep(f"repr of {type(thing).__name__}", f"{thing!r} {thing!s}")
    secret = tapes.plant("in-process")
    for attempt in (
        kavach.agents.require_verified(f"kv_agt_{secret}"),
        kavach.require_authorized(secret, action="read", resource="repos"),
        kavach.auth.recovery.use_code(secret),
        kavach.auth.recovery.use_link(secret),
        kavach.agents.get("agt_nobody"),
        kavach.auth.password.sign_in("ada@example.org", secret),
    ):
        try:
            await attempt
        except KavachError as error:
            tapes.keep("error", "".join([str(error), repr(error), *traceback.format_exception_only(error)]))


async def _things(world: World, cast: Cast) -> list[object]:
    kavach = world.kavach
    agent = await kavach.agents.create(owner_id="alice", name="printed", permissions=["read:repos"])
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    session = await kavach.sessions.create("alice")
    key = await kavach.keys.create(name="printed", scopes=["*"])
    person = Person(kavach)
    registered = await person.register()
    added = await person.add(registered)
    decision = await kavach.authorize(agent.token, action="read", resource="repos", dry_run=True)
    costly = await kavach.authorize(agent.token, action="read", resource="repos", cost=1)
    entry = (await kavach.audit.query(limit=1)).items[0]
    owner = await kavach.owners.get("alice")
    return [
        *(agent, child, await kavach.agents.rotate(agent.id), session, key, registered, added, added.passkey),
        *(await kavach.sessions.verify(session.token), await kavach.sessions.verify("kv_ses_none")),
        *(await kavach.keys.verify(key.key), await kavach.agents.verify(child.token), await kavach.agents.verify("x")),
        *(decision, decision.explanation, decision.identity, costly, await kavach.settle(costly.audit_id or "", 1)),
        *(entry, *entry.path, owner, await kavach.approvals.get(cast.approval), await kavach.budgets.get(cast.budget)),
        *(await kavach.delegations.get(cast.delegation), await kavach.remaining(agent.id), person.browser),
        *(await kavach.users.get(registered.user_id), await kavach.auth.recovery.issue_link(registered.user_id)),
        *(kavach, world.get_kavach, kavach.config, CallContext(ip="127.0.0.1"), *agent.permissions),
    ]


def _commands(database: str, agent_id: str, tapes: Tapes) -> None:
    run = Command(database)
    for line in _COMMANDS:
        words = line.format(agent=agent_id).split()
        for options in ([], ["--json"]):
            done = run(*words, *options)
            tapes.keep(f"kavach {line}", done.output)
    for line in ("keys create --name cli --scope agents:read", "owners recover nobody"):
        done = run(*line.split())
        tapes.mint(f"kavach {line}", done.stdout)
    tapes.keep("kavach keys list", run("keys", "list").output)


async def _no_database(tapes: Tapes) -> None:
    secret = tapes.plant("password-of-no-database")
    try:
        await create_kavach(database=f"postgresql://postgres:{secret}@127.0.0.1:1/nothing")
    except StoreUnavailable as error:
        tapes.keep("no database", "".join(traceback.format_exception(error)).replace(__file__, ""))


async def test_every_public_object_is_printed_in_that_story(sqlite_database: str) -> None:
    tapes = Tapes()
    async with _world(sqlite_database, tapes) as (world, _):
        printed = {type(thing).__name__ for thing in await _things(world, await make_cast(world))}
    public = {name for name in kavach_core.__all__ if hasattr(getattr(kavach_core, name), "__dataclass_fields__")}
    held = {"Constraints", "TimeWindow", "HumanIdentity", "Verified"}  # parts of others, and what only a request makes
    assert public - held <= printed


def _tell(token: str, /) -> bytes:
    import logging  # as somebody would who looks for a mistake

    logging.getLogger("kavach").debug("verifying %s", token)
    return _digest(token)


_digest = tokens.digest


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (tokens, "digest", _tell),
        (authorizing, "redacted", lambda value, ends: value),
        (kavach_core.Agent, "__repr__", lambda self: f"Agent({self.id}, {self.token})"),
    ],
)
async def test_the_same_search_finds_what_is_shown(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Any
) -> None:
    """The negative control: a log line too many, arguments kept as they are, a token in what an object prints."""
    tapes = Tapes()
    monkeypatch.setattr(where, name, instead)
    with recorded_logs(tapes):
        async with _world(sqlite_database, tapes) as (world, _):
            await _approvals(world, tapes)
            await _in_process(world, tapes)
    assert tapes.search()
