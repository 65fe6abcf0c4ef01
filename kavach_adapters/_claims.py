"""Headers that claim an identity: a client's are taken away on every path, ours are given where the app asks for them.

Code behind the guard that knows nothing of Kavach, such as an app in another framework, can read who is asking there.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from kavach_adapters._asgi import Scope
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity

#: What stands in a value as it is, beside letters, digits and `-._~`. Not the comma: repeated headers are joined by it.
_PLAIN: Final = "@:/|+="


def without_claims(scope: Scope) -> Scope:
    """The scope without headers that claim an identity: what a client says there would be believed.

    Its headers are a list of its own in any case: uvicorn puts the trailers of a body, which come after this look, into
    the one it has given away.
    """
    headers = scope["headers"]
    for name, _ in headers:
        if name[:1] in b"xX" and _claims_identity(name):
            return {**scope, "headers": [(name, value) for name, value in headers if not _claims_identity(name)]}
    # Not in a copy of the scope: layers further out read what the router leaves there.
    scope["headers"] = list(headers)
    return scope


def with_claims(scope: Scope, identity: Identity) -> Scope:
    """The scope with headers that say who is asking, after a client's own were taken away."""
    return {**scope, "headers": [*scope["headers"], *_headers(identity)]}


def _claims_identity(name: bytes) -> bool:
    folded = name.lower().replace(b"_", b"-")
    return folded == b"x-user-id" or folded.startswith(b"x-kavach-")


def _headers(identity: Identity) -> list[tuple[bytes, bytes]]:
    # An agent is not its owner: `x-user-id` is for humans alone, or code that knows no agents would take one for them.
    if isinstance(identity, HumanIdentity):
        said = {"kind": "human", "owner-id": identity.id}
        return [(b"x-user-id", _value(identity.id)), *_named(said)]
    if isinstance(identity, AgentIdentity):
        return _named({"kind": "agent", "owner-id": identity.owner_id, "agent-id": identity.agent_id})
    return _named({"kind": "service", "key-id": identity.key_id})


def _named(said: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(f"x-kavach-{name}".encode("ascii"), _value(value)) for name, value in said.items()]


def _value(text: str) -> bytes:
    """The text in ASCII, all but plain characters percent-encoded as UTF-8 (RFC 3986): `urllib.parse.unquote` reads it.

    Whatever an app uses as the id of its users stays one header with one value, and two ids stay two.
    """
    return quote(text, safe=_PLAIN, errors="surrogatepass").encode("ascii")
