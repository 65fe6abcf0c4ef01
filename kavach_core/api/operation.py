"""An operation as a value: what it is called, who may call it, what goes in and out. The table is made of these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from kavach_core.capabilities.keys import Scope
from kavach_core.primitives.principal import Identity

if TYPE_CHECKING:
    from kavach_core.api.edge import Edge
    from kavach_core.api.view import View
    from kavach_core.kavach import Kavach

SMALL: Final = 64 * 1024
#: Routes that carry permissions.
LARGE: Final = 1024 * 1024

JSON_TYPE: Final = b"application/json"


class Caller(StrEnum):
    """Who may call an operation. `ANYONE` needs no credential and is spelled out where it is meant."""

    HUMAN = "human"
    #: A human whom a recovery code or link let in, who can only add a passkey.
    RECOVERING = "recovering"
    AGENT = "agent"
    SERVICE = "service"
    ANYONE = "anyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. `stream` takes the place of `body` for one that is made while it is sent."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON_TYPE
    stream: AsyncIterator[str] | None = None

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Every header of the answer. No cache may keep it, unless its own headers say so."""
        own = list(self.headers)
        if all(name != b"cache-control" for name, _ in own):
            own.insert(0, (b"cache-control", b"no-store"))
        if self.stream is not None:
            return [(b"content-type", self.content_type), *own]
        if self.status in (204, 304):
            return own
        return [(b"content-type", self.content_type), (b"content-length", str(len(self.body)).encode()), *own]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an operation, after who is asking and what is asked were established."""

    kavach: Kavach
    edge: Edge
    view: View
    identity: Identity | None
    query: Any = None
    body: Any = None

    def param(self, name: str) -> str:
        """A part of the path."""
        return self.view.params[name]


#: Returns a model, a list of models, a page of models, None for 204, or a whole `Reply`.
Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table."""

    name: str
    method: str
    path: str
    #: Has no default: public is spelled out.
    callers: frozenset[Caller]
    #: The scope an API key needs; required where services may call.
    scope: Scope | None = None
    #: Another that is enough for a part of it; the handler tells for which.
    scope_in_part: Scope | None = None
    summary: str
    tag: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    #: Whether an empty body stands for `{}`.
    body_optional: bool = False
    output: type[BaseModel] | None = None
    output_is_list: bool = False
    status: int = 200
    #: What the body of a 202 is, where settings of the app let it only ask for what makes the answer above.
    accepted: type[BaseModel] | None = None
    limit: int = SMALL
    handler: Handler = field(repr=False)

    def __post_init__(self) -> None:
        if (Caller.SERVICE in self.callers) != (self.scope is not None):
            raise TypeError(f"{self.name}: an operation for services names its scope, and only such a one")
