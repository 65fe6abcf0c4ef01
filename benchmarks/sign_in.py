"""What signing in with a passkey costs beyond the library's own verification: challenge, look-ups, counter, session."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Any, Final

from webauthn import verify_authentication_response
from webauthn.helpers import base64url_to_bytes

from benchmarks.databases import Backend, postgres, sqlite
from benchmarks.report import Goal, Row, print_goals, print_rows
from kavach_core import Kavach, create_kavach
from kavach_core.capabilities.passkeys import Options
from kavach_core.primitives.browser import browser_from
from kavach_core.testing_passkeys import SoftAuthenticator

_ORIGIN: Final = "http://localhost:8000"


async def run(quick: bool) -> Sequence[Row]:
    """Measure whole sign-ins on both databases, print table and target, return the rows."""
    rounds = 90 if quick else 1000
    rows: list[Row] = []
    for start in (sqlite, postgres):
        async with start() as backend:
            rows += await _measure(backend, rounds)
    print_rows("signing in with a passkey", rows)
    print_goals([*goals_of(rows)])
    return rows


def goals_of(rows: Sequence[Row]) -> Iterator[Goal]:
    """The target for each database."""
    spent = {(row.backend, row.variant): row.cpu_us for row in rows}
    for name in dict.fromkeys(row.backend for row in rows):
        beyond = (spent[name, "whole"] - spent[name, "library"]) / 1000
        yield Goal(f"{name}: CPU in ms beyond the library", beyond, 2)


async def _measure(backend: Backend, rounds: int) -> list[Row]:
    async with await create_kavach(database=await backend.create("sign_in")) as kavach:
        human = _Human(kavach)
        await human.register()
        took = [await human.sign_in() for _ in range(rounds)]
    variants = {"whole": [whole for whole, _ in took], "library": [library for _, library in took]}
    return [_row(backend, name, seconds) for name, seconds in variants.items()]


class _Human:
    """Somebody with one passkey in one browser."""

    def __init__(self, kavach: Kavach) -> None:
        self._passkeys = kavach.auth.passkey
        self._authenticator = SoftAuthenticator()
        self._browser = browser_from([], cookie_name="kv_browser", secure=False)

    async def register(self) -> None:
        options = await self._passkeys.begin_registration(browser=self._browser)
        await self._passkeys.finish_registration(self._authenticator.create(options, _ORIGIN), browser=self._browser)

    async def sign_in(self) -> tuple[float, float]:
        """Seconds of this process's CPU: of both halves, without what the authenticator does, and of the library."""
        began = time.process_time()
        options = await self._passkeys.begin_authentication(browser=self._browser)
        asked = time.process_time()
        body = self._authenticator.get(options, _ORIGIN)
        answered = time.process_time()
        await self._passkeys.finish_authentication(body, browser=self._browser)
        finished = time.process_time()
        self._verify(options, body)
        return asked - began + finished - answered, time.process_time() - finished

    def _verify(self, options: Options, body: dict[str, Any]) -> None:
        """The same verification by the library alone."""
        verify_authentication_response(
            credential=body,
            expected_challenge=base64url_to_bytes(str(options["challenge"])),
            expected_rp_id="localhost",
            expected_origin=_ORIGIN,
            credential_public_key=self._authenticator.credentials[0].public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )


def _row(backend: Backend, variant: str, took: Sequence[float]) -> Row:
    mean = sum(took) / len(took)
    cuts = quantiles(took, n=100)
    return Row(
        bench="sign_in",
        backend=backend.name,
        variant=variant,
        concurrency=1,
        chain=0,
        ops_per_s=1 / mean,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        cpu_us=mean * 1e6,
        server_cpu_us=None,
        durability=backend.durability,
        database_version=backend.version,
    )
