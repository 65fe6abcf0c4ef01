"""Two Kavachs in one app, customers and staff: each tells by itself who is asking, and none believes the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kavach_adapters import kavach_starlette
from kavach_core import Kavach, lazy_kavach
from kavach_core.resolvers import View
from tests.adapters.asgi import socket
from tests.http.world import ORIGIN, Headers, OpenWorld, bearer, client_of, error_of

RECHECK = 0.05


class Both(NamedTuple):
    """An app of the staff's, within a guard of the customers'."""

    app: Any
    customers: Kavach
    staff: Kavach
    #: Who is signed in with the customers' and with the staff's own auth.
    signed_in: dict[str, set[str]]


def by_cookie(name: str, signed_in: set[str]) -> Callable[[View], Awaitable[str | None]]:
    """An app's own auth: whoever the cookie names, if they are signed in."""

    async def resolve_user(view: View) -> str | None:
        return next((user for user in view.cookies(name) if user in signed_in), None)

    return resolve_user


def cookies(**users: str) -> Headers:
    return {"cookie": "; ".join(f"{name}={user}" for name, user in users.items()), "origin": ORIGIN}


@pytest.fixture
async def both(open_world: OpenWorld, tmp_path: Path) -> AsyncIterator[Both]:
    signed_in = {"customer": {"mallory"}, "staff": {"alice"}}
    world = await open_world(
        recheck=RECHECK, mount="/staff/kavach", resolve_user=by_cookie("staff", signed_in["staff"])
    )
    get_customers = lazy_kavach(database=f"sqlite:///{tmp_path / 'customers.db'}")
    outer = kavach_starlette(get_customers, recheck=RECHECK, resolve_user=by_cookie("customer", signed_in["customer"]))
    app = outer.Guard(world.app, public=["/login"], allow=("human", "agent"))
    yield Both(app, await get_customers(), world.kavach, signed_in)
    await get_customers.close()


async def test_whom_the_outer_guard_lets_in_is_nobody_to_the_routes_of_the_other(both: Both) -> None:
    robot = await both.customers.agents.create(owner_id="mallory", name="a", permissions=["read:repos"])
    async with client_of(both.app) as client:
        for path in ("/me", "/whoami", "/staff/kavach/agents"):
            customer = await client.get(path, headers=cookies(customer="mallory"))
            assert error_of(customer) == (401, "UNAUTHENTICATED"), path
        for path in ("/agent", "/whoami", "/search", "/staff/kavach/audit"):
            answer = await client.get(path, headers=bearer(robot.token))
            assert error_of(answer) == (401, "UNKNOWN_CREDENTIAL"), path
        known = await client.get("/me", headers=cookies(customer="mallory", staff="alice"))
        assert (known.status_code, known.json()["id"]) == (200, "alice")
        seen = await client.get("/seen", headers=cookies(customer="mallory", staff="alice"))
        assert seen.json()["id"] == "mallory", (
            "an app reads what the mount said that was asked last: only the guard was"
        )


async def test_a_socket_stays_open_for_as_long_as_both_know_who_opened_it(both: Both) -> None:
    for users in both.signed_in.values():
        async with socket(both.app, "/ws/hold", cookies(customer="mallory", staff="alice")) as opened:
            # Long enough for some looks at it.
            with pytest.raises(TimeoutError):
                await opened.message(within=3.5 * RECHECK)
            gone = users.pop()
            assert (await opened.message())["code"] == 4401
        users.add(gone)
