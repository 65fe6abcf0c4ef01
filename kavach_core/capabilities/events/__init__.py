"""What happened, written in the transaction of the change itself."""

from kavach_core.capabilities.events.announce import announce

__all__ = ["announce"]
