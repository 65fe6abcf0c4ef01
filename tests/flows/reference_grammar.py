"""The grammar of permissions for the reference model: slow and obvious, with none of Kavach's code.

Patterns are compared by trying out resources and texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from typing import Any

_RESOURCES = [":".join(parts) for length in range(1, 6) for parts in product("abz", repeat=length)]
_TEXTS = ["", "a", "ab", "abc", "b", "ba"]


@dataclass(frozen=True)
class Given:
    """A permission."""

    resource: str
    actions: tuple[str, ...]
    rate: int | None = None
    window: tuple[int, int] | None = None  # hours
    glob: str | None = None  # for the argument q
    approval: bool = False

    def wire(self) -> dict[str, Any]:
        constraints: dict[str, Any] = {}
        if self.rate is not None:
            constraints["maxCallsPerHour"] = self.rate
        if self.window is not None:
            constraints["timeWindow"] = dict(
                zip(("start", "end"), (f"{hour:02}:00" for hour in self.window), strict=True)
            )
        if self.glob is not None:
            constraints["allowedArgPatterns"] = [f"q={self.glob}"]
        if self.approval:
            constraints["requireApproval"] = True
        return {"resource": self.resource, "actions": list(self.actions), "constraints": constraints}


@dataclass(frozen=True)
class Call:
    """One question."""

    action: str
    resource: str
    q: str | None
    cost: int | None = None


def holds(given: Given, call: Call, now: int) -> bool:
    """The conditions that need no memory."""
    open_ = given.window is None or now // 60 % 24 in hours(given.window)
    return open_ and (given.glob is None or (call.q is not None and fnmatchcase(call.q, given.glob)))


def means(given: Given, call: Call) -> bool:
    """Resource and action."""
    return (call.action in given.actions or "*" in given.actions) and reaches(given.resource, call.resource)


@cache
def reaches(pattern: str, resource: str) -> bool:
    if pattern == "*":
        return True
    return _reaches(pattern.split(":"), resource.split(":"))


def _reaches(pattern: list[str], resource: list[str]) -> bool:
    if pattern == ["**"]:
        return len(resource) > 0
    if not pattern or not resource:
        return not pattern and not resource
    return pattern[0] in ("*", resource[0]) and _reaches(pattern[1:], resource[1:])


@cache
def wider(one: str, other: str) -> bool:
    return all(reaches(one, resource) for resource in _RESOURCES if reaches(other, resource))


def hours(window: tuple[int, int]) -> set[int]:
    start, end = window
    return set(range(start, end)) if start < end else {*range(start, 24), *range(end)}


def all_covered(held: tuple[Given, ...], asked: list[Given]) -> bool:
    """Every pair of a resource and an action by one permission. What is left out is inherited."""
    return all(any(covers(mine, given, action) for mine in held) for given in asked for action in given.actions)


def covers(mine: Given, asked: Given, action: str) -> bool:
    return (
        (action in mine.actions or "*" in mine.actions)
        and wider(mine.resource, asked.resource)
        and (mine.rate is None or asked.rate is None or asked.rate <= mine.rate)
        and (mine.window is None or asked.window is None or hours(asked.window) <= hours(mine.window))
        and (mine.glob is None or asked.glob is None or _tighter(asked.glob, mine.glob))
    )


def _tighter(one: str, other: str) -> bool:
    return all(fnmatchcase(text, other) for text in _TEXTS if fnmatchcase(text, one))
