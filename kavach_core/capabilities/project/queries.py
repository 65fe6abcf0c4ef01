"""Statements about projects. A project has a row once something is said about it."""

from __future__ import annotations

from typing import cast

from kavach_core.capabilities.project.model import Project
from kavach_core.primitives.clock import optional_datetime
from kavach_core.store import Transaction

_FIND = "select suspended_at from kavach_projects where project_id = $1"
_MAKE = "insert into kavach_projects (project_id) values ($1) on conflict (project_id) do nothing"
_SUSPEND = "update kavach_projects set suspended_at = $2 where project_id = $1 and suspended_at is null"
_RESUME = "update kavach_projects set suspended_at = null where project_id = $1 and suspended_at is not null"


async def find(tx: Transaction, project: str) -> Project:
    """Return what is said about a project."""
    row = await tx.fetch_one(_FIND, project)
    return Project(id=project, suspended_at=None if row is None else optional_datetime(cast("int | None", row[0])))


async def make(tx: Transaction, project: str) -> None:
    """See that the project has a row."""
    await tx.execute(_MAKE, project)


async def suspend(tx: Transaction, project: str) -> bool:
    """Suspend a project that has a row; returns whether this changed anything."""
    return await tx.execute(_SUSPEND, project, tx.now) == 1


async def resume(tx: Transaction, project: str) -> bool:
    """Resume; returns whether this changed anything."""
    return await tx.execute(_RESUME, project) == 1
