"""Decisions: facts in one read, decided without I/O, recorded in one write, returned after the commit."""

from kavach_core.capabilities.authorize.model import CallContext, Decision, Explanation, LookedAt, Settlement
from kavach_core.capabilities.authorize.remaining import Remaining
from kavach_core.capabilities.authorize.service import Authorizer, HasId

__all__ = ["Authorizer", "CallContext", "Decision", "Explanation", "HasId", "LookedAt", "Remaining", "Settlement"]
