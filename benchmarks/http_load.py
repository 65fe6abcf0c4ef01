"""Requests over keep-alive connections: `python -m benchmarks.http_load`, in a process of its own.

One order a line comes in, one report a line goes out, both as JSON. It speaks as much HTTP/1.1 as that takes, because
a whole client would cost more than the servers that are measured. Raises RuntimeError for an answer that is not 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.load import Reading, Sample, hold
from benchmarks.machine import process_cpu, tree_cpu

_HOST: Final = "127.0.0.1"
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_OK: Final = b"200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask for, of whom, and for how long."""

    port: int
    path: str
    #: A file with a bearer token in each line.
    tokens: str
    concurrency: int
    seconds: float
    #: The processes whose CPU is looked at: the server's, and the database's and its children's.
    server_pid: int
    database_pid: int | None

    def to_line(self) -> bytes:
        """The order as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._come = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        come = self._come = self._come + data
        head, end, body = come.partition(_END_OF_HEAD)
        if not end:
            return
        at = head.lower().index(_LENGTH) + len(_LENGTH)
        if len(body) >= int(head[at:].split(b"\r", 1)[0]):
            self._come = b""
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(come[9:12])

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> bytes:
        """Return the status of the answer."""
        if self._transport is None:
            raise RuntimeError("this connection is not open")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()


class Client:
    """As many connections as there are callers."""

    def __init__(self, order: Order, connections: Sequence[Connection]) -> None:
        self._free = [*connections]
        self._head = (
            f"GET {order.path} HTTP/1.1\r\nHost: {_HOST}:{order.port}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
            "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAuthorization: Bearer "
        ).encode()

    async def __call__(self, token: str) -> None:
        """Make one request."""
        connection = self._free.pop()
        status = await connection.ask(self._head + token.encode() + _END_OF_HEAD)
        self._free.append(connection)
        if status != _OK:
            raise RuntimeError(f"the bench expects 200, and was answered {status.decode()}")


async def carry_out(order: Order, tokens: Sequence[str]) -> Sample:
    """Keep requests in flight for as long as ordered; what was seen, with the server's CPU in the client's place."""
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Connection, _HOST, order.port) for _ in range(order.concurrency)]
    connections = [connection for _, connection in opened]
    sample = Sample()

    def read() -> Reading:
        database = 0.0 if order.database_pid is None else tree_cpu(order.database_pid)
        return Reading(database, 0, process_cpu(order.server_pid) or 0.0, time.perf_counter())

    try:
        await hold(
            sample,
            Client(order, connections),
            tokens,
            concurrency=order.concurrency,
            seconds=order.seconds,
            read=read,
        )
    finally:
        for connection in connections:
            connection.close()
    return sample


def main() -> None:
    """Carry out orders until there are no more."""
    known: dict[str, list[str]] = {}
    for line in sys.stdin:
        order = Order(**json.loads(line))
        if order.tokens not in known:
            known[order.tokens] = Path(order.tokens).read_text().split()
        sample = asyncio.run(carry_out(order, known[order.tokens]))
        print(json.dumps(asdict(sample)), flush=True)


if __name__ == "__main__":
    main()
