"""Who comes next while many wait: everyone in turn, so that who asks a lot waits for themselves and not for others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class TurnQueue(Generic[T]):
    """A bounded queue with a line for each key. One is taken from each line in turn; in a line, who came first.

    When it is full, room is made for a key with less than its share by turning away who came last in a longest line.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._lines: OrderedDict[Hashable, deque[T]] = OrderedDict()
        #: The keys of lines by their length. Who has many keys must not make anybody look at all lines.
        self._by_length: list[dict[Hashable, None]] = [{}]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, key: Hashable, item: T) -> T | None:
        """Add an item at the end of its line; returns what is turned away for it, perhaps the item itself."""
        turned_away = None
        if self._size >= self._most:
            turned_away = self._make_room(key)
            if turned_away is None:
                return item
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
        line.append(item)
        self._note(key, len(line) - 1, len(line))
        self._size += 1
        return turned_away

    def take(self, most: int) -> list[T]:
        """Remove up to `most` items, one from each line in turn."""
        taken: list[T] = []
        lines = self._lines
        while lines and len(taken) < most:
            key, line = next(iter(lines.items()))
            taken.append(line.popleft())
            self._note(key, len(line) + 1, len(line))
            if line:
                lines.move_to_end(key)
            else:
                del lines[key]
        self._size -= len(taken)
        return taken

    def clear(self) -> list[T]:
        """Remove everything."""
        return self.take(self._size)

    def _make_room(self, key: Hashable) -> T | None:
        """Take the last of a longest line for a key that has less than its share; None for one that has it."""
        share = self._most // (len(self._lines) + (key not in self._lines))
        if len(self._lines.get(key, ())) >= share:
            return None
        # It is longer than a share, since all of them together are as many as there is room for.
        longest = next(reversed(self._by_length[-1]))
        line = self._lines[longest]
        turned_away = line.pop()
        self._note(longest, len(line) + 1, len(line))
        self._size -= 1
        return turned_away

    def _note(self, key: Hashable, before: int, after: int) -> None:
        """Note that the line of a key has another length; 0 is none."""
        by_length = self._by_length
        if before:
            del by_length[before][key]
        if after == len(by_length):
            by_length.append({})
        if after:
            by_length[after][key] = None
        while len(by_length) > 1 and not by_length[-1]:
            by_length.pop()
