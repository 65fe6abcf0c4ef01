"""Every operation there is, checked for clashes when it is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kavach_core.api import (
    agents,
    approvals,
    audit,
    authorize,
    budgets,
    delegations,
    document,
    keys,
    owners,
    pages,
    passkeys,
    passwords,
    project,
    recovery,
    sessions,
)
from kavach_core.api.operation import Operation


def checked(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The operations as a table. Raises `TypeError` if two share a name, or a method and path."""
    table: Sequence[Operation] = tuple(operations)
    for what, keys_ in (
        ("name", [operation.name for operation in table]),
        ("method and path", [f"{operation.method} {operation.path}" for operation in table]),
    ):
        twice = {key for key in keys_ if keys_.count(key) > 1}
        if twice:
            raise TypeError(f"two operations share a {what}: {', '.join(sorted(twice))}")
    return tuple(table)


TABLE: Final = checked(
    (
        *agents.OPERATIONS,
        *authorize.OPERATIONS,
        *delegations.OPERATIONS,
        *audit.OPERATIONS,
        *budgets.OPERATIONS,
        *approvals.OPERATIONS,
        *sessions.OPERATIONS,
        *passkeys.OPERATIONS,
        *passwords.OPERATIONS,
        *recovery.OPERATIONS,
        *owners.OPERATIONS,
        *project.OPERATIONS,
        *keys.OPERATIONS,
        *document.OPERATIONS,
        *pages.OPERATIONS,
    )
)
