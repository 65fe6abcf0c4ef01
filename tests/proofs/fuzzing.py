"""Requests nobody should send, made from what OpenAPI says and then spoilt; and what no answer to them may hold."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Header = tuple[bytes, bytes]

#: What the inside looks like from outside.
_INSIDE = re.compile(
    rb'Traceback|File "|kavach_core|kavach_adapters|pydantic|sqlite|asyncpg|[A-Za-z]+(Error|Exception)\b|<[a-z]+ object'
)
_STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, float("inf"), float("nan")),
    *("", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e", "\u200b", "e\u0301", "😀", "a" * 600, "a" * 70_000),
    *("*", "**", "*:*", "read:**", "read:a::b", ":", "::::", "read:" + "a:" * 40, "%00", "%s%n", "${x}", "{{x}}"),
    *("' or 1=1 --", "../../etc/passwd", "<script>", "\r\nSet-Cookie: a=b", "true", "1e5", "-1", "9" * 40),
    *("2030-13-45T99:99:99Z", "0001-01-01T00:00:00+14:00", "10s", "0s", "999999d", "forever", "::1", "0.0.0.0/0"),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": {"c": []}}}),
)
#: The ids that the first part of a path is about.
_KINDS = {
    "agents": "agt",
    "delegations": "dlg",
    "approvals": "apr",
    "budgets": "bdg",
    "sessions": "ses",
    "passkeys": "psk",
    "keys": "key",
    "audit": "aud",
    "users": "usr",
}
_PATH_PARTS = ("%00", "%2F", "%2e%2e", "%C0%AF", "%ED%A0%80", "%F0%9F%A4%96", "a" * 3000, "..", ".", "", "*", "{id}")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, as bytes."""

    method: str
    target: bytes
    headers: Sequence[Header]
    chunks: Sequence[bytes]
    #: Whether the client goes away before it has sent everything.
    leaves: bool = False

    def to_bytes(self) -> bytes:
        """As HTTP/1.1 over a socket."""
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers)
        head = self.method.encode() + b" " + self.target + b" HTTP/1.1\r\nhost: localhost:8000\r\n"
        return head + lines + b"connection: close\r\n\r\n" + b"".join(self.chunks)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: no status if nobody was there to be answered."""

    status: int | None
    body: bytes

    @property
    def fault(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.status is not None and self.status >= 500:
            return f"{self.status}: {self.body[:300]!r}"
        inside = _INSIDE.search(self.body) if self.status is not None and self.status >= 400 else None
        return None if inside is None else f"{inside[0]!r} in {self.body[:300]!r}"


class Fuzzer:
    """Makes requests. The same seed and number make the same request."""

    def __init__(self, document: Mapping[str, Any], *, mount: str) -> None:
        self._operations = [
            (method.upper(), path, said)
            for path, methods in document["paths"].items()
            for method, said in methods.items()
        ]
        self._mount = mount
        #: Ids that are somebody's, and credentials that hold; who sends them first is sent most often.
        self.ids: Sequence[str] = ()
        self.tokens: Sequence[str] = ()
        self._chance = random.Random()

    def request(self, seed: int, number: int) -> Sent:
        """A request that is nearly right, or not at all."""
        chance = self._chance = random.Random(f"{seed}-{number}")
        method, path, said = chance.choice(self._operations)
        body = self._body(said)
        headers = self._headers(body)
        target = self._target(path, said)
        if chance.random() < 0.05:
            method = chance.choice(
                ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "X" * 40]
            )
        if chance.random() < 0.1:
            target = self._spoil(target)
        return Sent(method, target, headers, self._chunks(body), leaves=chance.random() < 0.03)

    def _target(self, path: str, said: Mapping[str, Any]) -> bytes:
        chance = self._chance
        filled = re.sub(r"{\w+}", lambda _: chance.choice([*self.ids, *self.ids, chance.choice(_PATH_PARTS)]), path)
        parts: list[str] = []
        for parameter in said.get("parameters", ()):
            if parameter["in"] == "query" and chance.random() < 0.3:
                parts.append(f"{parameter['name']}={self._query_value(parameter)}")
        if chance.random() < 0.1:
            parts.append(chance.choice(["x=1", "limit=1&limit=2", "=", "&&&", "%", "a%ZZ=%C3", "&".join(["a"] * 60)]))
        query = "?" + "&".join(parts) if parts else ""
        return f"{self._mount}{filled}{query}".encode("utf-8", "surrogatepass")

    def _query_value(self, parameter: Mapping[str, Any]) -> str:
        value = self._value(parameter.get("schema", {}), 0)
        text = value if isinstance(value, str) else json.dumps(value)
        return re.sub(r"[^\w.:-]", lambda found: f"%{ord(found[0]) % 256:02X}", text[:5000])

    def _headers(self, body: bytes) -> list[Header]:
        chance = self._chance
        headers: list[Header] = []
        if chance.random() < 0.9:
            headers.append((b"authorization", self._authorization()))
        if chance.random() < 0.05:
            headers.append((b"authorization", self._authorization()))
        if chance.random() < 0.2:
            value = chance.choice([*self.tokens, "", "a=b; c", "\u00e9"]).encode("latin-1", "replace")
            headers.append((b"cookie", b"kv_session=" + value + chance.choice([b"", b"; kv_session=x", b";;;="])))
        kinds = [b"application/json"] * 8 + [
            b"",
            b"text/plain",
            b"application/json; charset=utf-16",
            b"multipart/x",
            b"\xff",
        ]
        headers.append((b"content-type", chance.choice(kinds)))
        lengths = [str(len(body)).encode()] * 12 + [b"0", b"-1", b"abc", b"9" * 30, str(len(body) + 7).encode()]
        headers.append((b"content-length", chance.choice(lengths)))
        for name in (
            b"origin",
            b"x-forwarded-for",
            b"user-agent",
            b"x-request-id",
            b"traceparent",
            b"content-encoding",
        ):
            if chance.random() < 0.08:
                strange = [b"", b"http://localhost:8000", b"null", b"\xff\xfe", b"gzip", b"1.2.3.4, " * 50, b"a" * 9000]
                headers.append((name, chance.choice(strange)))
        return headers

    def _authorization(self) -> bytes:
        chance = self._chance
        token = chance.choices(self.tokens, range(len(self.tokens), 0, -1))[0]
        if chance.random() < 0.9:
            return f"Bearer {token}".encode()
        spoilt = self._spoil(token.encode())
        return chance.choice(
            [
                b"Bearer " + spoilt,
                b"Basic " + spoilt,
                token.encode(),
                b"Bearer",
                b"",
                b"Bearer a b",
                b"\xff" * 20,
                b"a" * 9000,
            ]
        )

    def _body(self, said: Mapping[str, Any]) -> bytes:
        content = said.get("requestBody", {}).get("content", {})
        chance = self._chance
        if not content and chance.random() < 0.9:
            return b""
        schema = content.get("application/json", {}).get("schema", {})
        raw = _to_json(self._value(schema, 0))
        if chance.random() < 0.02:
            depth = chance.choice([50, 2000, 100_000])
            raw = b'{"metadata":' + b"[" * depth + b"]" * depth + b"}"
        if chance.random() < 0.03:
            raw = raw.decode("utf-8", "replace").encode(chance.choice(["utf-16", "utf-32", "cp037"]), "replace")
        return self._spoil(raw) if chance.random() < 0.25 else raw

    def _value(self, schema: Mapping[str, Any], depth: int) -> Any:
        """A value of a schema, and every now and then another."""
        chance = self._chance
        if depth > 6 or chance.random() < 0.06:
            return chance.choice(_STRANGE_VALUES)
        for name in ("anyOf", "oneOf", "allOf"):
            if name in schema:
                return self._value(chance.choice(schema[name]), depth + 1)
        if "enum" in schema:
            return chance.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array":
            return [self._value(schema.get("items", {}), depth + 1) for _ in range(chance.choice([0, 1, 1, 2, 5]))]
        if kind in ("integer", "number"):
            return chance.choice([0, 1, 5, 60, 1000, 2**40])
        if kind == "boolean":
            return chance.random() < 0.5
        if kind == "null":
            return None
        return chance.choice([*self.ids, *self.tokens, "read", "repos", "read:repos", "alice", "2h", "day", "calls"])

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        chance = self._chance
        required = set(schema.get("required", ()))
        made = {
            name: self._value(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if chance.random() < (0.97 if name in required else 0.4)
        }
        if chance.random() < 0.05 or not schema.get("properties"):
            made[chance.choice(["x", "", "\0", "__proto__", "ownerId"])] = chance.choice(_STRANGE_VALUES)
        return made

    def _spoil(self, raw: bytes) -> bytes:
        """Change, drop, double and insert bytes at random."""
        chance, spoilt = self._chance, bytearray(raw)
        for _ in range(chance.choice([1, 1, 2, 8])):
            place = chance.randrange(len(spoilt) + 1)
            match chance.randrange(4):
                case 0:
                    spoilt[place : place + 1] = bytes([chance.randrange(256)])
                case 1:
                    del spoilt[place : place + chance.choice([1, 1, 10])]
                case 2:
                    spoilt[place:place] = spoilt[: chance.choice([1, 20])]
                case _:
                    spoilt[place:place] = chance.choice(
                        [b"\0", b"\xff", b"\xed\xa0\x80", b"\\", b'"', b"\r\n", b"\\ud800"]
                    )
        return bytes(spoilt)

    def _chunks(self, body: bytes) -> list[bytes]:
        chance, chunks = self._chance, list[bytes]()
        while body and chance.random() < 0.3:
            place = chance.randrange(len(body) + 1)
            chunks.append(body[:place])
            body = body[place:]
        return [*chunks, body]


def _to_json(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"{}"


async def send(app: Any, sent: Sent) -> Answer:
    """Have an app in this process answer; whatever it raises is an answer of 599."""
    path, _, query = sent.target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": "http",
        "path": _unquoted(path),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost:8000"), *sent.headers],
        "client": ("127.0.0.1", 40_000),
        "server": ("localhost", 8000),
        "state": {},
    }
    told = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in sent.chunks]
    told.append(
        {"type": "http.disconnect"} if sent.leaves else {"type": "http.request", "body": b"", "more_body": False}
    )
    told.reverse()
    messages: list[dict[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if told:
            return told.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def take(message: dict[str, Any]) -> None:
        messages.append(message)

    try:
        async with asyncio.timeout(20):
            await app(scope, receive, take)
    except Exception as error:
        return Answer(None if sent.leaves and "Disconnect" in type(error).__name__ else 599, repr(error).encode())
    starts = [message["status"] for message in messages if message["type"] == "http.response.start"]
    return Answer(starts[0] if starts else None, b"".join(message.get("body", b"") for message in messages))


def _unquoted(path: bytes) -> str:
    """As servers hand it on."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), path)
    return raw.decode("utf-8", "replace")


async def send_over(port: int, raw: bytes) -> Answer:
    """Send bytes to a real server and read until it closes, or waits for more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(1):
            said = await reader.read(1 << 20)
            while piece := await reader.read(1 << 20):
                said += piece
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    return Answer(int(status[1]) if status else None, body)
