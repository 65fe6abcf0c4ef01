"""Reads one small JSON document over HTTP: no redirects, so many bytes, so many seconds. Imports httpx when used."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final

_LONGEST: Final = 256 * 1024
_SECONDS: Final = 5.0


class FetchFailed(Exception):
    """The document could not be read. `status` is that of the answer, if there was one."""

    def __init__(self, url: str, why: str, *, status: int | None = None) -> None:
        super().__init__(f"{url} {why}")
        self.status = status


async def get_json(
    url: str, *, headers: Mapping[str, str] | None = None, longest: int = _LONGEST, seconds: float = _SECONDS
) -> object:
    """Return the JSON that a URL answers with 200. Raises `FetchFailed` for anything else, late or too long."""
    import httpx

    # What is not compressed cannot unfold into more than was counted.
    asked = {"accept": "application/json", "accept-encoding": "identity", **(headers or {})}
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=_tls(), timeout=seconds, follow_redirects=False) as client,
            client.stream("GET", url, headers=asked) as answer,
        ):
            if answer.status_code != 200:
                raise FetchFailed(url, f"answers {answer.status_code}", status=answer.status_code)
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > longest:
                    raise FetchFailed(url, f"answers more than {longest} bytes")
        document: object = json.loads(body)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(url, f"cannot be read: {type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise FetchFailed(url, "does not answer with JSON") from error
    return document


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than most requests."""
    import httpx

    return httpx.create_ssl_context()
