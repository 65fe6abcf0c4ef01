"""Who the human is, told by the auth an app already has."""

from kavach_core.api.view import View
from kavach_core.resolvers.dev import dev_user

__all__ = ["View", "dev_user"]
