"""A program that has decisions made one after the other, to be watched by strace.

Arguments: database, how many, and `kavach` or `normal`. It prints how many were acknowledged.
"""

from __future__ import annotations

import asyncio
import sys

from kavach_core import create_kavach
from kavach_core.store import sqlite_thread
from tests.capabilities.support import ask, make_agent


async def main(database: str, wanted: str, variant: str) -> None:
    if variant == "normal":
        # What Kavach does not do: leave it to SQLite when a commit reaches the disk.
        vars(sqlite_thread)["_WRITER"] = (*sqlite_thread._WRITER, "synchronous=normal")
    async with await create_kavach(database=database) as kavach:
        agent = await make_agent(kavach)
        print(sum([bool(await ask(kavach, agent.token)) for _ in range(int(wanted))]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
