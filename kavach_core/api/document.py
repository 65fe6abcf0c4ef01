"""The operation that describes the others."""

from __future__ import annotations

import json
from importlib.metadata import version

from kavach_core.api import openapi
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.primitives.tokens import PATTERN as TOKEN_PATTERN


async def _openapi(call: Call) -> Reply:
    # The table holds this very operation, so it can only be looked up when it is called.
    from kavach_core.api.table import TABLE

    mount = call.view.path.removesuffix("/openapi.json")
    said = openapi.document(TABLE, server=mount or "/", version=version("kavach-asgi"))
    return Reply(status=200, body=json.dumps(said).encode())


async def _configuration(call: Call) -> Reply:
    config = call.edge.config
    said = {
        "issuer": config.base_url,
        "api": f"{config.base_url or ''}{call.edge.mount}",
        "openapi": f"{config.base_url or ''}{call.edge.mount}/openapi.json",
        "token_pattern": TOKEN_PATTERN,
    }
    return Reply(status=200, body=json.dumps(said).encode())


async def _webauthn(call: Call) -> Reply:
    config = call.edge.config
    origins = [origin for origin in (config.base_url, *config.allowed_origins) if origin is not None]
    return Reply(status=200, body=json.dumps({"origins": origins}).encode())


OPERATIONS = (
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        callers=frozenset({Caller.ANYONE}),
        summary="This document",
        tag="document",
        handler=_openapi,
    ),
)

#: What belongs at the root of the origin and not under the mount (RFC 8615).
WELL_KNOWN = (
    Operation(
        name="configuration",
        method="GET",
        path="/.well-known/kavach-configuration",
        callers=frozenset({Caller.ANYONE}),
        summary="Where the API is, and what its tokens look like to a secret scanner",
        tag="document",
        handler=_configuration,
    ),
    Operation(
        name="relatedOrigins",
        method="GET",
        path="/.well-known/webauthn",
        callers=frozenset({Caller.ANYONE}),
        summary="The origins whose pages may use passkeys of this one (WebAuthn, section 5.11)",
        tag="document",
        handler=_webauthn,
    ),
)
