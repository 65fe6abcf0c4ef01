"""What was asked and may be answered once."""

from kavach_core.capabilities.challenges.model import Asked, ChallengeKind
from kavach_core.capabilities.challenges.once import ask, take

__all__ = ["Asked", "ChallengeKind", "ask", "take"]
