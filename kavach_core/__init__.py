"""Kavach: auth for AI agents and the humans behind them. Needs no web framework and, on SQLite, no driver."""

from kavach_core.capabilities.agents import Agent, AgentStatus, DelegatedAgent, RotatedAgent
from kavach_core.capabilities.approvals import Approval, ApprovalStatus
from kavach_core.capabilities.audit import AuditEntry, PathLink, Result
from kavach_core.capabilities.authorize import CallContext, Decision, Explanation, Remaining, Settlement
from kavach_core.capabilities.budgets import Budget
from kavach_core.capabilities.delegation import Delegation, DelegationStatus
from kavach_core.capabilities.keys import ApiKey, Scope
from kavach_core.capabilities.owners import Owner
from kavach_core.capabilities.passkeys import AddedPasskey, Passkey
from kavach_core.capabilities.sessions import LiveSession, Session, SessionRejected
from kavach_core.capabilities.users import User
from kavach_core.config import Config
from kavach_core.kavach import Kavach, create_kavach
from kavach_core.lazy import LazyKavach, lazy_kavach
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.permissions import Constraints, Permission, TimeWindow
from kavach_core.primitives.principal import (
    AgentIdentity,
    AgentType,
    HumanIdentity,
    Identity,
    Rejected,
    ServiceIdentity,
    Verified,
)
from kavach_core.primitives.reasons import Reason

__all__ = [
    "AddedPasskey",
    "Agent",
    "AgentIdentity",
    "AgentStatus",
    "AgentType",
    "ApiKey",
    "Approval",
    "ApprovalStatus",
    "AuditEntry",
    "Browser",
    "Budget",
    "CallContext",
    "Config",
    "Constraints",
    "Decision",
    "DelegatedAgent",
    "Delegation",
    "DelegationStatus",
    "Explanation",
    "HumanIdentity",
    "Identity",
    "Kavach",
    "LazyKavach",
    "LiveSession",
    "Owner",
    "Passkey",
    "PathLink",
    "Permission",
    "Reason",
    "Rejected",
    "Remaining",
    "Result",
    "RotatedAgent",
    "Scope",
    "ServiceIdentity",
    "Session",
    "SessionRejected",
    "Settlement",
    "TimeWindow",
    "User",
    "Verified",
    "create_kavach",
    "lazy_kavach",
]
