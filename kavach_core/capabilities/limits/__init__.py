"""The one room that counts: rates, refused calls, unknown credentials."""

from kavach_core.capabilities.limits.model import Attempt, Window
from kavach_core.capabilities.limits.service import Limits

__all__ = ["Attempt", "Limits", "Window"]
