"""What agents do while the demo stays up, told as it comes on record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Final

from kavach_core.capabilities.audit import AuditEntry
from kavach_core.cli.demo_stage import Line, Stage
from kavach_core.errors import StoreUnavailable
from kavach_core.kavach import Kavach, create_kavach

#: Seconds between two looks at the record, and the most that is told of one.
_PAUSE: Final = 0.5
_MOST: Final = 100


async def watch(database: str, base_url: str, stage: Stage, ended: threading.Event) -> None:
    """Tell of every decision from now on, until the app has ended."""
    async with await create_kavach(database=database, base_url=base_url, skip_migrations=True) as kavach:
        names: dict[str, str] = {}
        last = next(iter((await kavach.audit.query(limit=1)).items), None)
        while not ended.is_set():
            await asyncio.sleep(_PAUSE)
            try:
                for entry in await _since(kavach, last):
                    stage.acted(await _line(kavach, entry, names))
                    last = entry
            except StoreUnavailable:
                continue  # who calls the app is told so; here it is looked again


async def _since(kavach: Kavach, last: AuditEntry | None) -> Sequence[AuditEntry]:
    """What came on record after an entry, oldest first."""
    found = await kavach.audit.query(limit=_MOST, since=None if last is None else last.at)
    return [entry for entry in reversed(found.items) if last is None or entry.id > last.id]


async def _line(kavach: Kavach, entry: AuditEntry, names: dict[str, str]) -> Line:
    for link in entry.path:
        if link.agent_id not in names:
            names[link.agent_id] = (await kavach.agents.get(link.agent_id)).name
    return Line(
        audit_id=entry.id,
        at=entry.at.isoformat(),
        chain=tuple(names[link.agent_id] for link in entry.path),
        call=f"{entry.action}:{entry.resource}",
        code=entry.code.value,
    )
