"""`kv.browser(request)`: an app's own routes bind a ceremony to the browser that began it, in every framework."""

from __future__ import annotations

import hashlib
from http.cookies import SimpleCookie

import pytest

from kavach_core.api.cookies import session_cookie
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


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
async def test_a_route_of_the_app_signs_a_browser_in_and_out(open_world: OpenWorld, https: bool) -> None:
    given = {"base_url": "https://app.example", "secret": "s" * 32} if https else {}
    world = await open_world(**given, trusted_proxies=["127.0.0.1/32"])
    name = "__Host-kv_session" if https else "kv_session"
    entered = await world.client.get("/enter", headers={"x-forwarded-for": "192.0.2.7"})
    assert entered.json() == {"address": "192.0.2.7"}
    (cookie,) = SimpleCookie(entered.headers["set-cookie"]).values()
    assert (cookie.key, cookie["path"], cookie["max-age"], cookie["domain"]) == (name, "/", str(30 * 86_400), "")
    assert cookie["httponly"] and cookie["samesite"].lower() == "strict" and bool(cookie["secure"]) is https
    assert (await world.client.get("/session", headers={"cookie": f"{name}={cookie.value}"})).json() == {
        "userId": "alice"
    }
    (gone,) = SimpleCookie((await world.client.get("/leave")).headers["set-cookie"]).values()
    assert (gone.key, gone.value, gone["path"], gone["max-age"], bool(gone["secure"])) == (name, "", "/", "0", https)
    assert gone["httponly"] and gone["samesite"].lower() == "strict"


async def test_only_a_session_that_was_just_started_can_be_sent(open_world: OpenWorld) -> None:
    kavach = (world := await open_world()).kavach
    read = await kavach.sessions.get((await kavach.sessions.create("alice")).id)
    with pytest.raises(RuntimeError, match="just started"):
        session_cookie(world.get_kavach.config, read)


def _hash(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()
