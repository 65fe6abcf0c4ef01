"""What an adapter for another framework is made of. How to put it together is in `docs/integrations/custom.md`."""

from __future__ import annotations

from kavach_adapters._asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    body_reader,
    refuse_socket,
    send_reply,
    view_of,
)
from kavach_adapters._connection import RECHECK, Watched, watch_socket
from kavach_adapters._guard import GuardMiddleware
from kavach_adapters._refusals import SocketRefusals, note_refusal
from kavach_core.api.cookies import browser_cookie, no_session_cookie, session_cookie
from kavach_core.api.dispatch import matches, run, run_unknown
from kavach_core.api.document import WELL_KNOWN
from kavach_core.api.edge import Edge, GetKavach, Requirement, split_permission
from kavach_core.api.openapi import SECURITY_SCHEMES, fragment
from kavach_core.api.operation import Operation, Reply
from kavach_core.api.problems import to_close, to_reply
from kavach_core.api.table import TABLE
from kavach_core.api.view import BodyReader, View
from kavach_core.primitives.browser import Browser

__all__ = [
    "RECHECK",
    "SECURITY_SCHEMES",
    "TABLE",
    "WELL_KNOWN",
    "ASGIApp",
    "BodyReader",
    "Browser",
    "Edge",
    "GetKavach",
    "GuardMiddleware",
    "Message",
    "Operation",
    "Receive",
    "Reply",
    "Requirement",
    "Scope",
    "Send",
    "SocketRefusals",
    "View",
    "Watched",
    "body_reader",
    "browser_cookie",
    "fragment",
    "matches",
    "no_session_cookie",
    "note_refusal",
    "refuse_socket",
    "run",
    "run_unknown",
    "send_reply",
    "session_cookie",
    "split_permission",
    "to_close",
    "to_reply",
    "view_of",
    "watch_socket",
]
