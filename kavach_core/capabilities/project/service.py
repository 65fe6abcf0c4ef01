"""Stop every agent of the project with one row, read with the facts of every decision; and let them go on."""

from __future__ import annotations

from kavach_core.capabilities.events import announce
from kavach_core.capabilities.project import queries
from kavach_core.capabilities.project.model import Project
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction


class Projects:
    """The project this Kavach serves."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project

    async def get(self) -> Project:
        """Return what is known of the project."""
        return await self._store.read(queries.find, self._project)

    async def suspend(self) -> None:
        """Refuse every agent of every owner from the next call on, in every process, until `resume`.

        Humans and API keys are not touched: they are the ones who look what happened. Suspending twice changes nothing.
        """
        await self._store.transact(self._suspend)

    async def resume(self) -> None:
        """Let the agents go on. What expired meanwhile stays expired. Resuming twice changes nothing."""
        await self._store.transact(self._resume)

    async def _suspend(self, tx: Transaction) -> None:
        await queries.make(tx, self._project)
        if await queries.suspend(tx, self._project):
            await announce(tx, self._project, "project.suspended", subject=self._project)

    async def _resume(self, tx: Transaction) -> None:
        if await queries.resume(tx, self._project):
            await announce(tx, self._project, "project.resumed", subject=self._project)
