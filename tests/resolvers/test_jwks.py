"""Keys are read once, read again when they change, and the issuer is never asked more often than it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from kavach_core.resolvers.fetch import FetchFailed, get_json
from kavach_core.resolvers.jwks import ASK_EVERY, MAX_AGE, KeyRing
from tests.resolvers.support import RSA, Issuer

NEW = RSAKey.generate_key(2048, {"kid": "new"})


class Ring(KeyRing):
    """Keys of an issuer, with a clock that a test moves."""

    def __init__(self, issuer: Issuer, path: str = "/jwks") -> None:
        self.at = 1000.0
        super().__init__(lambda: self._where(f"{issuer.url}{path}"), monotonic=lambda: self.at)

    async def _where(self, url: str) -> str:
        return url

    async def has(self, kid: str) -> bool:
        return bool(await self.matching(kid))


async def test_keys_are_read_when_first_needed_and_once_for_all_who_wait(issuer: Issuer) -> None:
    ring = Ring(issuer)
    assert issuer.asked == []
    issuer.gate.clear()
    waiting = [asyncio.create_task(ring.has("rsa")) for _ in range(50)]
    await asyncio.wait(waiting, timeout=0.05)
    waiting[0].cancel()
    issuer.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [True] * 49
    assert len(issuer.asked) == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_is_gone(issuer: Issuer) -> None:
    ring = Ring(issuer)
    assert await ring.has("rsa")
    issuer.keys = [NEW]
    ring.at += ASK_EVERY
    assert await ring.has("new")
    assert not await ring.has("rsa")


async def test_a_withdrawn_key_is_used_no_longer_than_keys_are_kept(issuer: Issuer) -> None:
    ring = Ring(issuer)
    assert await ring.has("rsa")
    issuer.keys = [NEW]
    ring.at += MAX_AGE
    assert await ring.has("rsa")
    ring.at += 1
    assert not await ring.has("rsa")


async def test_unknown_keys_do_not_make_a_flood(issuer: Issuer) -> None:
    """Tokens with made-up key ids are free to make. With the bound taken away each of them asks the issuer."""
    ring = Ring(issuer)
    for number in range(100):
        assert not await ring.has(f"made-up-{number}")
    assert len(issuer.asked) == 1
    ring.at += ASK_EVERY
    await asyncio.gather(*(ring.has(f"made-up-{number}") for number in range(100)))
    assert len(issuer.asked) == 2

    for number in range(5):  # the negative control
        ring.at += ASK_EVERY
        await ring.has(f"made-up-{number}")
    assert len(issuer.asked) == 7


async def test_who_comes_while_keys_are_read_waits_for_them(issuer: Issuer) -> None:
    ring = Ring(issuer)
    assert await ring.has("rsa")
    issuer.keys = [RSA, NEW]
    ring.at += ASK_EVERY
    issuer.gate.clear()
    first = asyncio.create_task(ring.has("new"))
    await asyncio.wait([first], timeout=0.05)
    second = asyncio.create_task(ring.has("new"))
    await asyncio.wait([second], timeout=0.05)
    issuer.gate.set()
    assert await asyncio.gather(first, second) == [True, True]
    assert len(issuer.asked) == 2


async def test_an_issuer_that_fails_leaves_the_keys_there_were(issuer: Issuer) -> None:
    ring = Ring(issuer)
    assert await ring.has("rsa")
    issuer.answer = Response(status_code=500)
    ring.at += MAX_AGE + 1
    assert await ring.has("rsa")
    assert await ring.has("rsa")
    assert len(issuer.asked) == 2, "nor is it asked for every token while it fails"
    issuer.answer = None
    issuer.keys = [NEW]
    ring.at += ASK_EVERY
    assert await ring.has("new")


async def test_without_any_keys_it_cannot_be_told(issuer: Issuer) -> None:
    ring = Ring(issuer)
    issuer.answer = Response(status_code=500)
    for _ in range(20):
        with pytest.raises(FetchFailed):
            await ring.matching("rsa")
    assert len(issuer.asked) == 1
    issuer.answer = None
    ring.at += ASK_EVERY
    assert await ring.has("rsa")


async def test_what_is_no_set_of_keys_is_a_failure(issuer: Issuer) -> None:
    for answer in (
        PlainTextResponse("hello"),
        JSONResponse([]),
        JSONResponse({"keys": {}}),
        PlainTextResponse("[" * 100_000),
        Response(status_code=204),
    ):
        issuer.answer = answer
        with pytest.raises(FetchFailed):
            await Ring(issuer).matching("rsa")


async def test_redirects_are_not_followed(issuer: Issuer) -> None:
    with pytest.raises(FetchFailed, match="307"):
        await Ring(issuer, "/elsewhere").matching("rsa")
    assert issuer.asked == []


async def test_an_answer_may_be_neither_long_nor_late(issuer: Issuer) -> None:
    async def pieces(count: int, size: int, seconds: float) -> AsyncGenerator[bytes]:
        for _ in range(count):
            yield b" " * size
            await asyncio.sleep(seconds)

    issuer.answer = StreamingResponse(pieces(8, 65536, 0))
    with pytest.raises(FetchFailed, match="more than"):
        await get_json(f"{issuer.url}/jwks")
    issuer.answer = StreamingResponse(pieces(20, 1, 0.05))
    with pytest.raises(FetchFailed, match="TimeoutError"):
        await get_json(f"{issuer.url}/jwks", seconds=0.3)


async def test_a_key_that_is_too_short_is_not_used(issuer: Issuer) -> None:
    issuer.keys = []
    issuer.more = [{"kty": "RSA", "kid": "short", "n": "3" * 171, "e": "AQAB"}]
    assert not await Ring(issuer).has("short")
