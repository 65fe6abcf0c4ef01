"""What a statement or a COMMIT can end in, in words both databases share.

Rooms catch the first two in `queries.py` and make domain errors of them; none of these leaves the library.
"""

from __future__ import annotations

from kavach_core.errors import StoreUnavailable


class DataRejected(Exception):
    """The database refuses a value: its type, its encoding, its size or a constraint on it."""


class UniqueViolation(DataRejected):
    """A row with this key is there already."""


class RunAgain(Exception):
    """The transaction did nothing and may be run again whole: a deadlock, a serialization failure, a stale plan."""


class CommitLost(Exception):
    """COMMIT was sent and its outcome is not known."""


def unavailable(message: str = "The database cannot be read or written now.") -> StoreUnavailable:
    """The one error for every failure of the database itself; the driver's own error is chained to it."""
    return StoreUnavailable(message)


def too_many() -> StoreUnavailable:
    """What a caller gets at once when as many wait already as may."""
    return unavailable("Too many calls wait for the database.")


def too_slow() -> StoreUnavailable:
    """What a caller gets who has waited for too long."""
    return unavailable("The database takes too long.")


def outcome_unknown(lost: CommitLost) -> StoreUnavailable:
    """What a caller gets for a lost COMMIT."""
    error = unavailable("The connection to the database was lost during COMMIT; its outcome is not known.")
    error.__cause__ = lost
    return error
