"""The one way to say that something changed: a row in the transaction that changes it. Delivery reads the rows."""

from __future__ import annotations

from collections.abc import Mapping

from kavach_core.primitives.text import canonical_json
from kavach_core.store import Transaction

_INSERT = """
insert into kavach_events (project_id, id, type, subject, owner_id, data) values ($1, $2, $3, $4, $5, $6)
"""


async def announce(
    tx: Transaction,
    project: str,
    event: str,
    *,
    subject: str,
    owner_id: str | None = None,
    data: Mapping[str, object] | None = None,
) -> None:
    """Write the event `event` about `subject` (a public id). It must commit or vanish with the change itself.

    `data` holds no secret: it is meant to leave the system.
    """
    await tx.execute(_INSERT, project, tx.new_id(), event, subject, owner_id, canonical_json(dict(data or {})))
