"""Pages of lists: what a caller may ask for, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kavach_core.errors import InvalidInput

T = TypeVar("T")

#: Totals are counted exactly up to here; beyond, the answer is "at least this many".
COUNT_LIMIT: Final = 10_000
MAX_LIMIT: Final = 10_000
MAX_OFFSET: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which part of a list: at most `limit` rows after skipping `offset`. Raises `InvalidInput` out of bounds."""

    limit: int = MAX_LIMIT
    offset: int = 0

    def __post_init__(self) -> None:
        for field, value in (("limit", self.limit), ("offset", self.offset)):
            if type(value) is not int:  # callers are not all type-checked
                raise InvalidInput(f"{field} is a whole number.", field=field)
        if not 0 <= self.limit <= MAX_LIMIT:
            raise InvalidInput(f"limit lies between 0 and {MAX_LIMIT}.", field="limit")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise InvalidInput(f"offset lies between 0 and {MAX_OFFSET}; page with before= instead.", field="offset")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `total` counts all rows that match, up to `COUNT_LIMIT`; iterating gives the rows."""

    items: Sequence[T]
    total: int

    @property
    def total_text(self) -> str:
        """The total as the header shows it: exact to 10,000, then `10000+`."""
        return f"{COUNT_LIMIT}+" if self.total > COUNT_LIMIT else str(self.total)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]
