"""What the store's tests share: a small table, workers that keep a diary, and a proxy that cuts connections."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from kavach_core.store import Store, Transaction


async def make_things(store: Store) -> None:
    async def create(tx: Transaction) -> None:
        await tx.execute("create table things (name text not null primary key, number bigint)")

    await store.transact(create)


async def add(tx: Transaction, name: str, number: int = 0) -> None:
    await tx.execute("insert into things (name, number) values ($1, $2)", name, number)


async def names(store: Store) -> list[str]:
    async def every(tx: Transaction) -> list[str]:
        return [str(row["name"]) for row in await tx.fetch("select name from things order by name")]

    return await store.read(every)


async def stay(tx: Transaction, seconds: float) -> None:
    """Keep the transaction open for a while, with nothing but its `tx`."""
    if tx.dialect == "sqlite":
        time.sleep(seconds)  # noqa: ASYNC251 - in the store's own thread
    else:
        await tx.fetch("select pg_sleep(cast($1 as double precision))", seconds)


@dataclass
class AddThings:
    """A lane's worker that adds one thing for each question, and writes down what happens to it."""

    diary: list[str] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    slow: float = 0.0

    async def run(self, tx: Transaction, questions: Sequence[str]) -> Sequence[str | Exception]:
        self.diary.append("run")
        self.batches.append(list(questions))
        await tx.execute_each("insert into things (name) values ($1)", [(question,) for question in questions])
        if self.slow:
            await stay(tx, self.slow)
        return [KeyError(name) if name.startswith("refuse") else name.upper() for name in questions]

    def committed(self) -> None:
        self.diary.append("committed")

    def lost(self) -> None:
        self.diary.append("lost")


@dataclass
class Proxy:
    """Stands between a store and its server."""

    url: str
    #: What to do when a client sends COMMIT: pass it on, or cut before or after the server gets it.
    at_commit: str = "pass"
    commits: int = 0


@asynccontextmanager
async def proxy_before(url: str) -> AsyncGenerator[Proxy]:
    parts = urlsplit(url)
    writers: list[asyncio.StreamWriter] = []

    async def connected(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, on = await asyncio.open_connection(parts.hostname, parts.port)
        writers.extend((back, on))
        answers = asyncio.create_task(_pump(server, back))
        while data := await _read(client):
            if b"commit\0" in data and proxy.at_commit != "pass":
                proxy.commits += 1
                answers.cancel()
                if proxy.at_commit == "cut after":
                    on.write(data)
                    await server.read(1)  # the server has answered; nobody will hear it
                break
            on.write(data)
        on.close()
        back.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    proxy = Proxy(urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}")))
    try:
        yield proxy
    finally:
        listening.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await _read(source):
        sink.write(data)
    sink.close()


async def _read(source: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await source.read(65536)
    return b""
