"""Does what a printed curl line says, so that lines meant for people are held to what they promise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

import httpx

_ASSIGNMENT = re.compile(r"([A-Z]+)=(\S+)")
_VARIABLE = re.compile(r"\$([A-Z]+)")


def assignment(line: str) -> tuple[str, str] | None:
    """The name and value of a line such as `TOKEN=kv_agt_...`, or None."""
    found = _ASSIGNMENT.fullmatch(line)
    return None if found is None else (found[1], found[2])


def curl(line: str, variables: Mapping[str, str], *, moved: Mapping[str, str] | None = None) -> httpx.Response:
    """Make the call of a curl line. `moved` replaces addresses at the beginning of its URL, nowhere else.

    Knows `-X`, `-H` and `-d`, and fails on anything else.
    """
    filled = _VARIABLE.sub(lambda name: variables[name[1]], line)
    program, *words = shlex.split(filled)
    assert program == "curl", line
    method, url, headers, body = "", "", {}, None
    rest = iter(words)
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                body = next(rest)
            case _:
                assert word.startswith("http://") and not url, line
                url = word
    for old, new in (moved or {}).items():
        url = new + url.removeprefix(old) if url.startswith(old) else url
    return httpx.request(method or ("GET" if body is None else "POST"), url, headers=headers, content=body, timeout=30)
