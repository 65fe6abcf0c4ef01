"""Things that hold once: how one comes to be, how it is used, and what is on record afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kavach_core import ApprovalStatus, Kavach, create_kavach
from kavach_core.capabilities.approvals import queries as approvals
from kavach_core.capabilities.budgets import queries as budgets
from kavach_core.capabilities.challenges import once as challenges
from kavach_core.capabilities.limits import keys
from kavach_core.capabilities.recovery import queries as recovery
from kavach_core.primitives.browser import Browser
from tests.capabilities.support import ask, limited, make_agent, select
from tests.passkeys.support import Person, code_of, synced
from tests.proofs.crew import Orders, meet

#: Attempts that one account and one address may make in a quarter of an hour: what is raced for is not that.
MANY = 10**9


@dataclass(frozen=True, slots=True)
class Once:
    """One kind. `make` returns what `use` and `check` are called with; a use that is refused raises."""

    make: Callable[[Kavach], Awaitable[Sequence[Any]]]
    use: Callable[..., Awaitable[object]]
    #: Whether the record says that it was used once.
    check: Callable[..., Awaitable[bool]]


async def _make_approval(kavach: Kavach) -> Sequence[Any]:
    agent = await make_agent(kavach, limited("repos", "read", requireApproval=True))
    asked = await ask(kavach, agent.token)
    await kavach.approvals.approve(asked.approval_id or "", by="alice")
    return agent.token, asked.approval_id, agent.id


async def _use_approval(kavach: Kavach, token: str, approval_id: str, agent_id: str) -> object:
    return await kavach.require_authorized(token, action="read", resource="repos")


async def _check_approval(kavach: Kavach, token: str, approval_id: str, agent_id: str) -> bool:
    allowed = await kavach.audit.query(agent_id=agent_id, result="allowed")
    approval = await kavach.approvals.get(approval_id)
    return approval.status is ApprovalStatus.USED and [each.id for each in allowed.items] == [approval.audit_id]


async def _make_reservation(kavach: Kavach) -> Sequence[Any]:
    agent = await make_agent(kavach)
    budget = await kavach.budgets.create(measure="cost", limit=100, per="forever", agent_id=agent.id)
    decision = await ask(kavach, agent.token, cost=40)
    return decision.audit_id, budget.id


async def _settle(kavach: Kavach, audit_id: str, budget_id: str) -> object:
    return await kavach.settle(audit_id, 25)


async def _check_settled(kavach: Kavach, audit_id: str, budget_id: str) -> bool:
    return (await kavach.budgets.get(budget_id)).spent == 25


async def _make_sign_in(kavach: Kavach) -> Sequence[Any]:
    person = Person(kavach, synced())
    session = await person.register()
    return await person.begin_sign_in(), person.browser, session.user_id


async def _sign_in(kavach: Kavach, body: object, browser: Browser, user_id: str) -> object:
    return await kavach.auth.passkey.finish_authentication(body, browser=browser)


async def _check_sign_in(kavach: Kavach, body: object, browser: Browser, user_id: str) -> bool:
    return len(await kavach.sessions.list(user_id)) == 2


async def _make_sign_up(kavach: Kavach) -> Sequence[Any]:
    person = Person(kavach, synced())
    return await person.begin_registration(), person.browser


async def _sign_up(kavach: Kavach, body: object, browser: Browser) -> object:
    return await kavach.auth.passkey.finish_registration(body, browser=browser)


async def _check_sign_up(kavach: Kavach, body: Any, browser: Browser) -> bool:
    passkeys = await select(kavach, "select count(*) from kavach_passkeys")
    return passkeys == await select(kavach, "select count(*) from kavach_users")


async def _make_code(kavach: Kavach) -> Sequence[Any]:
    session = await Person(kavach).register()
    return (await kavach.auth.recovery.issue_codes(session))[0], session.user_id


async def _use_code(kavach: Kavach, code: str, user_id: str) -> object:
    return await kavach.auth.recovery.use_code(code)


async def _check_code(kavach: Kavach, code: str, user_id: str) -> bool:
    return await kavach.auth.recovery.codes_left(user_id) == 9 and await _check_link(kavach, code, user_id)


async def _make_link(kavach: Kavach) -> Sequence[Any]:
    session = await Person(kavach).register()
    return (await kavach.auth.recovery.issue_link(session.user_id)).token, session.user_id


async def _use_link(kavach: Kavach, token: str, user_id: str) -> object:
    return await kavach.auth.recovery.use_link(token)


async def _check_link(kavach: Kavach, secret: str, user_id: str) -> bool:
    """The session of the sign-up, and one of the recovery."""
    return len(await kavach.sessions.list(user_id)) == 2


ONCE = {
    "approvals": Once(_make_approval, _use_approval, _check_approval),
    "settlements": Once(_make_reservation, _settle, _check_settled),
    "sign-ins": Once(_make_sign_in, _sign_in, _check_sign_in),
    "sign-ups": Once(_make_sign_up, _sign_up, _check_sign_up),
    "recovery codes": Once(_make_code, _use_code, _check_code),
    "recovery links": Once(_make_link, _use_link, _check_link),
}


def _only_look() -> None:
    """What Kavach does not do: read what is left, and write a moment later, without a lock in between."""
    look = "select {} from {}, pg_sleep(0.02) where project_id = $1 and {} = $2".format
    approvals._LOCK = look(approvals._OPEN_COLUMNS, "kavach_approvals", "closed_at is null and binding")
    budgets._LOCK_RESERVATION = look("audit_id, amount, charges, lease_ends_at", "kavach_reservations", "audit_id")
    challenges._TAKE = look("kind, browser_hash, user_id, session_id, data, expires_at", "kavach_challenges", "hash")
    recovery._USE = look("user_id", "kavach_recovery_codes", "hash")
    keys.asking = lambda owner_id: os.urandom(17)


@asynccontextmanager
async def using(database: str, variant: str) -> AsyncGenerator[Orders]:
    """`variant` is `locked`, or `only looked` for what Kavach does not do."""
    if variant == "only looked":
        _only_look()
    async with await create_kavach(
        database=database, skip_migrations=True, attempts_per_account=MANY, attempts_per_address=MANY
    ) as kavach:

        async def use(kind: str, thing: Sequence[Any], times: int, at: int) -> list[str]:
            """Use a thing so often at once, from a moment on; returns what came of it."""
            await meet(at)
            return await asyncio.gather(*[code_of(ONCE[kind].use(kavach, *thing)) for _ in range(times)])

        yield {"use": use}
