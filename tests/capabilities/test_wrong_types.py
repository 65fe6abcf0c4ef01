"""What an app's own code gives by mistake is told as its mistake, whatever verb it is given to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from kavach_core import Kavach, Session, create_kavach
from kavach_core.errors import KavachError, Unavailable

_ROOMS = ("agents", "owners", "sessions", "keys", "delegations", "approvals", "audit", "budgets", "users", "project")
_AUTH = ("passkey", "password", "recovery", "email")
#: Verbs for other rooms, which are called in their transactions.
_INNER = {"tx", "facts"}
#: What apps have from Kavach itself, as an object.
_OBJECTS = {"session", "browser"}

Verb = Callable[..., Coroutine[Any, Any, object]]


def _verbs(kavach: Kavach) -> Iterator[tuple[str, Verb]]:
    rooms = {name: getattr(kavach, name) for name in _ROOMS} | {name: getattr(kavach.auth, name) for name in _AUTH}
    for room, found in rooms.items():
        for name, verb in inspect.getmembers(found, inspect.iscoroutinefunction):
            if not name.startswith("_") and not _INNER & inspect.signature(verb).parameters.keys():
                yield f"{room}.{name}", verb
    for verb in (kavach.authorize, kavach.require_authorized, kavach.settle, kavach.remaining):
        yield verb.__name__, verb


def _calls(verb: Verb, session: Session, wrong: object) -> Iterator[tuple[str, dict[str, object]]]:
    """One call for each parameter, in which that one is of a wrong type and the others are what they should be."""
    parameters = inspect.signature(verb).parameters.values()
    usual = {each.name: session if each.name == "session" else "x" for each in parameters if each.default is each.empty}
    for each in parameters:
        if each.name not in _OBJECTS:
            yield each.name, usual | {each.name: wrong}


@pytest.mark.parametrize("wrong", [[1], {"a": 1}, 7, b"x", 1.5, object()], ids=lambda wrong: type(wrong).__name__)
async def test_a_value_of_a_wrong_type_is_never_an_inner_error(sqlite_database: str, wrong: object) -> None:
    tried, inner = 0, list[str]()
    async with await create_kavach(database=sqlite_database, passwords=True) as kavach:
        session = await kavach.sessions.create("owner")
        for name, verb in _verbs(kavach):
            for parameter, arguments in _calls(verb, session, wrong):
                tried += 1
                try:
                    await verb(**arguments)
                except Exception as error:
                    # That something is down would hide what the database made of the value.
                    if isinstance(error, KavachError) and not isinstance(error, Unavailable):
                        continue
                    inner.append(f"{name}({parameter}={wrong!r}): {error!r}")
    assert inner == []
    assert tried > 150
