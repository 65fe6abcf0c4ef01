"""What the tests of resolvers share: requests to look at, an issuer with keys of its own, and what was recorded."""

from __future__ import annotations

import asyncio
import json
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kavach_core.config import Config, load_config
from kavach_core.resolvers import View
from tests.http.live import live

#: `record/check.py` points this at what the real packages have just made.
FIXTURES: Final = Path(os.environ.get("KAVACH_RESOLVER_FIXTURES", Path(__file__).parent / "fixtures"))

AUDIENCE: Final = "my-app"


def recorded(name: str) -> dict[str, Any]:
    """What `record/record.mjs` wrote."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def config(base_url: str | None = None, **settings: Any) -> Config:
    return load_config(base_url=base_url, secret="s" * 32, **settings)


def view(*cookies: tuple[str, str], bearer: str | None = None, peer: str | None = "127.0.0.1", **headers: str) -> View:
    """A request with these cookies, in one header, and these headers."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if cookies:
        named.append((b"cookie", "; ".join(f"{name}={value}" for name, value in cookies).encode()))
    if bearer is not None:
        named.append((b"authorization", f"Bearer {bearer}".encode()))
    return View(method="GET", path="/", headers=named, peer=peer)


def and_header(before: View, name: str, value: str) -> View:
    """The same request with one more header."""
    return replace(before, headers=[*before.headers, (name.encode(), value.encode())])


RSA: Final = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER_RSA: Final = RSAKey.generate_key(2048, {"kid": "rsa"})
EC: Final = ECKey.generate_key("P-256", {"kid": "ec"})
ED: Final = OKPKey.generate_key("Ed25519", {"kid": "ed"})


class Issuer:
    """An issuer on a loopback port, whose documents and manners a test may change."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[Key] = [RSA, EC, ED]
        #: Members of the set that are not our keys.
        self.more: list[dict[str, Any]] = []
        #: In place of the set.
        self.answer: Response | None = None
        #: What to change in the discovery document, and which of its two places has it.
        self.document: dict[str, Any] = {}
        self.at = "/.well-known/openid-configuration"
        self.asked: list[str] = []
        #: Set while answers may leave.
        self.gate = asyncio.Event()
        self.gate.set()

    def token(self, key: Key = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that holds, but for what is changed. A claim of None is left out."""
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 300, **claims}
        named = {"alg": alg, "kid": key.kid, "typ": "JWT", **(header or {})}
        return signed({name: value for name, value in named.items() if value is not None}, said, key)

    async def jwks(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        await self.gate.wait()
        public = [key.as_dict(private=False) for key in self.keys]
        return self.answer or JSONResponse({"keys": [*public, *self.more]})

    async def discover(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if request.url.path != self.at:
            return Response(status_code=404)
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **self.document})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/jwks", self.jwks),
                Route("/.well-known/jwks.json", self.jwks),
                Route("/.well-known/{rest:path}", self.discover),
                Route("/elsewhere", lambda request: RedirectResponse("/jwks")),
            ]
        )


@asynccontextmanager
async def open_issuer() -> AsyncGenerator[Issuer]:
    issuer = Issuer()
    async with live(issuer.app()) as issuer.url:
        yield issuer


def signed(header: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """A token with any header and any algorithm, as an attacker would make it."""
    said = {name: value for name, value in claims.items() if value is not None}
    signing_input = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said))
    signature = JWSRegistry.algorithms[header["alg"]].sign(signing_input, key)
    return b".".join((signing_input, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def oct_key(secret: bytes) -> OctKey:
    """A shared key; bytes that are another key's are taken as well."""
    return OctKey(secret, secret, {"kid": "rsa"})
