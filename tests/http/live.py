"""A real uvicorn on a loopback port, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def live(app: Any, **options: Any) -> AsyncGenerator[str]:
    """Serve an app and give its URL; leaving shuts it down as a signal would, lifespan and all."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = {"log_level": "warning", "ws": "websockets-sansio", "timeout_graceful_shutdown": 5, **options}
    server = uvicorn.Server(uvicorn.Config(app, **settings))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the server ended before it began")
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
