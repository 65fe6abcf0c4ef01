"""On real servers with two workers: opened by each process's first request, closed at shutdown, never at import."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kavach_core import lazy_kavach
from tests.http.world import bearer, error_of

ROOT = Path(__file__).parents[2]
APP = "tests.adapters.served:app"
SECONDS = 20

#: Each server, with a framework each, so that all of both are covered.
SERVERS: dict[str, tuple[str, Callable[[int], list[str]]]] = {
    "uvicorn": ("fastapi", lambda port: ["uvicorn", APP, f"--port={port}", "--workers=2"]),
    "hypercorn": ("quart", lambda port: ["hypercorn", APP, f"--bind=127.0.0.1:{port}", "--workers=2"]),
    "granian": ("litestar", lambda port: ["granian", APP, "--interface=asgi", f"--port={port}", "--workers=2"]),
    "gunicorn": (
        "starlette",
        lambda port: ["gunicorn", APP, f"--bind=127.0.0.1:{port}", "-k=asgi", "--preload", "--workers=2"],
    ),
}


class Served(NamedTuple):
    """A running server, and what its processes noted."""

    port: int
    notes: Path

    def noted(self, what: str) -> list[str]:
        """The processes that noted it, as often as they did."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return sorted(process for noted, process in lines if noted == what)


@asynccontextmanager
async def serving(server: str, database: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Start a server, wait until it answers, and end it as an operator does."""
    framework, command = SERVERS[server]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    notes, log = tmp_path / "notes", tmp_path / "log"
    settings = {"KAVACH_DATABASE_URL": database, "SERVED_NOTES": str(notes), "SERVED_FRAMEWORK": framework}
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command(port)),
            env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        await asyncio.wait_for(_until_it_answers(port, process), SECONDS)
        yield Served(port, notes)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), SECONDS)
    except BaseException:
        print(log.read_text())
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("server", SERVERS)
async def test_each_process_opens_once_and_closes_and_what_is_open_ends(
    server: str, sqlite_database: str, tmp_path: Path
) -> None:
    here = lazy_kavach(database=sqlite_database)
    agent = await (await here()).agents.create(owner_id="alice", name="a", permissions=["read:repos"])
    token = agent.token
    async with serving(server, sqlite_database, tmp_path) as served:
        assert served.noted("imported") and not served.noted("opened")
        url = f"127.0.0.1:{served.port}"
        answers = await asyncio.gather(*(_post(f"http://{url}/search", token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}

        streaming = asyncio.create_task(_read_to_the_end(f"http://{url}/stream", token))
        async with connect(f"ws://{url}/ws/hold", additional_headers=bearer(token)) as opened:
            await asyncio.sleep(0.5)
            await opened.send("still here")
            assert await opened.recv() == "still here" and not streaming.done()
            await (await here()).agents.revoke(agent.id)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(opened.recv(), SECONDS)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        assert (await asyncio.wait_for(streaming, SECONDS)).startswith("tick\n")
        assert error_of(await _post(f"http://{url}/search", token)) == (401, "AGENT_REVOKED")

        processes = served.noted("opened")
        assert 1 <= len(processes) <= 2 and len(set(processes)) == len(processes)
    closed_by = served.noted("closed")
    if server == "hypercorn":
        # Its master waits for one worker to end, whichever that is, and kills the others while they shut down.
        assert closed_by and set(closed_by) <= set(processes)
    else:
        assert closed_by == processes
    await here.close()


async def _until_it_answers(port: int, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/seen")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise RuntimeError("the server ended before it began")


async def _post(url: str, token: str | None) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
        return await client.post(url, headers=bearer(token))


async def _read_to_the_end(url: str, token: str | None) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
        return (await client.get(url, headers=bearer(token))).text
