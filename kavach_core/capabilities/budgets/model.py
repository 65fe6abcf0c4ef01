"""A budget as people see it, and what it may hang on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from kavach_core.errors import InvalidInput
from kavach_core.primitives import ids
from kavach_core.primitives.clock import DAY, HOUR, NEVER, to_datetime, to_micros

#: The largest limit, cost and settlement: what every JSON reader keeps exact.
MOST: Final = 2**53 - 1


class Measure(StrEnum):
    """What is counted: allowed calls, or their cost in the unit the app has in mind."""

    CALLS = "calls"
    COST = "cost"


class Period(StrEnum):
    """How long a window is. Windows are those of the calendar, in UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    FOREVER = "forever"

    def start(self, now: int) -> int:
        """When the window that holds a moment began, in microseconds."""
        match self:
            case Period.HOUR:
                return now // HOUR * HOUR
            case Period.DAY:
                return now // DAY * DAY
            case Period.MONTH:
                return to_micros(_first_of_month(now))
            case Period.FOREVER:
                return 0

    def end(self, start: int) -> int:
        """When a window that began at `start` is over; `NEVER` for the one that lasts for ever."""
        match self:
            case Period.HOUR:
                return start + HOUR
            case Period.DAY:
                return start + DAY
            case Period.MONTH:
                return to_micros(_first_of_month(start + 32 * DAY))
            case Period.FOREVER:
                return NEVER


def _first_of_month(moment: int) -> datetime:
    at = to_datetime(moment)
    return datetime(at.year, at.month, 1, tzinfo=UTC)


class Action(StrEnum):
    """What happens to a call for which there is not enough left."""

    #: It goes ahead, is counted, and an event tells, once a window.
    WARN = "warn"
    #: It is refused.
    BLOCK = "block"
    #: It is refused, and what the budget hangs on is ended: an agent or delegation revoked, an owner or the project
    #: suspended.
    REVOKE = "revoke"


class SetBy(StrEnum):
    """Who made a budget. What the app set is not for the human to change."""

    APP = "app"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Holder:
    """What a budget hangs on, as stored: a letter for the kind, then the id."""

    raw: bytes

    @classmethod
    def agent(cls, agent_id: bytes) -> Holder:
        """An agent: all that it does, and all that is done below it on its grants."""
        return cls(b"a" + agent_id)

    @classmethod
    def delegation(cls, delegation_id: bytes) -> Holder:
        """A delegation: all that is done by it and below it."""
        return cls(b"d" + delegation_id)

    @classmethod
    def owner(cls, owner_id: str) -> Holder:
        """An owner: all that their agents do."""
        return cls(b"o" + owner_id.encode())

    @classmethod
    def project(cls) -> Holder:
        """The project: all that anybody's agents do."""
        return cls(b"p")

    @property
    def kind(self) -> str:
        """`agent`, `delegation`, `owner` or `project`."""
        return _KINDS[self.raw[:1]]

    @property
    def agent_id(self) -> str | None:
        """The agent, if it is one."""
        return ids.AGENT.text(self.raw[1:]) if self.kind == "agent" else None

    @property
    def delegation_id(self) -> str | None:
        """The delegation, if it is one."""
        return ids.DELEGATION.text(self.raw[1:]) if self.kind == "delegation" else None

    @property
    def owner_id(self) -> str | None:
        """The owner, if it is one."""
        return self.raw[1:].decode() if self.kind == "owner" else None


_KINDS: Final = {b"a": "agent", b"d": "delegation", b"o": "owner", b"p": "project"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A budget and how it stands. All figures are whole numbers: calls, or units of cost."""

    id: str
    #: What it hangs on: one of the three, or none of them for the project.
    agent_id: str | None
    delegation_id: str | None
    owner_id: str | None
    measure: Measure
    per: Period
    limit: int
    action: Action
    set_by: SetBy
    #: Spent or reserved in the window that is open now. More than the limit where `warn` let it pass, or where a call
    #: cost more than it had reserved.
    spent: int
    #: When the next window begins; None where there is only one.
    resets_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def left(self) -> int:
        """What may still be spent in this window."""
        return max(0, self.limit - self.spent)


def require_amount(value: object, field: str) -> int:
    """Return a whole number of calls or units, from 0 to 2^53 - 1. Raises `InvalidInput`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise InvalidInput("This is a whole number from 0 to 2^53 - 1.", field=field)
    return value
