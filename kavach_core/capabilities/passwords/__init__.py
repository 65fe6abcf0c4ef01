"""E-mail and password, for apps that want them (`passwords=True`)."""

from kavach_core.capabilities.passwords.service import Passwords

__all__ = ["Passwords"]
