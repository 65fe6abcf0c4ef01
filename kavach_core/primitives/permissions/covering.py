"""How permissions compare: whether one gives all that another does, what is missing, and what two have in common.

One permission covers another by itself, never together with a third. For the constraints that need no memory:
`covers(a, b)` and "b allows the request" imply "a allows the request".
"""

from __future__ import annotations

from collections.abc import Iterable

from kavach_core.primitives.permissions.constraints import Constraints
from kavach_core.primitives.permissions.globs import Binding
from kavach_core.primitives.permissions.grammar import prefixes
from kavach_core.primitives.permissions.networks import Network, network_covers, networks_meet
from kavach_core.primitives.permissions.permission import Permission
from kavach_core.primitives.permissions.sets import PermissionSet
from kavach_core.primitives.permissions.windows import TimeWindow


def covers(held: Permission, asked: Permission, *, inherit: bool = False) -> bool:
    """Tell whether `held` gives everything `asked` does. It may miss a case among globs and networks, never invent one.

    With `inherit` a constraint that `asked` leaves out counts as taken over from `held`, as it is in a delegation,
    where every link is checked; one that is stated must still be equal or tighter.
    """
    return (
        _actions_cover(held.actions, asked.actions)
        and held.pattern.covers(asked.pattern)
        and _constraints_cover(held.constraints, asked.constraints, inherit)
    )


def uncovered(
    held: PermissionSet | Iterable[Permission], asked: Iterable[Permission], *, inherit: bool = False
) -> tuple[tuple[str, str], ...]:
    """Return the (resource, action) pairs of `asked` that no single permission of `held` covers, in their order."""
    held = held if isinstance(held, PermissionSet) else PermissionSet.of(held)
    return tuple(
        (permission.resource, action)
        for permission in asked
        for action in permission.actions
        if not _is_covered(held, permission, action, inherit)
    )


def meet(one: Permission, other: Permission) -> tuple[Permission, ...]:
    """Return permissions that together allow what both allow: none, one, or two where daily windows meet twice.

    Rates give the smaller, approvals are needed if either needs one. Where both bind the same argument, of each two
    globs the covered one is kept and two that merely overlap are left out: the result is then narrower than what both
    allow, never wider. It is for showing, and may be longer than what may be written.
    """
    pattern = one.pattern.meet(other.pattern)
    actions = _actions_meet(one.actions, other.actions)
    if pattern is None or not actions:
        return ()
    return tuple(
        Permission.trusted(pattern.resource, actions, constraints)
        for constraints in _constraints_meet(one.constraints, other.constraints)
    )


def _is_covered(held: PermissionSet, asked: Permission, action: str, inherit: bool) -> bool:
    # A pattern covers another only if it is literal nowhere that the other is not.
    return any(
        candidate.pattern.covers(asked.pattern)
        and _constraints_cover(candidate.constraints, asked.constraints, inherit)
        for candidate in held.reaching(prefixes(asked.pattern.literal), asked.pattern.fixed, action)
    )


def _actions_cover(held: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    return "*" in held or set(held).issuperset(asked)


def _actions_meet(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in one:
        return other
    if "*" in other:
        return one
    return tuple(sorted(set(one) & set(other)))


def _constraints_cover(held: Constraints, asked: Constraints, inherit: bool) -> bool:
    if held.unknown or asked.unknown:
        return False
    return not held.any or (
        _rate_covers(held, asked, inherit)
        and (not held.require_approval or asked.require_approval or inherit)
        and _patterns_cover(held, asked, inherit)
        and _window_covers(held, asked, inherit)
        and _networks_cover(held, asked, inherit)
    )


def _rate_covers(held: Constraints, asked: Constraints, inherit: bool) -> bool:
    if held.max_calls_per_hour is None:
        return True
    if asked.max_calls_per_hour is None:
        return inherit
    return asked.max_calls_per_hour <= held.max_calls_per_hour


def _patterns_cover(held: Constraints, asked: Constraints, inherit: bool) -> bool:
    if held.allowed_arg_patterns is None:
        return True
    if asked.allowed_arg_patterns is None:
        return inherit
    bound = {binding.argument: binding for binding in asked.bindings}
    return all(binding.argument in bound and binding.covers(bound[binding.argument]) for binding in held.bindings)


def _window_covers(held: Constraints, asked: Constraints, inherit: bool) -> bool:
    if held.time_window is None:
        return True
    if asked.time_window is None:
        return inherit
    return held.time_window.covers(asked.time_window)


def _networks_cover(held: Constraints, asked: Constraints, inherit: bool) -> bool:
    if held.ip_allowlist is None:
        return True
    if asked.ip_allowlist is None:
        return inherit
    ours = held.ip_allowlist
    return all(any(network_covers(mine, theirs) for mine in ours) for theirs in asked.ip_allowlist)


def _constraints_meet(one: Constraints, other: Constraints) -> tuple[Constraints, ...]:
    """Give constraints of which one holds when both given ones do; none where they never both hold."""
    if one.unknown or other.unknown:
        return ()
    if not (one.any and other.any):
        return (one if one.any else other,)
    patterns = _patterns_meet(one, other)
    windows = _windows_meet(one.time_window, other.time_window)
    networks = _allowlists_meet(one.ip_allowlist, other.ip_allowlist)
    if patterns == () or networks == ():
        return ()
    common = {
        "max_calls_per_hour": _smaller(one.max_calls_per_hour, other.max_calls_per_hour),
        "allowed_arg_patterns": patterns,
        "require_approval": one.require_approval or other.require_approval,
        "ip_allowlist": networks,
    }
    return tuple(Constraints.trusted({**common, "time_window": window}) for window in windows)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((rate for rate in (one, other) if rate is not None), default=None)


def _patterns_meet(one: Constraints, other: Constraints) -> tuple[str, ...] | None:
    """Give the patterns of both; None if neither has any, empty if some argument can satisfy no pair of globs."""
    theirs = {binding.argument: binding for binding in other.bindings}
    both = [
        Binding(mine.argument, mine.meet(theirs.pop(mine.argument)) if mine.argument in theirs else mine.globs)
        for mine in one.bindings
    ]
    both += theirs.values()
    if not all(binding.globs for binding in both):
        return ()
    return tuple(sorted(f"{argument}={glob.text}" for argument, globs in both for glob in globs)) or None


def _windows_meet(one: TimeWindow | None, other: TimeWindow | None) -> tuple[TimeWindow | None, ...]:
    return one.meet(other) if one and other else (one or other,)


def _allowlists_meet(one: tuple[Network, ...] | None, other: tuple[Network, ...] | None) -> tuple[Network, ...] | None:
    return networks_meet(one, other) if one and other else one or other
