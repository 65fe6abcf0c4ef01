"""Kavach: builds every service in order, opens and closes. No logic lives here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Unpack

from kavach_core.capabilities.agents import Agents
from kavach_core.capabilities.agents import queries as agent_queries
from kavach_core.capabilities.approvals import Approvals
from kavach_core.capabilities.audit import Audit
from kavach_core.capabilities.authorize import Authorizer, HasId, Remaining
from kavach_core.capabilities.budgets import Budgets
from kavach_core.capabilities.budgets import queries as budget_queries
from kavach_core.capabilities.delegation import Delegations
from kavach_core.capabilities.delegation import queries as delegation_queries
from kavach_core.capabilities.emails import Emails, Outbox
from kavach_core.capabilities.keys import Keys
from kavach_core.capabilities.limits import Limits
from kavach_core.capabilities.owners import Owners
from kavach_core.capabilities.passkeys import Passkeys
from kavach_core.capabilities.passwords import Passwords
from kavach_core.capabilities.permission_sets import PermissionSets
from kavach_core.capabilities.project import Projects
from kavach_core.capabilities.recovery import Recovery
from kavach_core.capabilities.sessions import Sessions
from kavach_core.capabilities.sessions import queries as session_queries
from kavach_core.capabilities.users import Users
from kavach_core.capabilities.users import queries as user_queries
from kavach_core.config import Config, Settings, load_config
from kavach_core.errors import StoreUnavailable
from kavach_core.primitives import ids
from kavach_core.primitives.clock import SECOND
from kavach_core.runtime import Runtime
from kavach_core.store.open import open_store

#: What each room moves when an owner is renamed.
_MOVES: Final = (
    budget_queries.move_owner,
    agent_queries.move_owner,
    session_queries.move_owner,
    user_queries.move_owner,
)

_log = logging.getLogger("kavach")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Kavach's own ways to sign in."""

    passkey: Passkeys
    password: Passwords
    recovery: Recovery
    email: Emails
    outbox: Outbox


class Kavach:
    """One project's agents, owners, sessions, keys and record, on an open store."""

    def __init__(self, runtime: Runtime) -> None:
        sets = PermissionSets(runtime.project)
        authorizer = Authorizer(runtime, sets)
        self.config: Config = runtime.config
        self.limits = Limits(runtime)
        self.audit = Audit(runtime, sets, line_of=delegation_queries.line_of)
        self.project = Projects(runtime)
        self.owners = Owners(runtime, sets, moves=_MOVES)
        self.budgets = Budgets(runtime)
        self.users = Users(runtime)
        self.sessions = Sessions(runtime)
        self.auth = Auth(
            passkey=Passkeys(runtime, self.users, self.sessions, self.limits),
            password=Passwords(runtime, self.users, self.sessions, self.limits),
            recovery=Recovery(runtime, self.sessions, self.limits),
            email=Emails(runtime, self.limits),
            outbox=Outbox(runtime.config.send_email),
        )
        self.keys = Keys(runtime, sets)
        self.delegations = Delegations(runtime, sets)
        self.approvals = Approvals(runtime, is_live=self.delegations.is_live_in)
        self.agents = Agents(runtime, sets, self.delegations, authorizer)
        #: `await kavach.authorize(subject, action=..., resource=...)`, and the form that raises.
        self.authorize = authorizer.authorize
        self.require_authorized = authorizer.require_authorized
        #: `await kavach.settle(audit_id, actual)` says what a call cost.
        self.settle = authorizer.settle
        self._authorizer = authorizer
        self._store = runtime.store

    async def remaining(self, agent: str | HasId) -> Remaining:
        """Return what an agent may still spend now, by the best of its grants. Raises `InvalidInput` and `NotFound`."""
        return await self._authorizer.remaining(ids.of(agent, field="agent"))

    async def close(self) -> None:
        """Finish what is in flight, mails too, and let go of the store."""
        await self.auth.outbox.close()
        try:
            await self._authorizer.close()
        except StoreUnavailable:
            _log.exception("calls that were turned away could not be recorded")
        await self._store.close()

    async def __aenter__(self) -> Kavach:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


async def create_kavach(**settings: Unpack[Settings]) -> Kavach:
    """Open a Kavach with these settings; what is not given comes from the environment.

    Migrations that are due run first, unless `skip_migrations=True`. Raises `ConfigurationError` for settings that do
    not hold together and `StoreUnavailable` if the database cannot be reached.
    """
    return await open_kavach(load_config(**settings))


async def open_kavach(config: Config) -> Kavach:
    """Open a Kavach with settings that were checked before."""
    store = await open_store(
        config.database,
        clock=config.clock,
        pgbouncer=config.pgbouncer,
        skip_migrations=config.skip_migrations,
        max_waiting=config.max_waiting,
        patience=config.answer_within / SECOND,
    )
    return Kavach(Runtime(store, config))
