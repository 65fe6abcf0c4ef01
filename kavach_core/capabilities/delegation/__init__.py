"""Narrower permissions handed on from agent to agent, with one recorded source each; chains, their life and their end.

Knows agents only as ids and rows. What a decision looks at (`Facts`) is loaded here.
"""

from kavach_core.capabilities.delegation.facts import AgentFacts, Credential, Edge, Facts, Link, Path
from kavach_core.capabilities.delegation.loader import load_facts
from kavach_core.capabilities.delegation.model import Delegation, DelegationStatus
from kavach_core.capabilities.delegation.policy import Terms, require_live
from kavach_core.capabilities.delegation.service import Delegations

__all__ = [
    "AgentFacts",
    "Credential",
    "Delegation",
    "DelegationStatus",
    "Delegations",
    "Edge",
    "Facts",
    "Link",
    "Path",
    "Terms",
    "load_facts",
    "require_live",
]
