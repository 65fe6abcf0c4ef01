"""Decisions as readable cases, for the tests of the policy, the services and HTTP alike.

A case is a chain of permission lists, from the owner's agent down to the acting one (`chain`), what the first of them
was narrowed to afterwards (`narrowed`), one call (`ask`: action and resource as in "read:repos", `arguments`, `ip`, and
the time of day `at`), how often that call went before (`before`), and the code that must come out (`code`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

#: The day on which all cases happen, a Tuesday.
DAY = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One decision that is known."""

    name: str
    chain: Sequence[Sequence[Any]]
    ask: str
    code: str
    narrowed: Sequence[Any] | None = None
    arguments: Mapping[str, object] | None = None
    ip: str | None = None
    at: str = "12:00"
    before: int = 0
    moment: datetime = field(init=False)

    def __post_init__(self) -> None:
        hours, minutes = map(int, self.at.split(":"))
        object.__setattr__(self, "moment", DAY + timedelta(hours=hours, minutes=minutes))

    @property
    def action(self) -> str:
        return self.ask.partition(":")[0]

    @property
    def resource(self) -> str:
        return self.ask.partition(":")[2]

    def __str__(self) -> str:
        return self.name


def load() -> list[Case]:
    """All cases of `decisions.json`."""
    text = (Path(__file__).parent / "decisions.json").read_text(encoding="utf-8")
    return [Case(**entry) for entry in json.loads(text)]
