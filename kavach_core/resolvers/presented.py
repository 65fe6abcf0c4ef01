"""What a request presents to a resolver: one bearer token, or the cookies of a name, of which several must agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kavach_core.api.credentials import bearer_of
from kavach_core.api.view import View

#: A browser that sends more different ones is being played with.
_MOST_COOKIES: Final = 4


def tokens_of(view: View, cookie: str | None) -> Sequence[str]:
    """The bearer token, which decides alone, or else the values of the cookie; none of too many."""
    bearer = bearer_of(view)
    if bearer is not None:
        return [bearer]
    return cookies_of(view, cookie) if cookie else []


def cookies_of(view: View, name: str) -> Sequence[str]:
    """The different values of a cookie; none of too many, and none where an `Authorization` header speaks."""
    found = [] if view.all("authorization") else view.cookies(name)
    return found if len(found) <= _MOST_COOKIES else []


async def sole_user(values: Sequence[str], check: Callable[[str], Awaitable[str | None]]) -> str | None:
    """The one user whom those of the values that hold name. If they name two, nobody.

    A sibling domain can set a second cookie of the same name, and which is whose cannot be told.
    """
    users = {user for value in values if (user := await check(value)) is not None}
    return users.pop() if len(users) == 1 else None
