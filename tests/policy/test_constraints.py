"""Constraints: what is refused when written, what denies when read, and each check."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions import (
    NO_CONSTRAINTS,
    AccessRequest,
    Constraints,
    TimeWindow,
    parse_constraints,
    read_constraints,
)
from kavach_core.primitives.permissions.globs import Glob
from kavach_core.primitives.permissions.networks import check_networks, network_covers, networks_meet
from kavach_core.primitives.reasons import Reason
from tests.policy.strategies import MINUTE, constraints, windows

FULL: dict[str, object] = {
    "maxCallsPerHour": 5,
    "allowedArgPatterns": ["mode=r?", "path=/tmp/*", "path=/var/*"],
    "requireApproval": True,
    "timeWindow": {"start": "22:00", "end": "06:00"},
    "ipAllowlist": ["10.0.0.0/8", "2001:db8::1"],
}


def minute(clock: str) -> int:
    """A time of day, on a day of its own, in microseconds."""
    return (20_000 * 24 * 60 + int(clock[:2]) * 60 + int(clock[3:])) * MINUTE


def violated(
    wire: Mapping[str, object],
    *,
    arguments: Mapping[str, object] | None = None,
    address: str | None = None,
    at: str = "12:00",
) -> Reason | None:
    request = AccessRequest.of(action="read", resource="a", arguments=arguments, address=address)
    return read_constraints(wire).violated(request, minute(at))


def slow_glob(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return slow_glob(pattern[1:], text) or (bool(text) and slow_glob(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and slow_glob(pattern[1:], text[1:])


WRONG: dict[str, list[object]] = {
    "maxCallsPerHour": [-1, True, False, 1.0, "5", [5], 2**53],
    "allowedArgPatterns": [
        *([], "path=x", {}, 7, ["path"], ["=x"], [7], [""], [None]),
        *(["a=x"] * 51, ["a=" + "x" * 255], ["a=\x00"], ["a=\ud800"]),
    ],
    "requireApproval": [0, 1, "true", []],
    "timeWindow": [[], "09:00-17:00", 7],
    "ipAllowlist": [
        *([], "10.0.0.0/8", {}, 7, [7], [None], [""], ["10.0.0.1"] * 101, ["*"], ["localhost"], ["::/129"]),
        *(["10.0.0.0/33"], ["10.0.0.0/255.0.0.0"], ["10.0.0.0/0.255.255.255"], ["10.0.0.0/"], ["10.0.0.0/-1"]),
        *(["10.0.0"], ["010.0.0.1"], ["10.0.0.0/\u0668"], ["fe80::1%eth0"], ["fe80::%1/64"]),
    ],
}
WRONG_ENDS: list[object] = [
    *("24:00", "9:00", "09:60", "09:00:00", " 09:00", "09:00\n", "\u0660\u0669:00", 900, ["09:00"], None),
]


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        *((name, value, "") for name, values in WRONG.items() for value in values),
        *(("timeWindow", {"start": "00:00", "end": end}, ".end") for end in WRONG_ENDS),
        ("timeWindow", {}, ".start"),
        ("timeWindow", {"start": "09:00"}, ".end"),
        ("timeWindow", {"end": "09:00"}, ".start"),
        ("timeWindow", {"start": "09:00", "end": "09:00"}, ""),
        ("timeWindow", {"start": "09:00", "end": "10:00", "zone": "UTC"}, ""),
    ],
)
def test_a_constraint_that_is_refused_when_written_and_denies_when_read(name: str, value: object, place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_constraints({name: value}, "c")
    assert refused.value.field == f"c.{name}{place}"
    assert read_constraints({name: value}).unknown == (name,)
    assert violated({name: value}) is Reason.UNKNOWN_CONSTRAINT


@pytest.mark.parametrize(
    "given",
    [
        {"max_calls_per_hour": -1},
        {"allowed_arg_patterns": []},
        {"require_approval": 1},
        {"time_window": {"start": "09:00"}},
        {"ip_allowlist": ["x"]},
    ],
)
def test_constraints_built_in_python_are_checked_too(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Constraints(**given)  # type: ignore[arg-type]
    assert str(refused.value.field).split(".")[0] == next(iter(given))


@pytest.mark.parametrize("ends", [("09:00", "09:00"), ("9", "10:00"), ("09:00", "25:00"), (None, "09:00")])
def test_a_window_built_in_python_is_checked_too(ends: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput):
        TimeWindow(start=ends[0], end=ends[1])


@pytest.mark.parametrize("value", [None, {}, dict.fromkeys(FULL), {"requireApproval": False}])
def test_no_constraints_are_one_value(value: object) -> None:
    assert parse_constraints(value) is NO_CONSTRAINTS
    assert not NO_CONSTRAINTS.any
    assert Constraints() == NO_CONSTRAINTS


def test_both_spellings_give_the_same_constraints() -> None:
    built = Constraints(
        max_calls_per_hour=5,
        allowed_arg_patterns=("path=/var/*", "path=/tmp/*", "mode=r?", "mode=r?"),
        require_approval=True,
        time_window=TimeWindow(start="22:00", end="06:00"),
        ip_allowlist=["2001:db8::1/128", "10.9.8.7/8"],
    )
    assert built == parse_constraints(FULL) == parse_constraints(built)
    assert built.to_wire() == FULL


@settings(max_examples=100)
@given(constraints())
def test_the_wire_form_reads_back_as_the_same(given: Constraints) -> None:
    assert parse_constraints(given.to_wire()) == read_constraints(given.to_wire()) == given
    assert given.any is bool(given.to_wire())


def test_an_unknown_constraint_is_refused_when_written_even_as_null() -> None:
    for value in (1, None):
        with pytest.raises(InvalidInput) as refused:
            parse_constraints({"maxCallsPerDay": value, "requireApproval": True}, "c")
        assert refused.value.field == "c"


def test_an_unknown_constraint_denies_when_read_and_stays_so() -> None:
    read = read_constraints({"maxCallsPerDay": None, "maxCallsPerHour": "x", "requireApproval": True})
    assert read.unknown == ("maxCallsPerDay", "maxCallsPerHour")
    assert read.to_wire() == {
        "maxCallsPerDay": "unknown",
        "maxCallsPerHour": "unknown",
        "requireApproval": True,
    }
    assert read_constraints(read.to_wire()) == read
    assert read_constraints("nonsense").unknown
    with pytest.raises(InvalidInput):
        parse_constraints(read)


def test_a_number_too_long_to_be_written_is_refused_like_any_other() -> None:
    with pytest.raises(InvalidInput):
        parse_constraints({"maxCallsPerHour": 10**5000})


def test_a_rate_of_zero_is_a_constraint() -> None:
    for zero in (Constraints(max_calls_per_hour=0), parse_constraints({"maxCallsPerHour": 0})):
        assert zero.any
        assert zero.max_calls_per_hour == 0
        assert zero.to_wire() == {"maxCallsPerHour": 0}


def test_the_first_violation_is_named_in_a_fixed_order() -> None:
    wire = dict(FULL)
    arguments = {"path": "/tmp/x", "mode": "rw"}
    assert violated({**wire, "new": 1}) is Reason.UNKNOWN_CONSTRAINT
    assert violated(wire) is Reason.ARGUMENT_NOT_ALLOWED
    assert violated(wire, arguments=arguments) is Reason.OUTSIDE_TIME_WINDOW
    assert violated(wire, arguments=arguments, at="23:00") is Reason.ADDRESS_NOT_ALLOWED
    assert violated(wire, arguments=arguments, at="23:00", address="10.1.1.1") is None
    assert violated({}) is None


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"path": "/tmp/x", "mode": "rw"}, True),
        ({"path": "/var/", "mode": "rb", "other": "anything"}, True),
        ({"path": "/tmp/x"}, False),
        ({"mode": "rw"}, False),
        ({"path": "/tmp/x", "mode": "r"}, False),
        ({"path": "x/tmp/x", "mode": "rw"}, False),
        ({"path": "/tmp", "mode": "rw"}, False),
        ({"path": "/tmp/a\nb", "mode": "r\n"}, True),
        ({"path": ["/tmp/x"], "mode": "rw"}, False),
        ({"path": {"path": "/tmp/x"}, "mode": "rw"}, False),
        ({"arguments": {"path": "/tmp/x", "mode": "rw"}}, False),
        ({"path": None, "mode": "rw"}, False),
        ({"path": "/tmp/x", "mode": 7}, False),
        ({"path": "/TMP/x", "mode": "rw"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_every_named_argument_must_be_text_that_matches_one_of_its_globs(
    arguments: dict[str, object] | None, allowed: bool
) -> None:
    patterns = {"allowedArgPatterns": FULL["allowedArgPatterns"]}
    assert violated(patterns, arguments=arguments) is (None if allowed else Reason.ARGUMENT_NOT_ALLOWED)


def test_a_star_still_wants_the_argument_and_an_empty_glob_the_empty_text() -> None:
    assert violated({"allowedArgPatterns": ["a=*"]}) is Reason.ARGUMENT_NOT_ALLOWED
    assert violated({"allowedArgPatterns": ["a=*"]}, arguments={"a": ""}) is None
    assert violated({"allowedArgPatterns": ["a="]}, arguments={"a": ""}) is None
    assert violated({"allowedArgPatterns": ["a="]}, arguments={"a": "x"}) is Reason.ARGUMENT_NOT_ALLOWED
    assert violated({"allowedArgPatterns": ["a=b=c"]}, arguments={"a": "b=c"}) is None


@settings(max_examples=200)
@given(st.text("ab*?", max_size=6), st.text("abc*?", max_size=8))
def test_globs_match_like_the_obvious_matcher(pattern: str, text: str) -> None:
    assert Glob.of(pattern).matches(text) is slow_glob(pattern, text)


def test_a_glob_that_covers_another_matches_all_the_other_does() -> None:
    """Every pair of globs of up to four characters; the texts have a letter that no glob names, and the wildcards."""
    texts = ["".join(letters) for size in range(6) for letters in itertools.product("ab*?", repeat=size)]
    globs = [Glob.of("".join(letters)) for size in range(5) for letters in itertools.product("a?*", repeat=size)]
    matched = {glob.text: frozenset(filter(glob.matches, texts)) for glob in globs}
    for one, other in itertools.product(globs, repeat=2):
        really = matched[one.text] >= matched[other.text]
        assert really or not one.covers(other), (one.text, other.text)
        # Where ours has no ?, nothing is missed either.
        assert one.covers(other) or not really or "?" in one.text, (one.text, other.text)


@pytest.mark.parametrize(
    "pattern", ["*a*a*a*a*a*a*b", "*" + "a?" * 100 + "b*", "*" + "?" * 200 + "b*", "*" + "a" * 200 + "b*"]
)
def test_the_time_of_a_glob_grows_with_the_text_and_no_faster(pattern: str) -> None:
    glob = Glob.of(pattern)

    def seconds(length: int) -> float:
        text, best = "a" * length, 9.0
        for _ in range(3):
            begun = time.perf_counter()
            glob.matches(text)
            best = min(best, time.perf_counter() - begun)
        return best

    short, long = seconds(20_000), seconds(160_000)
    assert long < max(short, 1e-4) * 8 * 4
    assert long < 1


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        ("09:00", "17:00", ["09:00", "12:00", "16:59"], ["08:59", "17:00", "00:00"]),
        ("22:00", "06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("22:00", "00:00", ["22:00", "23:59"], ["00:00", "21:59"]),
        ("00:00", "00:01", ["00:00"], ["00:01", "23:59"]),
        ("00:01", "00:00", ["00:01", "23:59"], ["00:00"]),
    ],
)
def test_a_window_has_its_start_and_not_its_end_and_may_cross_midnight(
    start: str, end: str, inside: list[str], outside: list[str]
) -> None:
    window = {"timeWindow": {"start": start, "end": end}}
    assert [violated(window, at=at) for at in inside] == [None] * len(inside)
    assert [violated(window, at=at) for at in outside] == [Reason.OUTSIDE_TIME_WINDOW] * len(outside)


def test_the_last_microsecond_of_a_window_is_inside() -> None:
    window = TimeWindow(start="09:00", end="17:00")
    assert window.contains(minute("17:00") - 1)
    assert not window.contains(minute("17:00"))
    assert not window.contains(minute("09:00") - 1)


@settings(max_examples=150)
@given(windows(), windows())
def test_windows_cover_and_meet_exactly(one: TimeWindow, other: TimeWindow) -> None:
    def open_at(*several: TimeWindow) -> set[int]:
        return {at for at in range(0, 24 * 60, 5) if any(window.contains(at * MINUTE) for window in several)}

    assert one.covers(other) is (open_at(one) >= open_at(other))
    both = one.meet(other)
    assert open_at(*both) == open_at(one) & open_at(other)
    assert len(both) <= 2


@pytest.mark.parametrize(
    ("listed", "address", "allowed"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.1.2.3/8"], "10.9.9.9", True),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["::ffff:10.0.0.0/104"], "10.0.0.1", True),
        (["::ffff:10.0.0.1"], "::ffff:10.0.0.1", True),
        (["::ffff:0:0/96"], "192.0.2.1", True),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32", "10.0.0.0/8"], "10.0.0.1", True),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "10.0.0.1", False),
        (["0.0.0.0/0", "::/0"], None, False),
        (["0.0.0.0/0", "::/0"], "unknown", False),
    ],
)
def test_an_address_must_be_known_and_in_a_listed_network(
    listed: list[str], address: str | None, allowed: bool
) -> None:
    assert violated({"ipAllowlist": listed}, address=address) is (None if allowed else Reason.ADDRESS_NOT_ALLOWED)


def test_networks_are_kept_in_one_form() -> None:
    written = parse_constraints(
        {"ipAllowlist": ["10.1.2.3/8", "10.0.0.0/8", "::ffff:192.0.2.1", "192.0.2.1/32", "::1"]}
    )
    assert written.to_wire() == {"ipAllowlist": ["10.0.0.0/8", "192.0.2.1", "::1"]}


def test_networks_cover_and_meet_by_nesting() -> None:
    wide, narrow, other, six = (
        check_networks([text], "n")[0] for text in ("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "::/0")
    )
    assert network_covers(wide, narrow)
    assert network_covers(wide, wide)
    assert not network_covers(narrow, wide)
    assert not network_covers(six, wide)
    assert not network_covers(wide, six)
    assert networks_meet((wide, six), (narrow, other)) == (narrow,)
    assert networks_meet((wide,), (other, six)) == ()
