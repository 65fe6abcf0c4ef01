"""Hypothesis strategies for the permission grammar: few segments, letters and networks, so that things often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kavach_core.primitives.permissions import AccessRequest, Constraints, Permission, TimeWindow

ACTIONS = ("read", "write")
ARGUMENTS = ("path", "mode")
NETWORKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.2.0.0/16", "::/0", "2001:db8::/32", "2001:db8::1")
ADDRESSES = ("10.1.2.3", "10.2.0.1", "192.0.2.1", "2001:db8::1", "2001:db9::1", "::ffff:10.1.2.3")
MINUTE = 60_000_000

segments = st.sampled_from(["a", "b", "c"])
resources = st.lists(segments, min_size=1, max_size=4).map(":".join)
patterns = st.one_of(
    st.just("*"),
    st.builds(
        lambda fixed, tail: ":".join([*fixed, *tail]),
        st.lists(st.one_of(segments, st.just("*")), min_size=1, max_size=3),
        st.sampled_from([[], ["**"]]),
    ).map(lambda text: "*:**" if text == "*" else text),
)
actions = st.lists(st.sampled_from([*ACTIONS, "*"]), min_size=1, max_size=2)
globs = st.text("ab*?", max_size=4)
argument_patterns = st.lists(st.builds("{}={}".format, st.sampled_from(ARGUMENTS), globs), min_size=1, max_size=3)
#: Instants of the first two days, on and beside the quarters of hours that windows begin and end at.
instants = st.integers(0, 191).flatmap(
    lambda quarter: st.sampled_from([0, 1, 14]).map(lambda minute: (quarter * 15 + minute) * MINUTE)
)


@st.composite
def windows(draw: st.DrawFn) -> TimeWindow:
    """A daily window between two quarters of hours."""
    start, end = draw(st.lists(st.integers(0, 95), min_size=2, max_size=2, unique=True))
    return TimeWindow(start=f"{start // 4:02}:{start % 4 * 15:02}", end=f"{end // 4:02}:{end % 4 * 15:02}")


@st.composite
def constraints(draw: st.DrawFn) -> Constraints:
    """Any constraints, most of them absent."""

    def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.none(), st.none(), strategy)

    return Constraints(
        max_calls_per_hour=draw(maybe(st.integers(0, 3))),
        allowed_arg_patterns=draw(maybe(argument_patterns)),
        require_approval=draw(maybe(st.booleans())),
        time_window=draw(maybe(windows())),
        ip_allowlist=draw(maybe(st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3))),
    )


@st.composite
def permissions(draw: st.DrawFn, *, like: Permission | None = None) -> Permission:
    """Any permission; with `like`, one that shares many of its parts."""

    def part(name: str, fresh: st.SearchStrategy[Any]) -> Any:
        return getattr(like, name) if like is not None and draw(st.booleans()) else draw(fresh)

    return Permission(
        resource=part("resource", patterns),
        actions=part("actions", actions),
        constraints=part("constraints", constraints()),
    )


#: Two permissions that often have parts in common.
pairs = permissions().flatmap(lambda one: st.tuples(st.just(one), permissions(like=one)))


@st.composite
def requests(draw: st.DrawFn, *, of: Permission | None = None) -> AccessRequest:
    """Any request; with `of`, one whose resource and action that permission means."""
    action, resource = draw(st.sampled_from(ACTIONS)), draw(resources)
    if of is not None:
        action = action if "*" in of.actions else draw(st.sampled_from(of.actions))
        filled = [draw(segments) if part == "*" else part for part in of.pattern.fixed]
        if of.pattern.open:
            filled += draw(st.lists(segments, min_size=1, max_size=2))
        resource = ":".join(filled)
    texts = st.one_of(st.text("abc*?", max_size=4), st.none(), st.just(["a"]), st.just(7))
    return AccessRequest.of(
        action=action,
        resource=resource,
        arguments=draw(st.one_of(st.none(), st.dictionaries(st.sampled_from(ARGUMENTS), texts))),
        address=draw(st.one_of(st.none(), st.sampled_from(ADDRESSES))),
    )


def inherited(child: Permission, parent: Permission) -> Permission:
    """The child with each constraint it leaves out taken over from its parent."""
    names = ("max_calls_per_hour", "allowed_arg_patterns", "require_approval", "time_window", "ip_allowlist")
    parts = {name: getattr(child.constraints, name) or getattr(parent.constraints, name) for name in names[1:]}
    rate = child.constraints.max_calls_per_hour
    parts["max_calls_per_hour"] = parent.constraints.max_calls_per_hour if rate is None else rate
    return Permission(resource=child.resource, actions=child.actions, constraints=Constraints(**parts))


def allows(permission: Permission, request: AccessRequest, now: int) -> bool:
    """Resource, action and the constraints that need no memory."""
    return permission.matches(request) and permission.constraints.violated(request, now) is None
