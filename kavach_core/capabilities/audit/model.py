"""What is recorded of a decision, as written (`Record`) and as read (`AuditEntry`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from kavach_core.primitives import ids
from kavach_core.primitives.permissions import Permission, PermissionSet
from kavach_core.primitives.reasons import Reason


class Result(StrEnum):
    """How a decision came out."""

    ALLOWED = "allowed"
    DENIED = "denied"
    RATE_LIMITED = "rate_limited"

    @classmethod
    def of(cls, reason: Reason) -> Result:
        """The result a reason stands for."""
        if reason in (Reason.ALLOWED, Reason.SETTLED):
            return cls.ALLOWED
        limited = reason in (Reason.RATE_LIMITED, Reason.BUDGET_EXCEEDED, Reason.TOO_MANY_REFUSALS)
        return cls.RATE_LIMITED if limited else cls.DENIED


class Record(NamedTuple):
    """One row as it is written, in the order of the columns. A tuple, because the decision path makes many."""

    id: bytes
    writer: bytes
    sequence: int
    agent_id: bytes
    owner_id: str
    path: str
    action: str
    resource: str
    arguments: str | None
    arguments_hash: bytes | None
    result: str
    code: str
    grant_used: str | None
    permissions: bytes
    dry_run: bool
    calls: int
    duration: int
    cost: int | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    approval_id: bytes | None = None
    settles: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathLink:
    """One step of the path from the owner's agent down to the acting one."""

    agent_id: str
    #: The delegation that leads to this agent; None for the first, which acts on its own permissions.
    delegation_id: str | None
    #: What that agent had by this link when the decision was made.
    permissions: PermissionSet = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One recorded decision."""

    id: str
    at: datetime
    #: The writer (one per process and lane) and its gap-free count: exact order within a writer.
    writer: str
    sequence: int
    agent_id: str
    owner_id: str
    path: tuple[PathLink, ...]
    action: str
    resource: str
    #: What the call was made with, redacted; None if it had no arguments.
    arguments: dict[str, object] | None
    arguments_hash: str | None
    result: Result
    code: Reason
    #: The permission that allowed it, as it was then; None for a denial.
    grant: Permission | None
    dry_run: bool
    #: 1, how many refused calls this row stands for, or 0 if it corrects the cost of one that was recorded before.
    calls: int
    #: From the arrival of the call to its decision, in microseconds.
    duration: int
    cost: int | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    #: The approval the call used, or the one it has to wait for.
    approval_id: str | None = None
    #: The decision whose cost this row corrects, if it is no decision itself. `cost` is then the difference.
    settles: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether the call went ahead."""
        return self.result is Result.ALLOWED

    @property
    def permissions(self) -> PermissionSet:
        """What the acting agent had on this path at that moment."""
        return self.path[-1].permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries; every part that is set must hold. Times in microseconds, both ends included."""

    agent_id: bytes | None = None
    agents: Sequence[bytes] | None = None
    owner_id: str | None = None
    since: int | None = None
    until: int | None = None
    actions: tuple[str, ...] = ()
    result: Result | None = None
    before: bytes | None = None


def path_text(links: Iterable[tuple[bytes, bytes | None, PermissionSet]]) -> str:
    """The stored form of a path, as JSON: agent, delegation and digest of the permissions per link, from the root.

    Written by hand because every decision writes one.
    """
    return f"[{','.join(map(_link_text, links))}]"


def _link_text(link: tuple[bytes, bytes | None, PermissionSet]) -> str:
    agent_id, edge_id, permissions = link
    edge = "null" if edge_id is None else f'"{edge_id.hex()}"'
    return f'["{agent_id.hex()}",{edge},"{permissions.digest.hex()}"]'


def path_digests(text: str) -> list[bytes]:
    """The digests of the permission sets a stored path names."""
    return [bytes.fromhex(digest) for _, _, digest in json.loads(text)]


def read_path(text: str, sets: dict[bytes, PermissionSet]) -> tuple[PathLink, ...]:
    """The path a stored text stands for."""
    return tuple(
        PathLink(
            agent_id=ids.AGENT.text(bytes.fromhex(agent)),
            delegation_id=None if edge is None else ids.DELEGATION.text(bytes.fromhex(edge)),
            permissions=sets[bytes.fromhex(digest)],
        )
        for agent, edge, digest in json.loads(text)
    )
