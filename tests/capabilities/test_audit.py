"""Reading the record: filters, pages that hold still, traces of a chain, exports that are whole, and pruning."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from kavach_core import Agent, AuditEntry, CallContext, Kavach
from kavach_core.capabilities.audit import queries, service
from kavach_core.errors import InvalidInput, NotFound
from kavach_core.primitives import page
from kavach_core.testing import FrozenClock
from tests.capabilities.support import OpenKavach, all_entries, ask, count, limited, make_agent, watched


async def fill(kavach: Kavach, agent: Agent, calls: int, permission: str = "read:repos") -> list[str]:
    """Make calls one after the other; returns the ids of their entries, oldest first."""
    return [(await ask(kavach, agent.token, permission)).audit_id or "" for _ in range(calls)]


def numbers(ids: list[str], entries: Any) -> list[int]:
    """Where entries stand in a list of ids."""
    return [ids.index(entry.id) for entry in entries]


# Querying.


async def test_every_filter_narrows_and_all_of_them_hold_together(kavach: Kavach, clock: FrozenClock) -> None:
    alice = await make_agent(kavach, "read:repos", "write:repos", limited("mail", "send", maxCallsPerHour=0))
    bob = await make_agent(kavach, owner_id="bob")
    begin = clock.now
    ids: list[str] = []
    for agent, permission in (
        (alice, "read:repos"),
        (alice, "write:repos"),
        (alice, "send:mail"),
        (alice, "drop:repos"),
        (bob, "read:repos"),
        (bob, "write:repos"),
    ):
        ids += await fill(kavach, agent, 1, permission)
        clock.advance("1m")

    async def found(**wanted: Any) -> list[int]:
        entries = await kavach.audit.query(**wanted)
        assert entries.total == await kavach.audit.count(**wanted) == len(entries)
        return numbers(ids, entries)

    minute = timedelta(minutes=1)
    assert await found() == [5, 4, 3, 2, 1, 0]
    assert await found(agent_id=bob.id) == [5, 4]
    assert await found(owner_id="alice") == [3, 2, 1, 0]
    assert await found(owner_id="Alice") == []
    assert await found(result="allowed") == [4, 1, 0]
    assert await found(result="denied") == [5, 3]
    assert await found(result="rate_limited") == [2]
    assert await found(actions=["read", "send"]) == [4, 2, 0]
    assert await found(since=begin + 2 * minute) == [5, 4, 3, 2]
    assert await found(until=begin + 2 * minute) == [2, 1, 0]
    assert await found(since=begin + minute, until=begin + minute) == [1]
    assert await found(since=begin + timedelta(minutes=1, microseconds=1), until=begin + 2 * minute) == [2]
    assert await found(before=ids[2]) == [1, 0]
    assert await found(owner_id="alice", actions=["read", "write"], result="allowed", since=begin + minute) == [1]
    assert await found(agent_id="agt_" + "0" * 32) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"limit": 10_001},
        {"limit": 10**30},
        {"offset": -1},
        {"offset": 100_001},
        {"limit": "5"},
        {"limit": 1.5},
        {"offset": None},
        {"result": "ALLOWED"},
        {"result": ""},
        {"owner_id": ""},
        {"owner_id": "a\x00"},
        {"actions": ["a\x00"]},
        {"actions": ["a"] * 51},
        {"actions": "read"},
        {"actions": None},
        {"since": "2030-01-01T00:00:00Z"},
        {"since": datetime(2030, 1, 1)},  # noqa: DTZ001 - a time without zone is the point
        {"agent_id": "agt_\x00"},
        {"before": "aud_\ud800"},
        {"before": "17"},
        {"before": "agt_" + "0" * 32},
    ],
    ids=lambda wrong: ascii(wrong)[:30],
)
async def test_a_value_outside_its_bounds_is_refused_and_never_ignored(
    sqlite_kavach: Kavach, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_kavach.audit.query(**wrong)


@pytest.mark.parametrize("wrong", [{"agent_id": "agt_7"}, {"agent_id": "bob"}])
async def test_ids_that_cannot_be_are_not_found(sqlite_kavach: Kavach, wrong: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        await sqlite_kavach.audit.query(**wrong)


async def test_times_far_away_are_only_times(kavach: Kavach) -> None:
    ids = await fill(kavach, await make_agent(kavach), 1)
    ends = [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999)]
    assert numbers(ids, await kavach.audit.query(since=ends[0], until=ends[1])) == [0]
    assert await kavach.audit.count(until=ends[0]) == await kavach.audit.count(since=ends[1]) == 0


async def test_pages_by_before_hold_still_while_rows_are_added(kavach: Kavach) -> None:
    agent = await make_agent(kavach)
    ids = await fill(kavach, agent, 7)
    seen: list[AuditEntry] = []
    while part := (await kavach.audit.query(limit=3, before=seen[-1].id if seen else None)).items:
        seen += part
        await fill(kavach, agent, 2)
    assert numbers(ids, seen) == [6, 5, 4, 3, 2, 1, 0]


async def test_limit_and_offset_cut_and_the_total_stays_whole(kavach: Kavach) -> None:
    ids = await fill(kavach, await make_agent(kavach), 5)
    for limit, offset, expected in ((2, 0, [4, 3]), (2, 3, [1, 0]), (2, 9, []), (0, 0, [])):
        part = await kavach.audit.query(limit=limit, offset=offset)
        assert (numbers(ids, part), part.total, part.total_text) == (expected, 5, "5")


async def test_totals_are_counted_only_so_far(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    """The constant is in the statement's text, so it is lowered where that is made."""
    monkeypatch.setattr(queries, "COUNT_LIMIT", 3)
    monkeypatch.setattr(page, "COUNT_LIMIT", 3)
    await fill(kavach, await make_agent(kavach), 6)
    found = await kavach.audit.query()
    assert (len(found), found.total, found.total_text) == (6, 4, "3+")


# Tracing.


async def test_a_trace_tells_a_chains_calls_in_order(kavach: Kavach) -> None:
    root = await make_agent(kavach)
    child = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    leaf = await kavach.agents.delegate(from_=child.id, permissions=["read:repos"])
    sister = await kavach.agents.delegate(from_=root.id, permissions=["read:repos"])
    stranger = await make_agent(kavach)
    ids: list[str] = []
    for agent in (leaf, root, stranger, sister, child, leaf):
        ids += await fill(kavach, agent, 1)
    await kavach.delegations.revoke(child.delegation_id)
    ids += await fill(kavach, leaf, 1)
    assert [numbers(ids, await kavach.audit.trace(agent.id)) for agent in (root, child, leaf, sister, stranger)] == [
        [0, 1, 3, 4, 5, 6],
        [0, 1, 4, 5, 6],
        [0, 1, 4, 5, 6],
        [1, 3],
        [2],
    ]
    last = (await kavach.audit.trace(leaf.id))[-1]
    assert [link.agent_id for link in last.path] == [root.id, child.id, leaf.id] and last.code.value == "CHAIN_CUT"
    assert numbers(ids, await kavach.audit.trace(root.id, limit=2)) == [0, 1]
    assert numbers(ids, await kavach.audit.trace(root.id, after=ids[1], limit=2)) == [3, 4]


async def test_a_trace_is_refused_where_it_means_nothing(kavach: Kavach, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await make_agent(kavach)
    await kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    for unknown in ("agt_" + "0" * 32, "agt_1"):
        with pytest.raises(NotFound):
            await kavach.audit.trace(unknown)
    with pytest.raises(InvalidInput):
        await kavach.audit.trace(agent.id, limit=-1)
    monkeypatch.setattr(service, "_LONGEST_LINE", 1)
    with pytest.raises(InvalidInput):
        await kavach.audit.trace(agent.id)


# Exporting.


async def exported(kavach: Kavach, **wanted: Any) -> str:
    return "".join([piece async for piece in kavach.audit.export(**wanted)])


async def test_an_export_is_the_whole_record_in_both_formats(kavach: Kavach) -> None:
    agent = await make_agent(kavach, name="scout")
    ids = await fill(kavach, agent, 3) + await fill(kavach, agent, 2, "write:repos")
    entries = json.loads(await exported(kavach))
    assert [entry["id"] for entry in entries] == ids
    assert entries[0]["agentId"] == agent.id and entries[0]["result"] == "allowed"
    assert entries[0]["path"][0]["agentId"] == agent.id
    text = await exported(kavach, format="csv")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["id"] for row in rows] == ids and {row["code"] for row in rows} == {"ALLOWED", "NOT_GRANTED"}
    assert text.endswith("\r\n") and text.replace("\r\n", "").count("\n") == 0
    assert [entry["id"] for entry in json.loads(await exported(kavach, result="denied"))] == ids[3:]
    with pytest.raises(InvalidInput):
        await exported(kavach, format="xml")


@pytest.mark.parametrize("rest", [None, 0])
async def test_an_export_rests_as_long_as_it_reads(
    sqlite_kavach: Kavach, monkeypatch: pytest.MonkeyPatch, rest: int | None
) -> None:
    """Decisions come first. The negative control is an export that goes on at once."""
    await fill(sqlite_kavach, await make_agent(sqlite_kavach), 5)
    monkeypatch.setattr(service, "_CHUNK", 2)
    if rest is not None:
        monkeypatch.setattr(service, "_REST", rest)
    seconds, reads = 0.15, list[float]()
    loop = asyncio.get_running_loop()
    read = sqlite_kavach.audit._store.read

    async def read_slowly(*asked: Any) -> Any:
        reads.append(loop.time())
        found = await read(*asked)
        await asyncio.sleep(seconds)
        return found

    monkeypatch.setattr(sqlite_kavach.audit._store, "read", read_slowly)
    assert len(json.loads(await exported(sqlite_kavach))) == 5
    # The first of them asks which entry is the newest.
    pauses = [later - earlier for earlier, later in pairwise(reads[1:])]
    assert len(pauses) == 2 and all((pause >= 2 * seconds) is (rest is None) for pause in pauses)


async def test_an_empty_export_is_valid(kavach: Kavach) -> None:
    assert json.loads(await exported(kavach)) == []
    assert (await exported(kavach, format="csv")).count("\r\n") == 1


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", '=cmd|"/c calc"!A1', "\uff1d1"])
async def test_no_cell_is_run_as_a_formula(sqlite_kavach: Kavach, start: str) -> None:
    nasty = f'{start}",\r\n"x'
    agent = await make_agent(sqlite_kavach, "*:**")
    context = CallContext(user_agent=nasty, request_id=nasty)
    assert await ask(sqlite_kavach, agent.token, "=x:-repos:@a", arguments={nasty: nasty}, context=context)
    text = await exported(sqlite_kavach, format="csv")
    ((row),) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for cell in row.values():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")), cell
    assert row["action"] == "'=x" and row["resource"] == "'-repos:@a"
    assert json.loads(row["parameters"]) == {nasty: nasty}


async def test_an_export_comes_in_pieces_and_is_complete_while_rows_are_added(
    kavach: Kavach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete up to the newest entry at its beginning; no piece is longer than a few entries."""
    monkeypatch.setattr(service, "_CHUNK", 4)
    agent = await make_agent(kavach)
    ids = await fill(kavach, agent, 18)
    reading, store = watched(kavach)
    pieces: list[str] = []
    async for piece in reading.audit.export(format="json"):
        pieces.append(piece)
        await fill(kavach, agent, 3)
    assert [entry["id"] for entry in json.loads("".join(pieces))] == ids
    assert max(piece.count('"id"') for piece in pieces) == 4 and store.asked == 1 + 5
    assert await count(kavach, "kavach_audit") > 18


# Pruning.


async def test_pruning_deletes_what_is_older_and_nothing_else(
    kavach: Kavach, open_kavach: OpenKavach, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PRUNE_CHUNK", 2)
    other = await open_kavach(project=f"{kavach.config.project}-other")
    agent = await make_agent(kavach)
    await fill(other, await make_agent(other), 1)
    await fill(kavach, agent, 5)
    clock.advance("1h")
    ids = await fill(kavach, agent, 2)
    assert await kavach.audit.prune(before=clock.now) == 5
    assert numbers(ids, await all_entries(kavach)) == [0, 1]
    assert await kavach.audit.prune(before=clock.now) == 0
    assert await count(other, "kavach_audit") == 1
    assert await ask(kavach, agent.token)
