"""Random histories: what happens to agents, delegations, budgets, approvals and humans, a step at a time.

Steps name things by numbers that may be too large; who tells the history takes them modulo what there is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.flows.reference_grammar import Call, Given

MOST_AGENTS = 9
#: What everyone is asked after a change, without consequences.
PROBES = (
    Call("read", "a", None),
    Call("read", "a:b", "ab", 2),
    Call("write", "b", "b"),
    Call("write", "a:a:b", "ab", 1),
)

Step = tuple[str, tuple[Any, ...]]

permissions = st.builds(
    Given,
    st.sampled_from(["*", "*", "*", "a", "b", "a:*", "a:b", "a:**", "*:b"]),
    st.sampled_from([("read",), ("write",), ("read", "write"), ("*",)]),
    st.sampled_from([None, None, None, 0, 1, 2]),
    st.sampled_from([None, None, None, (9, 17), (10, 12), (22, 6)]),
    st.sampled_from([None, None, None, "a*", "ab", "*"]),
    st.sampled_from([False] * 5 + [True]),
)


def _one_rate(given_: list[Given]) -> list[Given]:
    """Of two rates for one call it is open which is taken; so a list has one at most, and each resource once."""
    kept: dict[str, Given] = {}
    for each in given_:
        rated = any(other.rate is not None for other in kept.values())
        kept.setdefault(each.resource, each if each.rate is None or not rated else Given(each.resource, each.actions))
    return list(kept.values())


some = st.lists(permissions, max_size=3).map(_one_rate)
lent = st.one_of(
    st.lists(permissions, min_size=1, max_size=2).map(_one_rate),
    st.sampled_from([[Given("a", ("read",))], [Given("a:b", ("read",)), Given("b", ("write",))], [Given("*", ("*",))]]),
)
plain = st.sampled_from([[Given("a", ("read",))], [Given("*", ("read",))]])
who = st.integers(0, MOST_AGENTS - 1)
roots, others = st.integers(0, 2), st.integers(3, 5)
owners = st.sampled_from(["alice", "alice", "bob"])
lives = st.sampled_from([None, None, 60, 120])
ends = st.sampled_from([None, None, None, 30, 180])
depths = st.sampled_from([None, None, None, 1, 2, 4])
none = st.none()
rights = st.one_of(
    none,
    st.lists(permissions, max_size=2).map(_one_rate),
    st.sampled_from([[Given("*", ("*",))], [Given("a", ("*",))]]),
)
consent = st.just([Given("*", ("*",), approval=True)])
calls = st.one_of(
    st.sampled_from(PROBES),
    st.builds(
        Call,
        st.sampled_from(["read", "write"]),
        st.sampled_from(["a", "b", "a:a", "a:b", "a:b:a"]),
        st.sampled_from([None, "ab", "b"]),
        st.sampled_from([None, 0, 1, 2, 3]),
    ),
)
together = st.lists(st.tuples(who, calls), min_size=1, max_size=6)
#: The same agent asks for the same a few times.
again = st.tuples(who, calls, st.integers(2, 3)).map(lambda drawn: [drawn[:2]] * drawn[2])
holders = st.one_of(
    st.tuples(st.just("agent"), who),
    st.tuples(st.just("edge"), who),
    st.tuples(st.just("owner"), owners),
    st.tuples(st.just("project"), none),
)
limits = st.integers(0, 4)
actions = st.sampled_from(["block", "block", "warn", "revoke"])


def _step(verb: str, *details: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(verb), st.tuples(*details))


building = st.one_of(
    _step("create", owners, some, lives, ends),
    _step("delegate", who, lent, lives, ends, depths),
    _step("delegate", who, plain, lives, none, none),
    _step("link", who, who, lent, ends, depths),
    _step("link", roots, others, plain, none, none),
    _step("link", roots, others, consent, none, none),
    _step("link", others, others, plain, none, none),
)
changing = st.one_of(
    _step("cut", who),
    _step("cut", who),
    _step("narrow", who, some),
    _step("revoke", who),
    _step("advance", st.sampled_from([10, 16, 30, 61, 180, 600])),
    _step("advance", st.sampled_from([10, 16, 30])),
    _step("suspend", owners),
    _step("resume", owners),
    _step("resume", owners),
    _step("permit", owners, rights),
    _step("stop"),
    _step("go"),
    _step("go"),
)
spending = st.one_of(
    _step(
        "bound",
        holders,
        st.sampled_from(["calls", "cost"]),
        st.sampled_from(["hour", "day", "forever"]),
        limits,
        actions,
    ),
    _step("bound", holders, st.just("cost"), st.just("month"), limits, actions),
    _step("adjust", who, limits, actions),
    _step("unbound", who),
    _step("settle", who, limits),
    _step("settle", who, limits),
    _step("answer", who, st.sampled_from([True, True, False])),
    _step("answer", who, st.just(True)),
    _step("call", together),
    _step("call", again),
    _step("call", again),
)
pauses = st.sampled_from([5, 15, 16, 59, 61, 700, 1500, 50_000])
costly = st.builds(Call, st.just("read"), st.just("a"), none, st.sampled_from([1, 2, 3]))
strict = st.just(Call("read", "a", None))
#: Agents of the opening that may spend, and the one that needs a human. -1 is what was made last.
spenders, asker, LAST = st.sampled_from([0, 1, 3, 3]), 5, -1


@st.composite
def spending_sprees(draw: st.DrawFn) -> list[Step]:
    """A budget is made, spent, perhaps settled, and looked at again after a while."""
    spender, call = draw(spenders), draw(costly)
    payer = st.sampled_from([spender, spender, 0])
    holder = draw(st.one_of(st.tuples(st.just("agent"), payer), holders))
    per, limit = draw(st.sampled_from(["hour", "day", "month", "forever"])), draw(st.integers(1, 6))
    calling: Step = ("call", ([(spender, call)] * draw(st.integers(1, 3)),))
    return [
        ("bound", (holder, draw(st.sampled_from(["calls", "cost", "cost"])), per, limit, draw(actions))),
        calling,
        *draw(st.lists(_step("settle", st.just(LAST), limits), max_size=2)),
        ("advance", (draw(pauses),)),
        *draw(st.lists(_step("settle", st.just(LAST), limits), max_size=1)),
        calling,
    ]


@st.composite
def consents(draw: st.DrawFn) -> list[Step]:
    """A human is asked, answers, and the same call and one that is nearly the same are made."""
    call, other = draw(st.one_of(strict, calls)), draw(calls)
    nearly = draw(st.sampled_from([replace(call, q=other.q), replace(call, cost=other.cost)]))
    return [
        ("call", ([(asker, call)],)),
        *draw(st.lists(_step("advance", st.sampled_from([30, 60])), max_size=1)),
        ("answer", (LAST, draw(st.sampled_from([True, True, False])))),
        *draw(st.lists(_step("advance", st.sampled_from([30, 60])), max_size=1)),
        ("call", ([(asker, nearly)],)),
        ("call", ([(asker, call)] * draw(st.integers(1, 3)),)),
        *draw(st.lists(_step("answer", st.just(LAST), st.just(False)), max_size=1)),
    ]


#: Every history begins with two who have everything, one who may do little often, and three who have nothing; the first
#: of these gets the same from two, and hands it on, and the last needs a human for everything.
OPENING: list[Step] = [
    *(
        ("create", ("alice", own, None, None))
        for own in ([Given("*", ("*",))], [Given("*", ("*",))], [Given("*", ("read",), rate=1)], [], [], [])
    ),
    *(("link", (giver, receiver, [Given("a", ("read",))], None, None)) for giver, receiver in ((0, 3), (1, 3), (3, 4))),
    ("link", (0, 5, [Given("*", ("*",), approval=True)], None, None)),
]


def _one(step: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return step.map(lambda only: [only])


_first = st.lists(building, min_size=2, max_size=4)
_then = st.lists(
    st.one_of(
        *(_one(building), _one(changing), _one(changing), _one(spending)),
        *(spending_sprees(), spending_sprees(), consents()),
    ),
    min_size=6,
    max_size=12,
)
#: What happens after the opening.
histories = st.builds(lambda first, then: [*first, *(step for part in then for step in part)], _first, _then)
