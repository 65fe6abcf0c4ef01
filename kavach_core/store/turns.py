"""Who comes next while many wait: everyone in turn, so that who asks a lot waits for themselves and not for others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class TurnQueue(Generic[T]):
    """A bounded queue with a line for each key. One is taken from each line in turn; in a line, who came first.

    When it is full, room is made for a key with less than its share by turning away who came last in a longer line.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._lines: OrderedDict[Hashable, deque[T]] = OrderedDict()
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
            self._lines[key] = deque((item,))
        else:
            line.append(item)
        self._size += 1
        return turned_away

    def take(self, most: int) -> list[T]:
        """Remove up to `most` items, one from each line in turn."""
        taken: list[T] = []
        lines = self._lines
        while lines and len(taken) < most:
            key, line = next(iter(lines.items()))
            taken.append(line.popleft())
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
        """Take the last of a line that is longer than the share of each, for a key that has less than its share."""
        share = self._most // (len(self._lines) + (key not in self._lines))
        if len(self._lines.get(key, ())) >= share:
            return None
        # There is one, since all of them together are as many as there is room for.
        longer = next(line for line in reversed(self._lines.values()) if len(line) > share)
        self._size -= 1
        return longer.pop()
