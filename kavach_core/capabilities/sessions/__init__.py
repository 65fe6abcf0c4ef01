"""A human's sign-in: opaque, hashed at rest, ended at once."""

from kavach_core.capabilities.sessions.model import LiveSession, Session, SessionRejected, SignInMethod
from kavach_core.capabilities.sessions.service import Sessions

__all__ = ["LiveSession", "Session", "SessionRejected", "Sessions", "SignInMethod"]
