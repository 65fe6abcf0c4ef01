"""A resolver that is half configured refuses to start, and none asks anything of the world before it is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from kavach_core.errors import ConfigurationError
from kavach_core.resolvers import authjs, better_auth, checks, clerk, clerk_webhook, jwt, oidc, on_sign_in
from tests.resolvers.support import config
from tests.resolvers.test_proxy import resolve as behind_proxy

JWKS = "https://id.example/jwks"
GOOD = "good-enough-for-a-secret"


async def hook(owner_id: str) -> None: ...


async def find_session(token: str) -> str | None: ...


def jwt_(**changed: Any) -> Any:
    return jwt(**{"jwks_url": JWKS, "issuer": "https://id.example", "audience": "app", **changed})


HALF: list[Callable[[], Any]] = [
    lambda: jwt_(audience=""),
    lambda: jwt_(audience=[]),
    lambda: jwt_(audience=None),
    lambda: jwt_(audience=["app", " "]),
    lambda: jwt_(issuer=""),
    lambda: jwt_(jwks_url=""),
    lambda: jwt_(jwks_url="http://id.example/jwks"),
    lambda: jwt_(jwks_url="https://user:word@id.example/jwks"),
    lambda: jwt_(jwks_url="https://[id.example/jwks"),
    lambda: jwt_(jwks_url="file:///jwks"),
    lambda: jwt_(algorithms=[]),
    lambda: jwt_(algorithms=["none"]),
    lambda: jwt_(algorithms=["RS256", "HS256"]),
    lambda: jwt_(algorithms="dir"),
    lambda: jwt_(authorized_parties=[]),
    lambda: jwt_(claim=""),
    lambda: jwt_(claim=None),
    lambda: jwt_(issuer=None),
    lambda: jwt_(jwks_url=None),
    lambda: jwt_(cookie=""),
    lambda: jwt_(on_sign_in="hook"),
    lambda: jwt_(skew=3600),
    lambda: jwt_(skew=-1),
    lambda: oidc(issuer="", audience="app"),
    lambda: oidc(issuer="http://id.example", audience="app"),
    lambda: oidc(issuer="https://id.example", audience=()),
    lambda: clerk(issuer=""),
    lambda: clerk(issuer="clerk.example"),
    lambda: clerk(issuer="https://clerk.example", authorized_parties=[]),
    lambda: clerk(issuer="https://clerk.example", on_sign_in="x"),  # type: ignore[arg-type]
    lambda: clerk_webhook(secret="whsec_" + "a" * 32, on_sign_in=None),  # type: ignore[arg-type]
    lambda: clerk_webhook(secret=None, on_sign_in=hook),  # type: ignore[arg-type]
    lambda: on_sign_in(None, None),  # type: ignore[arg-type]
    lambda: on_sign_in(jwt_(), None),  # type: ignore[arg-type]
    lambda: on_sign_in(None, hook),  # type: ignore[arg-type]
    lambda: clerk_webhook(secret="", on_sign_in=hook),
    lambda: clerk_webhook(secret="whsec_", on_sign_in=hook),
    lambda: clerk_webhook(secret="whsec_!!!", on_sign_in=hook),
    lambda: clerk_webhook(secret="whsec_c2hvcnQ=", on_sign_in=hook),
    lambda: authjs(secret=""),
    lambda: authjs(secret=[]),
    lambda: authjs(secret="x"),
    lambda: authjs(secret=[GOOD, "short"]),
    lambda: authjs(secret=[None]),  # type: ignore[list-item]
    lambda: authjs(secret=GOOD, claim=" "),
    lambda: better_auth(secret="x", url="https://app.example/api/auth"),
    lambda: authjs(secret=[GOOD, ""]),
    lambda: authjs(secret=GOOD, version=3),  # type: ignore[arg-type]
    lambda: authjs(secret=GOOD, cookie=""),
    lambda: better_auth(secret="", url="https://app.example/api/auth"),
    lambda: better_auth(secret=GOOD),
    lambda: better_auth(secret=GOOD, url="https://app.example/api/auth", find_session=find_session),
    lambda: better_auth(secret=GOOD, url="http://app.example/api/auth"),
    lambda: better_auth(secret=GOOD, find_session=find_session, jwt_plugin=True),
    lambda: better_auth(secret=GOOD, find_session=find_session, jwt_issuer="https://app.example"),
]


@pytest.mark.parametrize("make", HALF)
def test_it_refuses_to_start_half_configured(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_whole_ones_start_without_asking_anybody() -> None:
    """None of these hosts exists."""
    for resolve in (
        jwt_(),
        oidc(issuer="https://id.example", audience=["app"], on_sign_in=hook),
        clerk(issuer="https://clerk.example", on_sign_in=hook),
        authjs(secret=GOOD, on_sign_in=hook),
        better_auth(secret=GOOD, url="https://app.example/api/auth", jwt_plugin=True, on_sign_in=hook),
        better_auth(secret=GOOD, find_session=find_session),
        behind_proxy,
    ):
        resolve.check_config(config("https://app.example"))


def test_without_the_extra_it_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_EXTRA", ("joserfc", "no_such_package"))
    for make in (jwt_, lambda: authjs(secret=GOOD)):
        with pytest.raises(ConfigurationError, match=r"no_such_package.*kavach-asgi\[jwt\]"):
            make()


def test_importing_the_resolvers_imports_neither_joserfc_nor_httpx() -> None:
    program = "import sys, kavach_core.resolvers; print({'joserfc', 'httpx', 'cryptography'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
