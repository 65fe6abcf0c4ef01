"""API keys: what a service or a script may do, by scopes, and what it may give."""

from kavach_core.capabilities.keys.model import ApiKey, Scope
from kavach_core.capabilities.keys.service import Keys

__all__ = ["ApiKey", "Keys", "Scope"]
