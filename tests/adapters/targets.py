"""Request targets as clients may write them, and the scopes that servers make of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import httptools
from hypothesis import strategies as st

from tests.adapters.attacks import words
from tests.adapters.sites import OPEN_PATHS, SECRET_PATHS

_SECONDS = 10


class Said(NamedTuple):
    """What a scope says of the target."""

    path: str
    raw_path: bytes | None
    query: bytes = b""


def uvicorn_h11(target: str, root_path: str) -> Said | None:
    """uvicorn with h11, and every WebSocket under uvicorn: the root path goes in front of whatever was sent."""
    raw, _, query = target.partition("?")
    return Said(root_path + unquote(raw), (root_path + raw).encode(), query.encode())


def uvicorn_httptools(target: str, root_path: str) -> Said | None:
    """uvicorn with httptools: a URL is taken apart, and one that is none is refused."""
    try:
        url = httptools.parse_url(target.encode())
    except httptools.HttpParserInvalidURLError:
        return None
    if url.path is None:
        return None
    raw = url.path.decode()
    return Said(root_path + unquote(raw), root_path.encode() + url.path, url.query or b"")


def hypercorn(target: str, root_path: str) -> Said | None:
    """hypercorn: the path is what was sent, and has the root path in it or has not."""
    raw, _, query = target.partition("?")
    return Said(unquote(raw), raw.encode(), query.encode())


def granian(target: str, root_path: str) -> Said | None:
    """granian: as hypercorn, but fragments and whatever comes before the path of a URL are gone."""
    raw, _, query = target.partition("#")[0].partition("?")
    if not raw.startswith("/"):
        scheme, _, rest = raw.partition("://")
        raw = "" if "/" in scheme else f"/{rest.partition('/')[2]}"
    return Said(unquote(raw), raw.encode(), query.encode())


def without_raw_path(target: str, root_path: str) -> Said | None:
    """A server that leaves out what ASGI lets it leave out."""
    return Said(root_path + unquote(target.partition("?")[0]), None)


Server = Callable[[str, str], Said | None]
SERVERS: Final[tuple[Server, ...]] = (uvicorn_h11, uvicorn_httptools, hypercorn, granian, without_raw_path)


class Sent(NamedTuple):
    """One request without any credential, as it leaves the client and reaches a server."""

    target: str
    server: Server
    root_path: str = ""
    kind: str = "http"

    def scope(self) -> dict[str, Any] | None:
        """The scope the server makes of it; None if it refuses it by itself."""
        said = self.server(self.target, self.root_path)
        if said is None:
            return None
        own: dict[str, Any] = {"method": "GET"} if self.kind == "http" else {"subprotocols": []}
        return {
            "type": self.kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http" if self.kind == "http" else "ws",
            "path": said.path,
            **({} if said.raw_path is None else {"raw_path": said.raw_path}),
            "root_path": self.root_path,
            "query_string": said.query,
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 40_000),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {"websocket.http.response": {}},
            **own,
        }


async def ask(app: Any, sent: Sent) -> tuple[int, str]:
    """Send it to an app, and give the status and what came back; an accepted socket is 101.

    What Quart raises for an empty path, or for a URL that is none, is 500 as under a server; so is what static files of
    an early Starlette raise for a socket.
    """
    scope = sent.scope()
    if scope is None:
        return 400, ""
    answered: list[dict[str, Any]] = []
    ended = asyncio.Event()
    is_http = sent.kind == "http"
    waiting = [{"type": "http.request", "body": b"", "more_body": False} if is_http else {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await ended.wait()
        return {"type": "http.disconnect"} if is_http else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)
        if message["type"] not in ("http.response.start", "websocket.accept") and not message.get("more_body", False):
            ended.set()

    try:
        await asyncio.wait_for(app(scope, receive, send), _SECONDS)
    except (AssertionError, IndexError, ValueError):
        return 500, ""
    status = answered[0].get("status", 101 if answered[0]["type"] == "websocket.accept" else 403)
    body = b"".join(message.get("body", b"") for message in answered).decode()
    return status, body + "".join(message.get("text", "") for message in answered)


# Targets that try to get around a guard.

_NOISE = words("""
    / // /./ /x/../ /../ /..;/ \\ ..\\ . .. ; ;a=b ?a=b #a : @ * + % %zz %u002f x gw /gw /gw/ /gw/other /v1
    %2f %2F %5c %2e %2e%2e/ %3b %3f %23 %25 %252f %252e %00 %0a %0d%0a %09 %0b %1f %20 %7f
    %c2%85 %c2%a0 %e2%80%8b %e2%81%84 %ef%bc%8f %ef%bc%8e %c0%af %c0%ae %ff
""")
_IN_FRONT = words("""
    http://h https://u:p@h:8 HTTP:// http:// http:/ http: x: //h /http://h http://h;p %20 %09
    /gw /v1 /gw/v1 /gw//v1 /x/gw /gwx/gw /gw/gw gw /x/.. /static/.. / /inner /inner/deep /vault /other /other/gw
""")
_LONG = "x" * 8192


def _encode(text: str, at: int, noise: str) -> str:
    return f"{text[:at]}%{ord(text[at]):02x}{text[at + 1 :]}"


def _encode_twice(text: str, at: int, noise: str) -> str:
    return f"{text[:at]}%25{ord(text[at]):02X}{text[at + 1 :]}"


def _insert(text: str, at: int, noise: str) -> str:
    return text[:at] + noise + text[at:]


def _drop(text: str, at: int, noise: str) -> str:
    return text[:at] + text[at + 1 :]


def _swap_case(text: str, at: int, noise: str) -> str:
    return text[:at] + text[at:].swapcase()


def _widen(text: str, at: int, noise: str) -> str:
    """A character in its full-width form, which NFKC makes plain again."""
    return text[:at] + quote(chr(ord(text[at]) + 0xFEE0)) + text[at + 1 :]


def _at_a_slash(text: str, at: int, noise: str) -> str:
    place = text.find("/", at)
    return text if place < 0 else text[:place] + noise + text[place + 1 :]


def _append(text: str, at: int, noise: str) -> str:
    return text + noise


_Mutation = Callable[[str, int, str], str]
_MUTATIONS: Final[tuple[_Mutation, ...]] = (
    *(_encode, _encode_twice, _insert, _insert, _drop, _swap_case, _widen, _at_a_slash, _append),
)


def _mutated(path: str, steps: list[tuple[_Mutation, int, str]], front: list[str]) -> str:
    for mutate, at, noise in steps:
        path = mutate(path, at % len(path), noise) or "/"
    return "".join(front) + path


_STEPS = st.tuples(st.sampled_from(_MUTATIONS), st.integers(0, 30), st.sampled_from([*_NOISE, _LONG]))
_FRONTS = st.lists(st.sampled_from(_IN_FRONT), max_size=2)
_WILD = ("/users/;x/keys", "/users/../keys", "/users/.//keys")
_DISGUISED = st.builds(_mutated, st.sampled_from([*SECRET_PATHS, *_WILD]), st.lists(_STEPS, max_size=4), _FRONTS)
_WORDS = tuple(sorted({word for path in SECRET_PATHS + OPEN_PATHS for word in path.split("/") if word}))
_SOUP = st.lists(st.sampled_from((*_NOISE, *_IN_FRONT, *_WORDS, "/", "/")), min_size=1, max_size=10).map("".join)

#: How servers are told a root path.
ROOT_PATHS: Final = ("", "/gw", "/gw/")
#: Requests that mean to reach something secret.
HOSTILE: Final = st.builds(
    Sent,
    target=_DISGUISED | _SOUP,
    server=st.sampled_from(SERVERS),
    root_path=st.sampled_from(ROOT_PATHS),
    kind=st.sampled_from(["http", "http", "http", "websocket"]),
)

# Targets that ordinary clients send.

#: Names as people give them, but for those that are dots until one of the marks that end a name somewhere.
_SEGMENT = st.text("abcXYZ019-_.~@+!üß#?; ", min_size=1, max_size=8).map(str.strip).filter(
    lambda text: text.strip(". ") and not re.match(r"[. ]+[#?;]", text)
) | st.sampled_from(["gw", "gw-notes", "v1", "v1-is-here", "#python", "?", "100%"])
_QUERIES = st.sampled_from(["", "", "?a=1&b=%2Fdashboard", "?next=/dashboard", "?"])


def _url(segments: list[str], end: str, query: str) -> str:
    return "/" + "/".join(map(quote, segments)) + end + query


#: Pages that are open in every site.
OPEN_TARGETS: Final = st.builds(str.__add__, st.sampled_from(OPEN_PATHS), _QUERIES) | st.builds(
    _url,
    st.tuples(st.just("blog"), _SEGMENT)
    | st.just(["static", *["x" * 200] * 15])
    | st.lists(_SEGMENT, max_size=3).map(lambda below: ["static", *below]),
    st.sampled_from(["", "/"]),
    _QUERIES,
)
#: Anything else, none of which is below what `protect` names.
OTHER_TARGETS: Final = st.builds(
    lambda first, below, query: _url([f"my-{first}", *below], "", query),
    _SEGMENT,
    st.lists(_SEGMENT, max_size=3),
    _QUERIES,
)
