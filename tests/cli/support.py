"""What the tests of the command share: running it in this process, and a small story for its database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from typer.testing import CliRunner, Result

from kavach_core import Kavach, create_kavach
from kavach_core.cli import app
from kavach_core.config import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """`kavach ...` in this process, for one database."""

    database: str

    def __call__(self, *arguments: str) -> Result:
        """Run and return whatever comes of it."""
        return CliRunner().invoke(app, list(arguments), env={"KAVACH_DATABASE_URL": self.database})

    def out(self, *arguments: str) -> str:
        """Run, expect success, return stdout."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """Run with `--json`, expect success, return what was printed."""
        return json.loads(self.out(*arguments, "--json"))

    def refusal(self, *arguments: str) -> str:
        """Run, expect an expected failure, return the line that tells it."""
        result = self(*arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        return result.stderr.strip()

    def inside(self, work: Callable[[Kavach], Awaitable[T]], **settings: Unpack[Settings]) -> T:
        """Do something in-process with the same database."""

        async def run() -> T:
            async with await create_kavach(database=self.database, **settings) as kavach:
                return await work(kavach)

        return asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Story:
    """Two agents of alice, the second delegated from the first, and what they did."""

    agent_id: str
    token: str
    child_id: str
    delegation_id: str


async def tell(kavach: Kavach) -> Story:
    """Make the agents and let them act: two calls allowed, then a dry run of one that is denied."""
    agent = await kavach.agents.create(owner_id="alice", name="[red]coder[/] :star:", permissions=["read:repos"])
    child = await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"], purpose="search")
    assert agent.token and child.token
    assert await kavach.authorize(agent.token, action="read", resource="repos")
    assert await kavach.authorize(child.token, action="read", resource="repos")
    assert not await kavach.authorize(child.token, action="write", resource="repos", dry_run=True)
    return Story(agent.id, agent.token, child.id, child.delegation_id)
