"""What the service tests share: opening and looking into a Kavach, asking it, and a store that is watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, Unpack

from kavach_core import Agent, Decision, Kavach, create_kavach
from kavach_core.config import Settings
from kavach_core.runtime import Runtime
from kavach_core.store import Store, Transaction
from kavach_core.store.store import A, BatchWorker, Lane, Q, Value

OpenKavach = Callable[..., Awaitable[Kavach]]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Home(NamedTuple):
    """A database, and the project in it that is the test's own."""

    database: str
    project: str


@asynccontextmanager
async def opener(**usual: Unpack[Settings]) -> AsyncGenerator[OpenKavach]:
    """Gives a `create_kavach` with other defaults; what it opened is closed at the end."""
    opened: list[Kavach] = []

    async def open_one(**settings: Unpack[Settings]) -> Kavach:
        given: Settings = {**usual, **settings}
        opened.append(await create_kavach(**given))
        return opened[-1]

    try:
        yield open_one
    finally:
        for kavach in opened:
            await kavach.close()


async def make_agent(
    kavach: Kavach, *permissions: Any, owner_id: str = "alice", name: str = "agent", **more: Any
) -> Agent:
    """An agent with these permissions; `read:repos` if none are named."""
    return await kavach.agents.create(owner_id=owner_id, name=name, permissions=permissions or ("read:repos",), **more)


async def ask(kavach: Kavach, subject: Any, permission: str = "read:repos", **more: Any) -> Decision:
    """Authorize what a permission in one text names."""
    action, _, resource = permission.partition(":")
    return await kavach.authorize(subject, action=action, resource=resource, **more)


async def code(kavach: Kavach, subject: Any, permission: str = "read:repos", **more: Any) -> str:
    """The code of the decision about what a permission in one text names."""
    return (await ask(kavach, subject, permission, **more)).code.value


def limited(resource: str, *actions: str, **constraints: object) -> dict[str, object]:
    """A permission under constraints, by their wire names."""
    return {"resource": resource, "actions": list(actions), "constraints": constraints}


def store_of(kavach: Kavach) -> Store:
    """The store behind a Kavach."""
    return kavach._store


async def select(kavach: Kavach, sql: str, *values: Value) -> list[tuple[Any, ...]]:
    """The rows of a statement, straight from the database."""

    async def look(tx: Transaction) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await tx.fetch(sql, *values)]

    return await store_of(kavach).read(look)


async def run(kavach: Kavach, sql: str, *values: Value) -> int:
    """Run a statement, straight on the database; returns how many rows it changed."""

    async def change(tx: Transaction) -> int:
        return await tx.execute(sql, *values)

    return await store_of(kavach).transact(change)


async def count(kavach: Kavach, table: str) -> int:
    """How many rows of this project a table has."""
    rows = await select(kavach, f"select count(*) from {table} where project_id = $1", kavach.config.project)
    return int(rows[0][0])


async def events(kavach: Kavach) -> list[str]:
    """The types of all events of this project, in order."""
    rows = await select(
        kavach, "select type from kavach_events where project_id = $1 order by id", kavach.config.project
    )
    return [str(kind) for (kind,) in rows]


async def tables_of(kavach: Kavach) -> list[str]:
    """The names of all tables."""
    names = (
        "select name from sqlite_master where type = 'table'"
        if store_of(kavach).dialect == "sqlite"
        else "select tablename from pg_tables where schemaname = 'public'"
    )
    return [str(name) for (name,) in await select(kavach, names)]


async def dump(kavach: Kavach) -> str:
    """Everything in the database, as text."""
    return "\n".join([repr(await select(kavach, f"select * from {table}")) for table in await tables_of(kavach)])


class WatchedStore:
    """A store that counts what it is asked, and can be told to fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0
        #: Raised instead of answering, while set.
        self.failure: Exception | None = None

    @property
    def dialect(self) -> str:
        return self._store.dialect

    async def transact(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        self._note()
        return await self._store.transact(function, *args)

    async def read(self, function: Callable[[Transaction, *Ts], Awaitable[T]], *args: *Ts) -> T:
        self._note()
        return await self._store.read(function, *args)

    def lane(self, worker: BatchWorker[Q, A], **traffic: Any) -> Lane[Q, A]:
        return _WatchedLane(self._store.lane(worker, **traffic), self._note)

    async def close(self) -> None:
        await self._store.close()

    def _note(self) -> None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure


class _WatchedLane:
    def __init__(self, lane: Lane[Any, Any], note: Callable[[], None]) -> None:
        self._lane = lane
        self._note = note

    async def submit(self, question: Any) -> Any:
        self._note()
        return await self._lane.submit(question)


def watched(kavach: Kavach) -> tuple[Kavach, WatchedStore]:
    """A Kavach on the same open store, which is watched."""
    store = WatchedStore(store_of(kavach))
    return Kavach(Runtime(store, kavach.config)), store


async def all_entries(kavach: Kavach, **wanted: Any) -> Sequence[Any]:
    """The whole record, oldest first."""
    page = await kavach.audit.query(limit=10_000, **wanted)
    return list(reversed(page.items))
