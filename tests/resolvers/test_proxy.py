"""A header names a user only where a known proxy sets it, once."""

from __future__ import annotations

from typing import Any

import pytest

from kavach_core.errors import ConfigurationError
from kavach_core.resolvers import proxy_header
from tests.resolvers.support import and_header, view

resolve = proxy_header("X-Forwarded-User", proxies=["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "user"),
    [
        ("10.1.2.3", "alice"),
        ("::ffff:10.1.2.3", "alice"),
        ("::1", "alice"),
        ("11.1.2.3", None),
        ("127.0.0.1", None),
        ("2001:db8::1", None),
        ("unix", None),
        ("", None),
        (None, None),
    ],
)
async def test_a_foreign_proxy_is_not_believed(peer: str | None, user: str | None) -> None:
    assert await resolve(view(peer=peer, x_forwarded_user="alice")) == user


async def test_a_forwarded_address_makes_nobody_a_proxy() -> None:
    assert await resolve(view(peer="11.1.2.3", x_forwarded_user="alice", x_forwarded_for="10.0.0.1")) is None


async def test_exactly_one_value_names_a_user() -> None:
    once = view(peer="10.0.0.1", x_forwarded_user="alice")
    assert await resolve(once) == "alice"
    assert await resolve(and_header(once, "x-forwarded-user", "bob")) is None
    assert await resolve(and_header(once, "x-forwarded-user", "alice")) is None
    for value in ("", "  ", "bob, alice", "bob,alice"):
        assert await resolve(view(peer="10.0.0.1", x_forwarded_user=value)) is None
    assert await resolve(view(peer="10.0.0.1")) is None
    assert await resolve(view(peer="10.0.0.1", x_forwarded_user="zoë")) == "zoë"


async def test_an_authorization_header_decides_alone() -> None:
    assert await resolve(view(peer="10.0.0.1", bearer="x", x_forwarded_user="alice")) is None


@pytest.mark.parametrize(
    ("name", "proxies"),
    [
        ("x-forwarded-user", []),
        ("x-forwarded-user", ""),
        ("x-forwarded-user", ["10.0.0.0/40"]),
        ("x-forwarded-user", ["10.0.0.1/8"]),
        ("x-forwarded-user", ["0.0.0.0/0"]),
        ("x-forwarded-user", ["::/0"]),
        ("x-forwarded-user", ["0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1"]),
        (None, ["10.0.0.0/8"]),
        ("", ["10.0.0.0/8"]),
        ("x forwarded", ["10.0.0.0/8"]),
        ("authorization", ["10.0.0.0/8"]),
        ("Cookie", ["10.0.0.0/8"]),
        ("x-user-id", ["10.0.0.0/8"]),
        ("X-Kavach-Owner-Id", ["10.0.0.0/8"]),
    ],
)
def test_it_refuses_to_start_half_configured(name: str, proxies: Any) -> None:
    with pytest.raises(ConfigurationError):
        proxy_header(name, proxies=proxies)
