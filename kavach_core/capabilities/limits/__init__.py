"""The one room that counts: rates, refused calls, unknown credentials."""

from kavach_core.capabilities.limits.model import Window
from kavach_core.capabilities.limits.service import Limits

__all__ = ["Limits", "Window"]
