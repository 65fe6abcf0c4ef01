"""`kv.browser(request)`: an app's own routes bind a ceremony to the browser that began it, in every framework."""

from __future__ import annotations

import hashlib
from http.cookies import SimpleCookie

import pytest

from tests.http.world import OpenWorld


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
async def test_a_browser_is_named_once_and_known_again(open_world: OpenWorld, https: bool) -> None:
    world = await open_world(**({"base_url": "https://app.example", "secret": "s" * 32} if https else {}))
    name = "__Host-kv_browser" if https else "kv_browser"
    first = await world.client.get("/browser")
    (cookie,) = SimpleCookie(first.headers["set-cookie"]).values()
    assert cookie.key == name and first.json() == {"isNew": True, "hash": _hash(cookie.value)}
    assert (cookie["path"], cookie["max-age"], cookie["domain"]) == ("/", str(365 * 24 * 3600), "")
    assert cookie["httponly"] and cookie["samesite"].lower() == "strict" and bool(cookie["secure"]) is https
    again = await world.client.get("/browser", headers={"cookie": f"{name}={cookie.value}"})
    assert again.json() == {"isNew": False, "hash": _hash(cookie.value)} and "set-cookie" not in again.headers


async def test_a_name_that_cannot_be_ours_or_is_one_of_two_is_given_anew(open_world: OpenWorld) -> None:
    world = await open_world()
    one, other = "a" * 43, "b" * 43
    for cookies in ("kv_browser=x", f"kv_browser={one}; kv_browser={other}", f"kv_browser={one}; kv_browser=x"):
        answer = await world.client.get("/browser", headers={"cookie": cookies})
        assert answer.json()["isNew"] and answer.json()["hash"] not in (_hash(one), _hash(other))


def _hash(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()
