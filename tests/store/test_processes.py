"""One engine per process and file, shared by threads and loops. A forked child leaves alone what its parent opened."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from tests.store.conftest import OpenStore
from tests.store.support import add, make_things, names


async def test_loops_in_several_threads_share_one_engine(opened: OpenStore, sqlite_database: str) -> None:
    store = await opened(sqlite_database)
    await make_things(store)
    before = _writers()

    def use(prefix: str) -> None:
        async def write() -> None:
            own = await opened(sqlite_database)
            for number in range(20):
                await own.transact(add, f"{prefix}{number}")
            await own.close()

        asyncio.run(write())

    await asyncio.gather(*[asyncio.to_thread(use, prefix) for prefix in "abc"])
    assert len(await names(store)) == 60
    assert _writers() == before == 1


async def test_the_last_one_to_close_ends_the_threads(opened: OpenStore, sqlite_database: str) -> None:
    first, second = await opened(sqlite_database), await opened(sqlite_database)
    await make_things(first)
    await first.close()
    await second.transact(add, "one")
    assert _writers() == 1
    await second.close()
    assert _writers() == 0


def _writers() -> int:
    return sum(thread.name == "kavach-writer" for thread in threading.enumerate())


_FORK = """
import asyncio, os, sys
from kavach_core.store.open import open_store
from tests.store.support import add, names

URL = sys.argv[1]
store = asyncio.run(open_store(URL))
asyncio.run(store.transact(add, "before the fork"))
to_child, from_parent = os.pipe()
to_parent, from_child = os.pipe()

async def refused():
    try:
        await store.transact(add, "never")
    except RuntimeError as error:
        assert "before a fork" in str(error)
        return
    raise AssertionError("the inherited store was used")

async def child():
    await refused()
    await store.close()
    own = await open_store(URL)
    await own.transact(add, "the child")
    os.write(from_child, b"x")
    os.read(to_child, 1)                      # the parent has closed its store meanwhile
    await own.transact(add, "the child, alone")
    assert len(await names(own)) == 4, await names(own)
    await own.close()

pid = os.fork()
if pid == 0:
    try:
        asyncio.run(child())
    except BaseException:
        import traceback; traceback.print_exc()
        os._exit(1)
    os._exit(0)
os.close(from_child)                          # so that a child that fails is not waited for
os.read(to_parent, 1)
asyncio.run(store.transact(add, "the parent"))
asyncio.run(store.close())
assert os.path.exists(URL.removeprefix("sqlite:///") + "-wal"), "the parent took itself for the last user of the file"
os.write(from_parent, b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


async def test_a_fork_leaves_the_parent_intact_and_the_child_opens_anew(
    opened: OpenStore, sqlite_database: str
) -> None:
    """And each sees the other's locks: SQLite keeps its view of them per process, and a fork would copy it."""
    store = await opened(sqlite_database)
    await make_things(store)
    await store.close()
    end = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _FORK, sqlite_database], capture_output=True, text=True, timeout=30
    )
    assert end.returncode == 0, end.stderr
    assert await names(await opened(sqlite_database)) == [
        "before the fork",
        "the child",
        "the child, alone",
        "the parent",
    ]


_FORK_IN_THE_LOOP = """
import asyncio, os, sys
from kavach_core import lazy_kavach

get_kavach = lazy_kavach(database=sys.argv[1])

async def use():
    kavach = await get_kavach()
    agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
    assert await kavach.authorize(agent.token, action="read", resource="repos")

async def main():
    await use()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(use())
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    async with asyncio.timeout(5):
        await use()
    await get_kavach.close()

asyncio.run(main())
"""


async def test_a_fork_inside_a_loop_leaves_the_parents_connections_on_its_event_queue(database_url: str) -> None:
    """Parent and child share that queue: a socket that the child lets go would be silent for the parent."""
    end = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _FORK_IN_THE_LOOP, database_url], capture_output=True, text=True
    )
    assert end.returncode == 0, end.stderr
