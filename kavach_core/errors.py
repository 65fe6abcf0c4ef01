"""The errors of Kavach, one tree.

KavachError
 ├── InvalidInput            the request itself is wrong; nothing was changed
 │    ├── ChallengeUnknown   answered before, too old, or begun in another browser
 │    └── PasskeyRejected    a passkey's answer does not hold
 │         └── PasskeyUnknown  ... because the passkey is not on record
 ├── BodyTooLarge            more bytes than the operation accepts
 ├── Unauthenticated         no credential, or one that does not hold
 │    └── SignInFailed       address and password (or code) do not belong together
 ├── Forbidden               known, but not entitled
 │    ├── PermissionDenied   an authorization decision said no
 │    ├── CallerNotAllowed   this kind of caller may not use the operation
 │    ├── ScopeMissing       the API key lacks the scope
 │    ├── GrantNotAllowed    more than the caller may give
 │    ├── OriginRefused      a cookie-like identity from a foreign page
 │    ├── SessionNotFresh    the human must prove once more who they are
 │    ├── SignUpClosed       people cannot make themselves an account here
 │    ├── OwnerSuspended     the human behind the call is suspended
 │    ├── ProjectSuspended   all agents of the project are suspended
 │    ├── Widens             a delegation asks for more than its giver has
 │    ├── TooDeep            a chain would grow past its limit
 │    ├── Cycle              the receiver stands on the path already
 │    └── CrossOwner         giver and receiver belong to different owners
 ├── NotFound                no such thing for this caller
 ├── MethodNotAllowed        the path exists, the method does not
 ├── Conflict                the state of things forbids it
 │    ├── LimitReached       a configured limit is full
 │    ├── EmailTaken         the address belongs to an account
 │    ├── LastWayIn          without it nobody could sign in to this account
 │    ├── LeaseEnded         too late to settle what a call reserved
 │    └── FinalState         revoked or expired; it stays so
 ├── RateLimited             too often; `retry_after` seconds
 ├── Unavailable             cannot be answered now; `retry_after` seconds
 │    ├── StoreUnavailable   the database cannot be read or written
 │    └── ResolverFailed     the app's own `resolve_user` (or another function) failed
 └── ConfigurationError      refuses to start
      ├── RemoteNotAvailable `api_key=` before remote mode exists
      ├── SchemaTooNew       the database was migrated by a newer release
      ├── SchemaMissing      migrations are due and `skip_migrations` is set
      └── MigrationEdited    an applied migration file was changed

A code is a promise to clients: no two classes share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

_codes: dict[str, str] = {}


class KavachError(Exception):
    """The root. `code` is stable, `message` is for people, `details` is evidence fit for the caller."""

    code: ClassVar[str] = "KAVACH_ERROR"

    def __init_subclass__(cls) -> None:
        if "code" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} needs a code of its own")
        owner = _codes.setdefault(cls.code, cls.__qualname__)
        if owner != cls.__qualname__:
            raise TypeError(f"{cls.__name__} and {owner} share the code {cls.code}")

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})

    @property
    def public_code(self) -> str:
        """The code a client sees: the class's own unless a decision gave a finer one."""
        return self.code


class InvalidInput(KavachError):
    """The request itself is wrong. `field` names the place, in the words of the caller."""

    code = "INVALID_INPUT"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message, details={"field": field} if field else None)
        self.field = field


class ChallengeUnknown(InvalidInput):
    """The challenge was answered before, is too old, or was begun for something else or in another browser."""

    code = "CHALLENGE_UNKNOWN"


class PasskeyRejected(InvalidInput):
    """A passkey's answer does not hold. Why is logged, and not told to whoever sent it."""

    code = "PASSKEY_REJECTED"


class PasskeyUnknown(PasskeyRejected):
    """The passkey is not on record; its browser may forget it."""

    code = "PASSKEY_UNKNOWN"


class BodyTooLarge(KavachError):
    """More bytes than the operation accepts."""

    code = "BODY_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes.", details={"limit": limit})


class _FromDecision(KavachError):
    """An error that carries the finer code and the audit id of the decision behind it."""

    code = "_FROM_DECISION"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        audit_id: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.reason = reason
        self.audit_id = audit_id
        if audit_id:
            self.details["auditId"] = audit_id

    @property
    def public_code(self) -> str:
        return self.reason or self.code


class Unauthenticated(_FromDecision):
    """No credential was presented, or the one presented does not hold."""

    code = "UNAUTHENTICATED"


class SignInFailed(Unauthenticated):
    """What was presented to sign in with does not hold. Whether the account exists is not told."""

    code = "SIGN_IN_FAILED"


class Forbidden(_FromDecision):
    """The caller is known and is not entitled to this."""

    code = "FORBIDDEN"


class PermissionDenied(Forbidden):
    """An authorization decision said no; `reason` is its code, `audit_id` its record."""

    code = "PERMISSION_DENIED"


class CallerNotAllowed(Forbidden):
    """This kind of caller may not use the operation."""

    code = "CALLER_NOT_ALLOWED"


class ScopeMissing(Forbidden):
    """The API key lacks the scope the operation needs."""

    code = "SCOPE_MISSING"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This API key lacks the scope {scope}.", details={"scope": scope})
        self.scope = scope


class GrantNotAllowed(Forbidden):
    """The caller tried to give an agent or key more than they may give."""

    code = "GRANT_NOT_ALLOWED"


class OriginRefused(Forbidden):
    """An unsafe request in a human's name did not come from the app's own pages."""

    code = "ORIGIN_REFUSED"


class SessionNotFresh(Forbidden):
    """The session is too old for this: its human must prove once more who they are."""

    code = "SESSION_NOT_FRESH"


class SignUpClosed(Forbidden):
    """People cannot make themselves an account here."""

    code = "SIGN_UP_CLOSED"


class OwnerSuspended(Forbidden):
    """The human behind the call is suspended."""

    code = "OWNER_SUSPENDED"


class ProjectSuspended(Forbidden):
    """All agents of the project are suspended."""

    code = "PROJECT_SUSPENDED"


class Widens(Forbidden):
    """A delegation asks for more than its giver has."""

    code = "WIDENS"


class TooDeep(Forbidden):
    """The chain would grow past its depth limit."""

    code = "TOO_DEEP"


class Cycle(Forbidden):
    """The receiver is the giver or stands on the path already."""

    code = "CYCLE"


class CrossOwner(Forbidden):
    """Giver and receiver belong to different owners."""

    code = "CROSS_OWNER"


class NotFound(KavachError):
    """No such thing for this caller: unknown and foreign ids look alike."""

    code = "NOT_FOUND"


class MethodNotAllowed(KavachError):
    """The path exists, but not with this method. `allowed` lists those that do."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("The method is not allowed here.", details={"allowed": list(allowed)})
        self.allowed = allowed


class UnsupportedMediaType(KavachError):
    """A body arrived that is not declared to be JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class Conflict(KavachError):
    """The state of things forbids it."""

    code = "CONFLICT"


class LimitReached(Conflict):
    """A configured limit is full."""

    code = "LIMIT_REACHED"


class EmailTaken(Conflict):
    """The address belongs to an account that exists."""

    code = "EMAIL_TAKEN"


class LastWayIn(Conflict):
    """Without it nobody could sign in to this account any more."""

    code = "LAST_WAY_IN"


class LeaseEnded(Conflict):
    """What a call reserved can no longer be settled: its lease is over."""

    code = "LEASE_ENDED"


class FinalState(Conflict):
    """Revoked or expired things stay so."""

    code = "FINAL_STATE"


class _RetryLater(KavachError):
    """An answer that may differ after `retry_after` whole seconds."""

    code = "_RETRY_LATER"

    def __init__(self, message: str, *, retry_after: int = 1, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message, details=details)
        self.retry_after = max(1, retry_after)


class RateLimited(_RetryLater):
    """Too many calls in the current window; where too little is left of a budget it is `BUDGET_EXCEEDED` instead.

    `reason` is the code of the decision behind it, if there is one.
    """

    code = "RATE_LIMITED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after: int = 1,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, details=details)
        self.reason = reason

    @property
    def public_code(self) -> str:
        return self.reason or self.code


class Unavailable(_RetryLater):
    """The question cannot be answered now. Nothing was allowed."""

    code = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The database cannot be read or written now."""

    code = "STORE_UNAVAILABLE"

    @property
    def cause(self) -> str | None:
        """What the driver or the system said, for logs and the command line; clients are not told."""
        found = self.__cause__
        while found is not None and found.__cause__ is not None:
            found = found.__cause__
        if found is None:
            return None
        # A ValueError of a driver repeats the value, which may be a row's.
        first_line = "" if isinstance(found, ValueError) else str(found).partition("\n")[0]
        return f"{type(found).__name__}: {first_line[:200]}" if first_line else type(found).__name__


class ResolverFailed(Unavailable):
    """The app's own `resolve_user`, `grantable` or `owner_permissions` raised or gave nonsense."""

    code = "RESOLVER_FAILED"


class ConfigurationError(KavachError):
    """The configuration is half-set or contradicts itself; Kavach refuses to start."""

    code = "CONFIGURATION_ERROR"


class RemoteNotAvailable(ConfigurationError):
    """Remote mode (`api_key=`, `url=`) is not part of this release."""

    code = "REMOTE_NOT_AVAILABLE"


class SchemaTooNew(ConfigurationError):
    """The database was migrated by a newer release than this one."""

    code = "SCHEMA_TOO_NEW"


class SchemaMissing(ConfigurationError):
    """Migrations are due, and `skip_migrations=True` leaves them to `kavach migrate`."""

    code = "SCHEMA_MISSING"


class MigrationEdited(ConfigurationError):
    """A migration that was applied to this database differs from the file in this release."""

    code = "MIGRATION_EDITED"
