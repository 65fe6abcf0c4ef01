"""Apps in processes of their own, and requests to them from another one."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.databases import NO_DATABASE, Backend, opened, postgres, sqlite
from benchmarks.http_load import Order
from benchmarks.load import Sample
from benchmarks.report import say
from benchmarks.turns import USUAL
from benchmarks.world import Shape, settle
from tests.postgres_server import PostgresUnavailable

_AGENTS: Final = 2_000
#: Bytes of one report, which holds the time of each request, and seconds until a process has ended.
_LONGEST_REPORT: Final = 2**26
_END_TIMEOUT: Final = 15


@dataclass(frozen=True, slots=True)
class Stack:
    """What stands between the socket and the app: uvicorn's parser and event loop, as it calls them."""

    http: str
    loop: str

    def __str__(self) -> str:
        return f"{self.http}, {self.loop}"

    @property
    def is_here(self) -> bool:
        """Whether it is installed."""
        return all(importlib.util.find_spec(name) is not None for name in (self.http, self.loop))


#: `uvicorn` alone, with the parser of `uvicorn[standard]`, and with all of it.
PLAIN: Final = Stack("h11", "asyncio")
COMMON: Final = Stack("httptools", "asyncio")
FAST: Final = Stack("httptools", "uvloop")


@dataclass(frozen=True, slots=True)
class Served:
    """An app that is being served."""

    port: int
    pid: int


@asynccontextmanager
async def serve(app: str, *, framework: str, database: str = "", stack: Stack = COMMON) -> AsyncGenerator[Served]:
    """Start a server, and end it at last."""
    options = ("--framework", framework, "--database", database, "--http", stack.http, "--loop", stack.loop)
    async with _process("benchmarks.server", app, *options) as process:
        line = b"" if process.stdout is None else await process.stdout.readline()
        if not line:
            raise RuntimeError(f"no server for {app} in {framework}")
        yield Served(int(line), process.pid)


class LoadGenerator:
    """The process that makes the requests."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncGenerator[LoadGenerator]:
        """Start it, and end it at last."""
        async with _process("benchmarks.http_load") as process:
            yield cls(process)

    async def carry_out(self, order: Order) -> Sample:
        """Return what it saw."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("this process cannot be talked to")
        self._process.stdin.write(order.to_line())
        await self._process.stdin.drain()
        report = await self._process.stdout.readline()
        if not report:
            raise RuntimeError("the requests failed; what was wrong stands above")
        return Sample(**json.loads(report))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """A route of a served app, asked by so many callers in a closed loop."""

    name: str
    served: Served
    path: str
    tokens: Path
    generator: LoadGenerator
    backend: Backend
    concurrency: int = USUAL
    chain: int = 0
    size: int | None = None

    async def hold(self, sample: Sample, seconds: float) -> None:
        order = Order(
            port=self.served.port,
            path=self.path,
            tokens=str(self.tokens),
            concurrency=self.concurrency,
            seconds=seconds,
            server_pid=self.served.pid,
            database_pid=self.backend.pid,
        )
        sample.take_in(await self.generator.carry_out(order))


@dataclass(frozen=True, slots=True)
class Agents:
    """A database with agents in it, and the file that their tokens are in."""

    backend: Backend
    url: str
    tokens: Path


@dataclass(frozen=True, slots=True)
class Site:
    """What servers and callers share."""

    generator: LoadGenerator
    agents: Sequence[Agents]
    folder: Path

    @classmethod
    @asynccontextmanager
    async def build(cls, agents: int = _AGENTS) -> AsyncGenerator[Site]:
        """Start the databases and who calls."""
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kavach-bench-")))
            found: list[Agents] = []
            for start in (sqlite, postgres):
                try:
                    backend = await stack.enter_async_context(start())
                except PostgresUnavailable as error:
                    say(f"[red]No PostgreSQL, so half of this bench is missing: {error}[/]")
                else:
                    say(f"{backend.version}: {backend.durability}")
                    found.append(await _settle(backend, folder, agents))
            yield cls(await stack.enter_async_context(LoadGenerator.start()), found, folder)

    async def start(
        self,
        stack: AsyncExitStack,
        app: str,
        *,
        name: str,
        path: str,
        framework: str = "fastapi",
        kind: Stack = COMMON,
        agents: Agents | None = None,
    ) -> Requests:
        """Serve an app until the stack is left. One that asks no database is called with the same tokens."""
        database = "" if agents is None else agents.url
        return Requests(
            name=name,
            served=await stack.enter_async_context(serve(app, framework=framework, database=database, stack=kind)),
            path=path,
            tokens=self.agents[0].tokens if agents is None else agents.tokens,
            generator=self.generator,
            backend=NO_DATABASE if agents is None else agents.backend,
        )


async def _settle(backend: Backend, folder: Path, agents: int) -> Agents:
    async with opened(backend, "http") as place:
        tokens = folder / f"{backend.name}.tokens"
        tokens.write_text("\n".join(await settle(place.store, Shape(agents=agents))))
        return Agents(backend, place.config.database, tokens)


@asynccontextmanager
async def _process(module: str, *arguments: str) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, limit=_LONGEST_REPORT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), _END_TIMEOUT)
