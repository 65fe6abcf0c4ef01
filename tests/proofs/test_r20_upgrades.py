"""R20: an upgrade that is killed at any statement leaves the old schema, the next one the new, and old rows hold."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from kavach_core import create_kavach
from kavach_core.store.dialect import parse_database
from kavach_core.store.migrate import migrate, shipped
from tests.capabilities.support import run
from tests.conftest import fresh_database
from tests.proofs.heirlooms import Heirlooms, hand_down, make_heirlooms, what_changed
from tests.proofs.migrating import work
from tests.proofs.mortals import Mortal
from tests.proofs.records import with_kavach

#: Everything that tells one schema from another.
_OF_SQLITE = "select type, name, sql from sqlite_master where name like 'kavach_%' order by type, name"
_OF_POSTGRES = """
select 'column', table_name, ordinal_position || column_name || data_type || is_nullable || coalesce(column_default, '')
from information_schema.columns where table_schema = 'public' and table_name like 'kavach_%'
union all select 'index', indexname, indexdef from pg_indexes where tablename like 'kavach_%'
union all select 'constraint', conname, pg_get_constraintdef(oid) from pg_constraint
where conrelid in (select oid from pg_class where relname like 'kavach_%')
order by 1, 2, 3
"""

Schema = list[tuple[Any, ...]]
#: Gives fresh databases, empty or copies of another.
Databases = Callable[[str | None], AbstractContextManager[str]]


async def _schema(database: str) -> Schema:
    return await _select(database, _OF_SQLITE if database.startswith("sqlite") else _OF_POSTGRES)


async def _everything(database: str) -> list[Schema]:
    """The schema, and every row of every table."""
    schema = await _schema(database)
    tables = {row[1] for row in schema if row[0] in ("table", "column")}
    return [schema, *[sorted(await _select(database, f"select * from {table}"), key=str) for table in sorted(tables)]]


async def _select(database: str, sql: str) -> list[tuple[Any, ...]]:
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as file:
            return file.execute(sql).fetchall()
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@dataclass
class Story:
    """What became of upgrades that were killed."""

    kind: str = ""
    kills: int = 0
    #: Statements before which a kill left something of the new, or took something of the old.
    half: list[int] = field(default_factory=list[int])
    #: How upgrades ended that were let through, where that is another schema than a fresh database has.
    differing: list[str] = field(default_factory=list[str])
    #: Heirlooms that were decided about otherwise afterwards.
    changed: list[str] = field(default_factory=list[str])


@dataclass
class Upgrade:
    """From one release on, which left its rows or none, to this one."""

    databases: Databases
    start: str | None
    wanted: Schema
    heirlooms: Heirlooms | None

    def kill(self, numbers: Iterable[int], story: Story, variant: str = "kavach") -> None:
        """Run it and kill it before each of these statements in turn, until it comes to its end before one."""
        with self.databases(self.start) as database:
            story.kind = database.partition(":")[0]
            before = asyncio.run(_everything(database))
            for number in numbers:
                if said := Mortal(work, database, variant, number).await_end():
                    self._look(database, said[0], story)
                    return
                story.kills += 1
                if asyncio.run(_everything(database)) != before:
                    story.half.append(number)

    def _look(self, database: str, said: int | str, story: Story) -> None:
        """Look at a database whose upgrade took so many statements, or could not be done for a reason."""
        if isinstance(said, str):
            story.differing.append(said)
            return
        if asyncio.run(_schema(database)) != self.wanted:
            story.differing.append("another schema")
        if self.heirlooms is not None:
            story.changed += asyncio.run(with_kavach(database, partial(what_changed, heirlooms=self.heirlooms)))


@contextmanager
def _file(directory: Path, start: str | None) -> Generator[str]:
    made = directory / f"{len(list(directory.iterdir()))}.db"
    if start is not None:
        shutil.copy(start.removeprefix("sqlite:///"), made)
    yield f"sqlite:///{made}"


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Gives fresh databases of each kind."""
    if request.param == "sqlite":
        return partial(_file, tmp_path)
    server = request.getfixturevalue("postgres_url")
    return lambda start: fresh_database(server, "template1" if start is None else urlsplit(start).path.lstrip("/"))


@contextmanager
def _upgrades(databases: Databases) -> Generator[list[Upgrade]]:
    """From nothing, and from each earlier release with its rows."""
    with ExitStack() as stack:
        newest = stack.enter_context(databases(None))
        heirlooms = asyncio.run(with_kavach(newest, make_heirlooms))
        wanted = asyncio.run(_schema(newest))
        migrations = shipped(parse_database(newest).dialect)
        upgrades = [Upgrade(databases, None, wanted, None)]
        for releases in range(1, len(migrations)):
            old = stack.enter_context(databases(None))
            asyncio.run(migrate(old, migrations[:releases]))
            asyncio.run(hand_down(newest, old))
            upgrades.append(Upgrade(databases, old, wanted, heirlooms))
        yield upgrades


@pytest.mark.parametrize(
    "every", [16, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=["short", "long"]
)
def test_an_upgrade_that_is_killed_changes_nothing_and_the_next_one_is_whole(
    databases: Databases, every: int, figure: Callable[[str], None]
) -> None:
    story = Story()
    with _upgrades(databases) as upgrades:
        for upgrade in upgrades:
            upgrade.kill(count(every, every), story)
    figure(
        f"R20 upgrades left half done: {len(story.half)} of {story.kills} kills, in another schema when run again:"
        f" {len(story.differing)}, decisions about old rows that differ: {len(story.changed)} ({story.kind})"
    )
    assert not (story.half or story.differing or story.changed), story
    assert story.kills > len(upgrades)


def test_the_same_check_catches_an_upgrade_without_a_transaction(databases: Databases) -> None:
    """The negative control: what is killed in the middle of it is left half done, and cannot be gone on with."""
    story = Story()
    Upgrade(databases, None, [], None).kill((10, 1000), story, "statement by statement")
    assert story.half and story.differing


async def test_the_same_check_catches_old_rows_that_were_lost(sqlite_database: str) -> None:
    """The negative control: an upgrade that takes something with it is seen by what is decided afterwards."""
    async with await create_kavach(database=sqlite_database) as kavach:
        heirlooms = await make_heirlooms(kavach)
        await run(kavach, "delete from kavach_delegations")
        assert {"child: CHAIN_CUT", "budget"} <= set(await what_changed(kavach, heirlooms))
