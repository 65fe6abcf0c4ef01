"""Who comes next while many wait: bounded, in order, and nobody twice before somebody once."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core.store.turns import TurnQueue

Step = tuple[str, int]
Queue = TurnQueue[tuple[int, int]]

_steps = st.lists(
    st.one_of(st.tuples(st.just("put"), st.integers(0, 5)), st.tuples(st.just("take"), st.integers(1, 4))), max_size=80
)


def test_one_is_taken_from_each_line_in_turn() -> None:
    queue = TurnQueue[str](10)
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        assert queue.put(item[0], item) is None
    assert queue.take(4) == ["a1", "b1", "c1", "a2"]
    assert queue.put("b", "b2") is None
    assert queue.take(10) == ["c2", "a3", "b2"]
    assert (len(queue), queue.take(1)) == (0, [])


def test_a_full_queue_makes_room_for_who_has_less_than_their_share() -> None:
    queue = TurnQueue[str](4)
    for item in ("a1", "a2", "a3", "a4"):
        queue.put("a", item)
    assert queue.put("a", "a5") == "a5"
    assert queue.put("b", "b1") == "a4"
    assert queue.put("b", "b2") == "a3"
    assert queue.put("b", "b3") == "b3"
    assert queue.put("a", "a6") == "a6"
    assert queue.take(4) == ["a1", "b1", "a2", "b2"]


def test_a_queue_full_of_lines_of_one_turns_the_next_one_away() -> None:
    queue = TurnQueue[int](3)
    for number in range(3):
        queue.put(number, number)
    assert queue.put(3, 3) == 3
    assert queue.clear() == [0, 1, 2]


def test_room_is_made_in_microseconds_however_many_lines_there_are() -> None:
    """One busy owner, and a flood of tokens that are nobody's and so each a line of its own."""
    queue = TurnQueue[int](10_000)
    for number in range(5_000):
        queue.put("busy", number)
        queue.put(number, number)
    took: list[int] = []
    for number in range(5_000, 6_000):
        began = time.perf_counter_ns()
        assert queue.put(number, number) is not None
        took.append(time.perf_counter_ns() - began)
    assert statistics.median(took) < 100_000
    assert len(queue.clear()) == 10_000


@given(steps=_steps, most=st.integers(1, 12))
def test_turns_are_fair_and_lose_nobody(steps: list[Step], most: int) -> None:
    play(steps, TurnQueue(most), most)


class OneLine(Queue):
    """What it would be without turns."""

    def put(self, key: Hashable, item: tuple[int, int]) -> tuple[int, int] | None:
        return super().put(None, item)


class WholeLines(Queue):
    """Serves one line until it is empty."""

    def take(self, most: int) -> list[tuple[int, int]]:
        lines, taken = self._lines, list[tuple[int, int]]()
        while lines and len(taken) < most:
            key, line = next(iter(lines.items()))
            taken.append(line.popleft())
            if not line:
                del lines[key]
        self._size -= len(taken)
        return taken


class LastOut(Queue):
    """Makes room by turning away whoever came last, and not those who have more than their share."""

    def _make_room(self, key: Hashable) -> tuple[int, int] | None:
        return None


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [(OneLine, "less than their share"), (WholeLines, "not served once"), (LastOut, "less than their share")],
)
def test_the_same_check_catches_unfair_queues(wrong: Callable[[int], Queue], fault: str) -> None:
    """The negative control: one key that fills the queue, and another that comes after it."""
    with pytest.raises(AssertionError, match=fault):
        play([("put", 0)] * 4 + [("put", 1), ("take", 3), ("take", 3)], wrong(4), 4)


Waiting = dict[tuple[int, int], tuple[int, Counter[int]]]


def play(steps: list[Step], queue: Queue, most: int) -> None:
    """Take the steps, and hold what comes out against lines that are simply kept."""
    lines: dict[int, deque[tuple[int, int]]] = {}
    #: For each waiting item how many of its own line stood before it when it came, and who was served since.
    waiting: Waiting = {}
    for number, (verb, detail) in enumerate(steps):
        if verb == "put":
            waiting[detail, number] = len(lines.get(detail, ())), Counter()
            _check_put(queue, lines, most, (detail, number))
        else:
            taken = queue.take(detail)
            assert len(taken) == min(detail, sum(map(len, lines.values())))
            for item in taken:
                _check_turn(lines, waiting, item)
        lines = {key: line for key, line in lines.items() if line}
        assert len(queue) == sum(map(len, lines.values())) <= most


def _check_put(queue: Queue, lines: dict[int, deque[tuple[int, int]]], most: int, item: tuple[int, int]) -> None:
    size, key = sum(map(len, lines.values())), item[0]
    share = most // (len(lines) + (key not in lines))
    turned_away = queue.put(key, item)
    if turned_away != item:
        lines.setdefault(key, deque()).append(item)
    if size < most:
        assert turned_away is None, "turned away although there was room"
        return
    assert turned_away is not None, "let in although it is full"
    if turned_away == item:
        assert len(lines.get(key, ())) >= share, "turned away with less than their share"
    else:
        assert len(lines[turned_away[0]]) > share, "turned away for others with no more than their share"
        assert len(lines[key]) <= share, "others were turned away for one with their share"
        assert lines[turned_away[0]].pop() == turned_away, "not who came last was turned away"


def _check_turn(lines: dict[int, deque[tuple[int, int]]], waiting: Waiting, item: tuple[int, int]) -> None:
    key = item[0]
    assert lines[key].popleft() == item, "not who came first in the line"
    for other, line in lines.items():
        for each in line:
            before, served = waiting[each]
            served[key] += other != key
            assert served[key] <= before + 1, "served again while others were not served once"
