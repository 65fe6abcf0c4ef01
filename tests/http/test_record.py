"""The record over HTTP: filters, stable pages, totals, and exports that are whole and safe to open."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from kavach_core.capabilities.audit.export import CSV_COLUMNS
from tests.http.conftest import ON_BOTH_DATABASES
from tests.http.frameworks import MOUNT
from tests.http.world import Headers, World, bearer

#: What is on record is read below the adapters, whose answers test_parity compares.
pytestmark = ON_BOTH_DATABASES


@pytest.fixture
async def world(stored_world: World) -> World:
    return stored_world


async def test_the_record_is_filtered_paged_and_counted(world: World) -> None:
    first, second = await world.agent(), await world.agent()
    start = world.clock.now
    for number in range(5):
        world.clock.advance("1m")
        await _ask(world, first.id, "read" if number % 2 else "write")
        await _ask(world, second.id, "read")
    human = await world.human()
    newest = [entry["id"] for entry in await _entries(world, human)]
    assert len(newest) == 10 and newest == sorted(newest, reverse=True)
    for query, found in (
        (f"agentId={first.id}", 5),
        ("actions=read", 7),
        ("actions=read,write", 10),
        ("actions=", 10),
        ("result=denied", 3),
        ("result=rate_limited", 0),
        (f"agentId={first.id}&actions=write&result=denied", 3),
        (f"since={_iso(start + timedelta(minutes=3))}", 6),
        (f"until={_iso(start + timedelta(minutes=3))}", 6),
        ("since=2030-01-01T14:03:00 02:00", 6),
        ("since=2030-01-01T14:03:00%2B02:00", 6),
        ("userId=alice", 10),
        ("limit=0", 10),
        ("offset=8", 10),
    ):
        answer = await world.call("GET", f"/audit?{query}", human)
        assert answer.status_code == 200, (query, answer.text)
        assert answer.headers["x-total-count"] == str(found), query
    assert [e["id"] for e in await _entries(world, human, "limit=3&offset=2")] == newest[2:5]
    assert [e["id"] for e in await _entries(world, human, "offset=8")] == newest[8:]
    assert await _entries(world, human, "limit=0") == []
    # A page that begins after an id does not shift when rows are added.
    await _ask(world, first.id, "read")
    assert [e["id"] for e in await _entries(world, human, f"limit=3&before={newest[2]}")] == newest[3:6]


async def test_lists_of_agents_are_filtered_paged_and_counted(world: World) -> None:
    made = [(await world.agent(type="service" if number == 0 else "autonomous")).id for number in range(4)]
    await world.kavach.agents.revoke(made[3])
    await world.agent(owner="bob")
    human, service = await world.human(), await world.service()
    for caller, query, expected in (
        (human, "", made[::-1]),
        (human, "status=active", made[2::-1]),
        (human, "status=revoked", made[3:]),
        (human, "type=service", made[:1]),
        (human, "limit=2", made[:1:-1]),
        (human, "limit=2&offset=3", made[:1]),
        (service, "userId=alice", made[::-1]),
        (service, "userId=nobody", []),
    ):
        answer = await world.call("GET", f"/agents?{query}", caller)
        assert [agent["id"] for agent in answer.json()] == expected, query
        assert answer.headers["x-total-count"] == str(len(expected) if "limit" not in query else 4)
    assert (await world.call("GET", "/agents?", service)).headers["x-total-count"] == "5"


async def test_other_lists_tell_their_total_too(world: World) -> None:
    agent = await world.agent()
    await world.kavach.agents.delegate(from_=agent.id, permissions=["read:repos"])
    human, service = await world.human(), await world.service()
    for caller, path in (
        (human, f"/delegations/{agent.id}"),
        (human, f"/delegations/{agent.id}/permissions"),
        (human, "/sessions"),
        (service, "/keys"),
    ):
        answer = await world.call("GET", path, caller)
        assert answer.headers["x-total-count"] == str(len(answer.json())) == "1", path


async def test_an_export_is_whole_and_oldest_first_in_both_forms(world: World) -> None:
    agent = await world.agent()
    await asyncio.gather(*(_ask(world, agent.id, "read" if number % 3 else "write") for number in range(450)))
    human = await world.human()
    exported = await world.call("GET", "/audit/export", human)
    assert exported.headers["content-type"] == "application/json"
    assert exported.headers["content-disposition"] == 'attachment; filename="kavach-audit.json"'
    entries = exported.json()
    assert len(entries) == 450 and [e["id"] for e in entries] == sorted(e["id"] for e in entries)
    newest = await _entries(world, human, "limit=1")
    assert entries[-1] == newest[0]
    as_csv = await world.call("GET", "/audit/export?format=csv", human)
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    header, *rows = csv.reader(io.StringIO(as_csv.text, newline=""))
    assert header == list(CSV_COLUMNS) and [row[0] for row in rows] == [e["id"] for e in entries]
    assert as_csv.text.count("\r\n") == 451
    some = await world.call("GET", f"/audit/export?agentId={agent.id}&since={entries[-1]['timestamp']}", human)
    assert len(some.json()) == 450, "the clock stands still"
    none = await world.call("GET", "/audit/export?until=2029-01-01T00:00:00Z", human)
    assert none.json() == []


async def test_an_export_is_sent_in_pieces_while_decisions_go_on(world: World) -> None:
    agent = await world.agent()
    await asyncio.gather(*(_ask(world, agent.id, "read") for _ in range(450)))
    pieces: list[bytes] = []
    whole = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await whole.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                whole.set()
            await _ask(world, agent.id, "read")

    headers = [(name.encode(), value.encode()) for name, value in (await world.human()).items()]
    scope = {"type": "http", "method": "GET", "path": f"{MOUNT}/audit/export", "headers": headers, "query_string": b""}
    more = {"asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "http", "root_path": ""}
    server = {"server": ("localhost", 80), "client": ("127.0.0.1", 40_000), "state": {}, "extensions": {}}
    await world.app({**scope, **more, **server, "raw_path": scope["path"].encode()}, receive, send)
    assert len([piece for piece in pieces if piece]) >= 3
    assert len(json.loads(b"".join(pieces))) == 450, "what came after it began is not in it"


async def test_no_cell_of_a_csv_runs_as_a_formula(world: World) -> None:
    for evil in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\uff1d1", 'quote"d, and comma'):
        agent = await world.agent(owner=evil)
        sent = evil if evil.isascii() else "=2"
        asked = {**bearer(agent.token), "user-agent": sent, "x-request-id": sent}
        assert (await world.visit("POST", "/search", asked)).status_code == 200
    text = (await world.call("GET", "/audit/export?format=csv", await world.service())).text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    owners = [row["userId"] for row in rows]
    assert owners == ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(1)", "'\uff1d1", 'quote"d, and comma']
    cells = [cell or "" for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "-", "@", "\uff1d")) for cell in cells)


async def test_an_agent_reads_its_own_record_alone(world: World) -> None:
    one, other = await world.agent(), await world.agent()
    for agent in (one, other):
        await _ask(world, agent.id, "read")
    entries = await _entries(world, bearer(one.token))
    assert [entry["agentId"] for entry in entries] == [one.id]


async def _ask(world: World, agent_id: str, action: str) -> None:
    await world.kavach.authorize(agent_id, action=action, resource="repos")


async def _entries(world: World, caller: Headers, query: str = "") -> list[dict[str, object]]:
    answer = await world.call("GET", f"/audit?{query}", caller)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = json.loads(answer.text)
    return found


def _iso(moment: object) -> str:
    return str(moment).replace(" ", "T").replace("+00:00", "Z")
