"""The throwaway cluster and the fixtures built on it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from tests.postgres_server import PostgresServer


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def test_a_durable_cluster_keeps_what_was_committed_through_a_crash() -> None:
    with PostgresServer(durable=True) as server:
        assert asyncio.run(value(server.url, "SHOW fsync")) == "on"
        asyncio.run(value(server.url, "CREATE TABLE kept AS SELECT 7 AS it"))
        first = server.pid
        server.kill()
        with pytest.raises(OSError):
            asyncio.run(value(server.url, "SELECT 1"))
        server.start()
        assert server.pid != first
        assert asyncio.run(value(server.socket_url, "SELECT it FROM kept")) == 7
        directory = Path(str(asyncio.run(value(server.url, "SHOW data_directory"))))
        server.restart()
        assert asyncio.run(value(server.url, "SELECT it FROM kept")) == 7
    assert not directory.exists()


@pytest.mark.parametrize("time", [1, 2])
async def test_every_test_gets_an_empty_database(database_url: str, time: int) -> None:
    if database_url.startswith("sqlite:///"):
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
            connection.execute("CREATE TABLE mine (n integer)")
        connection.close()
    else:
        await value(database_url, "CREATE TABLE mine (n integer)")
