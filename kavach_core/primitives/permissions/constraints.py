"""The conditions of a permission: their two spellings, and the check of those that need no memory.

Rates and approvals are only carried here; whoever records the decision counts and consumes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self, cast

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions.checks import check_object, within
from kavach_core.primitives.permissions.globs import Binding, bind, check_patterns
from kavach_core.primitives.permissions.networks import Network, check_networks, network_text
from kavach_core.primitives.permissions.request import AccessRequest
from kavach_core.primitives.permissions.windows import TimeWindow, check_window
from kavach_core.primitives.reasons import Reason

#: The largest whole number that every JSON reader keeps exact.
MAX_CALLS = 2**53 - 1


@dataclass(frozen=True, slots=True, init=False)
class Constraints:
    """Every condition must hold. None, or False for the approval, stands for a condition that is not there."""

    #: Calls allowed in the current minute and the 59 before it; 0 allows none at all.
    max_calls_per_hour: int | None
    #: `argument=glob` texts: of those for one argument one must match, and every argument named must be there.
    allowed_arg_patterns: tuple[str, ...] | None
    require_approval: bool
    time_window: TimeWindow | None
    ip_allowlist: tuple[Network, ...] | None
    #: Names of stored conditions that this release cannot read. They deny, and cannot be written.
    unknown: tuple[str, ...]
    #: Whether there is any condition.
    any: bool = field(init=False, repr=False, compare=False)
    bindings: tuple[Binding, ...] = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        *,
        max_calls_per_hour: int | None = None,
        allowed_arg_patterns: Iterable[str] | None = None,
        require_approval: bool | None = None,
        time_window: TimeWindow | Mapping[str, str] | None = None,
        ip_allowlist: Iterable[str | Network] | None = None,
        unknown: Iterable[str] = (),
    ) -> None:
        """Check and keep the conditions. Raises InvalidInput naming the argument that is wrong."""
        given: dict[str, object] = {
            "max_calls_per_hour": max_calls_per_hour,
            "allowed_arg_patterns": allowed_arg_patterns,
            "require_approval": require_approval,
            "time_window": time_window,
            "ip_allowlist": ip_allowlist,
        }
        checked = {name: _CHECKS[name](value, name) for name, value in given.items() if value is not None}
        self._set(checked, tuple(sorted(unknown)))

    @classmethod
    def trusted(cls, values: Mapping[str, object], unknown: tuple[str, ...] = ()) -> Self:
        """Make constraints of values that were checked before, by attribute name; absent ones may be left out."""
        constraints = object.__new__(cls)
        constraints._set(values, unknown)
        return constraints

    def violated(self, request: AccessRequest, now: int) -> Reason | None:
        """Name the first condition the request breaks at `now` (microseconds since the epoch), or None.

        The order is: unknown, arguments, time window, address. A missing argument and an unknown address break theirs.
        """
        if not self.any:
            return None
        if self.unknown:
            return Reason.UNKNOWN_CONSTRAINT
        if self.bindings:
            arguments = request.arguments or {}
            if not all(binding.allows(arguments) for binding in self.bindings):
                return Reason.ARGUMENT_NOT_ALLOWED
        if self.time_window is not None and not self.time_window.contains(now):
            return Reason.OUTSIDE_TIME_WINDOW
        if self.ip_allowlist is not None:
            address = request.address
            if address is None or not any(address in network for network in self.ip_allowlist):
                return Reason.ADDRESS_NOT_ALLOWED
        return None

    def to_wire(self) -> dict[str, object]:
        """Write the conditions that are there under their wire names."""
        wire: dict[str, object] = {}
        if self.max_calls_per_hour is not None:
            wire["maxCallsPerHour"] = self.max_calls_per_hour
        if self.allowed_arg_patterns is not None:
            wire["allowedArgPatterns"] = list(self.allowed_arg_patterns)
        if self.require_approval:
            wire["requireApproval"] = True
        if self.time_window is not None:
            wire["timeWindow"] = self.time_window.to_wire()
        if self.ip_allowlist is not None:
            wire["ipAllowlist"] = [network_text(network) for network in self.ip_allowlist]
        # No condition accepts this value, so what was unreadable stays so when it is read again.
        wire.update(dict.fromkeys(self.unknown, "unknown"))
        return wire

    def _set(self, values: Mapping[str, object], unknown: tuple[str, ...]) -> None:
        patterns = cast("tuple[str, ...] | None", values.get("allowed_arg_patterns"))
        put = object.__setattr__
        put(self, "max_calls_per_hour", values.get("max_calls_per_hour"))
        put(self, "allowed_arg_patterns", patterns)
        put(self, "require_approval", values.get("require_approval", False))
        put(self, "time_window", values.get("time_window"))
        put(self, "ip_allowlist", values.get("ip_allowlist"))
        put(self, "unknown", unknown)
        put(self, "bindings", bind(patterns) if patterns else ())
        # By identity: a rate of 0 equals False and is the strictest condition of all.
        put(self, "any", bool(unknown) or any(value is not None and value is not False for value in values.values()))


def parse_constraints(value: object, field: str = "constraints") -> Constraints:
    """Return the constraints in an object with wire names, or in Constraints. Raises InvalidInput, with the field.

    A null counts as left out. An unknown name is refused, so that a later release can give it a meaning.
    """
    if value is None:
        return NO_CONSTRAINTS
    if isinstance(value, Constraints):
        if value.unknown:
            raise InvalidInput("These constraints cannot be written by this release.", field=field)
        return value
    wire = check_object(value, field, known=tuple(_WIRE_NAMES))
    checked: dict[str, object] = {}
    for name, member in wire.items():
        if member is not None:
            attribute = _WIRE_NAMES[name]
            checked[attribute] = _CHECKS[attribute](member, within(field, name))
    return _or_none(Constraints.trusted(checked))


def read_constraints(value: object) -> Constraints:
    """Return stored constraints. Whatever cannot be read becomes `unknown`, which denies; nothing is raised."""
    if not isinstance(value, Mapping):
        return Constraints.trusted({}, ("constraints",))
    checked: dict[str, object] = {}
    unknown: list[str] = []
    for name, member in cast("Mapping[str, object]", value).items():
        try:
            attribute = _WIRE_NAMES[name]
            checked[attribute] = _CHECKS[attribute](member, name)
        except (KeyError, InvalidInput):
            unknown.append(name)
    return _or_none(Constraints.trusted(checked, tuple(sorted(unknown))))


def _or_none(constraints: Constraints) -> Constraints:
    return constraints if constraints.any else NO_CONSTRAINTS


def _check_rate(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_CALLS:
        raise InvalidInput("A rate is a whole number of calls, from 0.", field=field)
    return value


def _check_approval(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("This must be true or false.", field=field)
    return value


_CHECKS: dict[str, Callable[[object, str], object]] = {
    "max_calls_per_hour": _check_rate,
    "allowed_arg_patterns": check_patterns,
    "require_approval": _check_approval,
    "time_window": check_window,
    "ip_allowlist": check_networks,
}
_WIRE_NAMES = {
    "maxCallsPerHour": "max_calls_per_hour",
    "allowedArgPatterns": "allowed_arg_patterns",
    "requireApproval": "require_approval",
    "timeWindow": "time_window",
    "ipAllowlist": "ip_allowlist",
}

#: The absence of conditions.
NO_CONSTRAINTS = Constraints()
