"""Ask once, answer once: a row that its answer deletes before anything is verified, so that a replay finds nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Final, cast

from kavach_core.capabilities.challenges.model import Asked, ChallengeKind
from kavach_core.errors import ChallengeUnknown
from kavach_core.primitives.text import canonical_json, require_text
from kavach_core.store import Transaction

#: Expired rows are deleted as new ones come in, so that nobody needs to clean up.
_DELETE_EXPIRED: Final = "delete from kavach_challenges where project_id = $1 and expires_at <= $2"
_INSERT: Final = """
insert into kavach_challenges (project_id, hash, kind, browser_hash, user_id, session_id, data, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_TAKE: Final = """
delete from kavach_challenges where project_id = $1 and hash = $2
returning kind, browser_hash, user_id, session_id, data, expires_at
"""


async def ask(
    tx: Transaction,
    project: str,
    kind: ChallengeKind,
    challenge: bytes,
    asked: Asked,
    *,
    lifetime: int,
    browser_hash: bytes | None,
) -> None:
    """Keep the hash of a random challenge and what it was asked for, for `lifetime` microseconds."""
    await tx.execute(_DELETE_EXPIRED, project, tx.now)
    await tx.execute(
        _INSERT,
        project,
        _hash(challenge),
        kind.value,
        browser_hash,
        asked.user_id,
        asked.session_id,
        canonical_json(dict(asked.data)),
        tx.now + lifetime,
    )


async def take(
    tx: Transaction, project: str, kind: ChallengeKind, challenge: bytes, *, browser_hash: bytes | None
) -> Asked | None:
    """Use up a challenge. None if it was used, never asked, is too old, of another kind or from another browser.

    Commit this before the answer is verified: a failed answer burns its challenge too.
    """
    row = await tx.fetch_one(_TAKE, project, _hash(challenge))
    if row is None:
        return None
    row_kind, row_browser, user_id, session_id, data, expires_at = row
    if row_kind != kind.value or row_browser != browser_hash or cast(int, expires_at) <= tx.now:
        return None
    return Asked(
        user_id=cast("bytes | None", user_id),
        session_id=cast("bytes | None", session_id),
        data=json.loads(cast(str, data)),
    )


def require_asked(asked: Asked | None) -> Asked:
    """Return what was asked. Raises `ChallengeUnknown`."""
    if asked is None:
        raise ChallengeUnknown("This was answered before, is too old, or was begun in another browser: begin again.")
    return asked


def challenge_of(token: str) -> bytes:
    """The challenge that a link carried, if it was one. Raises `InvalidInput` for what is no text."""
    return require_text(token, field="token").encode("utf-8", "surrogatepass")


def _hash(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()
