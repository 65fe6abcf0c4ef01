"""Litestar's scopes as views, and replies as its responses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from urllib.parse import unquote

from litestar import Request, Response
from litestar.exceptions import ClientException, InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Scope

from kavach_adapters._asgi import Scope as AnyScope
from kavach_adapters._asgi import text_headers, view_of
from kavach_core.api.operation import Reply
from kavach_core.api.view import BodyReader, View
from kavach_core.errors import BodyTooLarge, InvalidInput

AnyRequest = Request[Any, Any, Any]


def scope_view(scope: Scope, read: BodyReader | None = None) -> View:
    """The view of a scope, with the path as it was sent: Litestar's has been tidied, and lacks the root path."""
    known = cast(AnyScope, scope)
    view = view_of(known, params=known.get("path_params"), read=read)
    # Litestar's own test client leaves the query on it.
    raw: bytes = (known.get("raw_path") or b"").partition(b"?")[0]
    return replace(view, path=unquote(raw.decode("latin-1"))) if raw else view


def body_reader(request: AnyRequest) -> BodyReader:
    """Read the body through Litestar, which may have done so for the app already."""

    async def read(limit: int) -> bytes:
        try:
            return await request.body()
        except RequestEntityTooLarge:
            raise BodyTooLarge(limit) from None
        except ClientException:
            raise InvalidInput("The length of the body cannot be read.") from None
        except InternalServerException:
            raise InvalidInput("The body never came to its end.") from None

    return read


def to_response(reply: Reply, *, head: bool = False) -> ASGIResponse:
    """A reply as Litestar sends it, header by header."""
    headers = text_headers(reply)
    if reply.stream is not None and not head:
        return ASGIStreamingResponse(iterator=reply.stream, status_code=reply.status, headers=dict(headers))
    body = b"" if head else reply.body
    return ASGIResponse(body=body, status_code=reply.status, headers=headers, is_head_response=head)


class ErrorResponse(Response[bytes]):
    """A reply as Litestar takes it from an error handler, which cannot return what is ready to be sent."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body, status_code=reply.status)
        self._reply = reply

    def to_asgi_response(self, app: object, request: AnyRequest, **_: Any) -> ASGIResponse:
        """Give what is sent, as it is."""
        return to_response(self._reply, head=request.method == "HEAD")
