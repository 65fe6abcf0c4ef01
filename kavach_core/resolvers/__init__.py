"""Who the human is, told by the auth an app already has."""

from kavach_core.api.view import View
from kavach_core.resolvers.authjs import authjs
from kavach_core.resolvers.better_auth import better_auth
from kavach_core.resolvers.clerk import clerk
from kavach_core.resolvers.clerk_webhook import clerk_webhook
from kavach_core.resolvers.dev import dev_user
from kavach_core.resolvers.jwt import jwt, oidc
from kavach_core.resolvers.on_sign_in import on_sign_in
from kavach_core.resolvers.proxy import proxy_header

__all__ = [
    "View",
    "authjs",
    "better_auth",
    "clerk",
    "clerk_webhook",
    "dev_user",
    "jwt",
    "oidc",
    "on_sign_in",
    "proxy_header",
]
