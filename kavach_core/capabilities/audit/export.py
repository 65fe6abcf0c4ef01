"""Entries as other programs read them: JSON objects with the names of the wire, and CSV by RFC 4180."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from kavach_core.capabilities.audit.model import AuditEntry, PathLink
from kavach_core.primitives.clock import iso_datetime
from kavach_core.primitives.permissions import PermissionSet

#: The columns of a CSV export, in order.
CSV_COLUMNS: Final = (
    "id",
    "timestamp",
    "agentId",
    "userId",
    "action",
    "resource",
    "result",
    "code",
    "reason",
    "parameters",
    "durationMs",
    "tokensCost",
    "calls",
    "dryRun",
    "path",
    "writer",
    "sequence",
    "clientAddress",
    "userAgent",
    "requestId",
    "approvalId",
    "settles",
)
#: What spreadsheets take for the beginning of a formula, the wide forms of East Asian keyboards too.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def to_wire(entry: AuditEntry) -> dict[str, object]:
    """An entry with the names of the wire."""
    return {
        "id": entry.id,
        "agentId": entry.agent_id,
        "userId": entry.owner_id,
        "action": entry.action,
        "resource": entry.resource,
        "parameters": entry.arguments or {},
        "parametersHash": entry.arguments_hash,
        "result": entry.result.value,
        "code": entry.code.value,
        "reason": entry.code.sentence,
        "durationMs": entry.duration / 1000,
        "tokensCost": entry.cost,
        "timestamp": iso_datetime(entry.at),
        "path": [_link_to_wire(link) for link in entry.path],
        "permissions": _permissions_to_wire(entry.permissions),
        "permissionSet": entry.permissions.digest.hex(),
        "grant": None if entry.grant is None else entry.grant.to_wire(),
        "dryRun": entry.dry_run,
        "calls": entry.calls,
        "writer": entry.writer,
        "sequence": entry.sequence,
        "clientAddress": entry.address,
        "userAgent": entry.user_agent,
        "requestId": entry.request_id,
        "approvalId": entry.approval_id,
        "settles": entry.settles,
    }


@lru_cache(maxsize=32)
def _permissions_to_wire(permissions: PermissionSet) -> list[dict[str, object]]:
    """The wire form of a set; neighbouring entries mostly share theirs."""
    return [permission.to_wire() for permission in permissions]


def _link_to_wire(link: PathLink) -> dict[str, object]:
    return {
        "agentId": link.agent_id,
        "delegationId": link.delegation_id,
        "permissionSet": link.permissions.digest.hex(),
    }


def to_json(entries: Iterable[AuditEntry]) -> str:
    """The entries as JSON objects, a comma and a line end between them; the brackets are the caller's."""
    return ",\n".join(json.dumps(to_wire(entry), separators=(",", ":")) for entry in entries)


def to_csv(entries: Iterable[AuditEntry]) -> str:
    """The entries as CSV lines: every field quoted, and none that a spreadsheet would run as a formula."""
    return _lines([_cell(fields, column) for column in CSV_COLUMNS] for fields in map(to_wire, entries))


def csv_header() -> str:
    """The first line of a CSV export."""
    return _lines([CSV_COLUMNS])


def _cell(fields: dict[str, object], column: str) -> str:
    value = fields[column]
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"'{text}" if text[:1] in _FORMULA_STARTS else text


def _lines(rows: Iterable[Iterable[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()
