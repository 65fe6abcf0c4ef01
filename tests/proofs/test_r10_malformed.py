"""R10: malformed input never breaks us. No 5xx, no tracebacks, no names of the inside, no growth."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import secrets
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kavach_core.api import dispatch, problems
from kavach_core.api.operation import Reply
from tests.capabilities.support import select
from tests.http.examples import make_cast
from tests.http.frameworks import FRAMEWORKS, MOUNT
from tests.http.live import live
from tests.http.world import NO_AGENT, World, worlds
from tests.proofs.fuzzing import Answer, Fuzzer, send, send_over
from tests.proofs.memory import resident

_SEED = 20_300_101

pytestmark = pytest.mark.usefixtures("cheap_passwords")


@asynccontextmanager
async def fuzzed(database: str) -> AsyncGenerator[tuple[World, Fuzzer]]:
    """A world with everything switched on, and what makes requests to it."""
    async with worlds(FRAMEWORKS[0], database, None) as open_world:
        world = await open_world(
            grantable=["*:*"],
            passwords=True,
            refused_per_minute=None,
            attempts_per_account=10**9,
            attempts_per_address=10**9,
            max_agents_per_owner=10**6,
        )
        document = (await world.call("GET", "/openapi.json")).json()
        yield world, Fuzzer(document, mount=MOUNT)


async def arm(world: World, fuzzer: Fuzzer) -> None:
    """A new owner's things and credentials for the requests to come; those before may have ended what they had."""
    cast = await make_cast(world, f"owner-{secrets.token_hex(4)}")
    fuzzer.ids = [cast.agent, cast.peer, cast.delegation, cast.session, cast.passkey, cast.key, cast.budget]
    fuzzer.ids += [cast.approval, cast.decision, NO_AGENT]
    held = [await world.service(), cast.as_human, cast.as_agent, cast.as_recovering]
    fuzzer.tokens = [each["authorization"].removeprefix("Bearer ") for each in held]


@pytest.mark.parametrize("requests", [250, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
async def test_no_request_breaks_an_app(
    sqlite_database: str, requests: int, figure: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    statuses: Counter[int | None] = Counter()
    before, grown = (0, 0), 0.0
    async with fuzzed(sqlite_database) as (world, fuzzer):
        for number in range(requests):
            if number == requests // 5:
                before = resident(), await _pages(world)
            if number % 50 == 0:
                await arm(world, fuzzer)
            sent = fuzzer.request(_SEED, number)
            answer = await send(world.app, sent)
            statuses[answer.status] += 1
            assert answer.fault is None, f"seed {_SEED}-{number}: {answer.fault} to {sent}"
        # SQLite keeps pages of the database, up to 80 MB in two caches: what they grow by is known.
        grown = (resident() - before[0] - 2 * (await _pages(world) - before[1])) / before[0]
    figure(
        f"R10 malformed requests that broke something: 0 of {requests:,} in-process, {_told(statuses)},"
        f" memory {grown:+.1%} (seed {_SEED})"
    )
    assert {200, 201, 204, 400, 401, 403, 404} <= statuses.keys()
    assert grown < 0.1 or requests < 10_000
    assert _complaints(caplog) == []


@pytest.mark.parametrize("requests", [60, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
async def test_no_bytes_break_a_real_server(
    sqlite_database: str, requests: int, figure: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    statuses: Counter[int | None] = Counter()
    async with fuzzed(sqlite_database) as (world, fuzzer), live(world.app, log_level="error") as url:
        for first in range(0, requests, 20):
            await arm(world, fuzzer)
            raws = [
                _cut_or_changed(fuzzer.request(_SEED + 1, number).to_bytes(), number)
                for number in range(first, first + 20)
            ]
            answers = await asyncio.gather(*[send_over(int(url.rpartition(":")[2]), raw) for raw in raws])
            for number, (raw, answer) in enumerate(zip(raws, answers, strict=True), first):
                statuses[answer.status] += 1
                assert answer.fault is None, f"seed {_SEED + 1}-{number}: {answer.fault} to {raw!r}"
        assert (await world.call("GET", "/openapi.json")).status_code == 200
    figure(f"R10 malformed requests that broke something: 0 of {requests:,} to uvicorn, {_told(statuses)}")
    assert statuses[400] and statuses.total() > 2 * statuses[None]
    assert _complaints(caplog) == []


def _leak(error: Exception) -> Reply:
    """Says what went wrong, as it was raised."""
    told = "".join(traceback.format_exception(error))
    return Reply(status=_to_reply(error).status, body=json.dumps({"error": told}).encode())


_to_reply = problems.to_reply


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (problems, "to_reply", _leak),
        (dispatch, "_parse_json", json.loads),
        (dispatch, "_validate", lambda model, values: model.model_construct(**values)),
    ],
)
async def test_the_same_check_catches_an_app_that_breaks(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Any
) -> None:
    """The negative control: errors as they are raised, a body that is just read, fields nobody looks at."""
    monkeypatch.setattr(where, name, instead)
    async with fuzzed(sqlite_database) as (world, fuzzer):
        await arm(world, fuzzer)
        for number in range(3_000):
            if (await send(world.app, fuzzer.request(_SEED, number))).fault is not None:
                return
    pytest.fail("3,000 requests broke nothing")


def test_what_is_inside_is_known_when_it_is_seen() -> None:
    assert Answer(400, b'{"error": "Traceback (most recent call last)"}').fault
    assert Answer(400, b'{"error": "KeyError: 5"}').fault
    assert Answer(500, b"").fault
    assert not Answer(400, b'{"error": {"code": "INVALID_INPUT", "message": "a", "details": {}}}').fault


def _cut_or_changed(raw: bytes, number: int) -> bytes:
    """A third of them are no longer HTTP: changed in the head, or cut anywhere."""
    if number % 3:
        return raw
    chance = random.Random(number)
    place = chance.randrange(len(raw))
    if chance.random() < 0.5:
        return raw[:place]
    place = chance.randrange(min(len(raw), 400))
    return raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :]


def _told(statuses: Counter[int | None]) -> str:
    return "answered " + ", ".join(f"{status or 'nothing'} {n:,}" for status, n in statuses.most_common(6))


def _complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR or record.exc_info is not None
    ]


async def _pages(world: World) -> int:
    """Bytes of the database."""
    rows = await select(world.kavach, "select page_count * page_size from pragma_page_count(), pragma_page_size()")
    return int(rows[0][0])
