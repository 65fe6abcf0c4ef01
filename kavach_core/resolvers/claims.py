"""The claims of a verified token against what is expected of them (RFC 7519, section 4.1). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

Claims = Mapping[str, object]
#: The time in seconds since 1970.
Now = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say."""

    issuer: str | None = None
    #: At least one of these must be in `aud`; empty where `aud` says nothing.
    audience: tuple[str, ...] = ()
    #: Who may have asked for the token (`azp`); None where it says nothing.
    is_party: Callable[[str], bool] | None = None
    #: Seconds that the clocks of issuer and app may differ.
    skew: float = 60.0
    #: The claim that names the user.
    claim: str = "sub"


def user_of(claims: Claims, expected: Expected, now: float) -> str | None:
    """Return the user that a token names, or None unless it is current and meant for this app."""
    if not is_current(claims, now, expected.skew) or not _is_meant(claims, expected):
        return None
    if expected.claim == "email" and claims.get("email_verified") is not True:
        return None  # whoever may write their address into a profile could be anybody
    user = claims.get(expected.claim)
    return user if isinstance(user, str) and user else None


def is_current(claims: Claims, now: float, skew: float) -> bool:
    """Whether a token has an end that is not reached, and no beginning that is yet to come."""
    end = _time(claims.get("exp"))
    starts = [_time(claims[name]) for name in ("nbf", "iat") if name in claims]
    return end is not None and now < end + skew and all(start is not None and start <= now + skew for start in starts)


def _is_meant(claims: Claims, expected: Expected) -> bool:
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        return False
    if expected.audience and not set(expected.audience) & set(_texts(claims.get("aud"))):
        return False
    party = claims.get("azp")
    return expected.is_party is None or (isinstance(party, str) and expected.is_party(party))


def _time(value: object) -> float | None:
    """A NumericDate of this millennium or so. NaN is none, by the way the comparison is written."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 else None


def _texts(value: object) -> list[str]:
    """`aud` is one text or a list of them; a list that holds anything else says nothing."""
    if isinstance(value, str):
        return [value]
    members = cast("list[object]", value) if isinstance(value, list) else []
    found = [member for member in members if isinstance(member, str)]
    return found if len(found) == len(members) else []
