"""Mail the app sends for Kavach, and the proof that an address is somebody's."""

from kavach_core.capabilities.emails.outbox import Outbox
from kavach_core.capabilities.emails.service import Emails

__all__ = ["Emails", "Outbox"]
