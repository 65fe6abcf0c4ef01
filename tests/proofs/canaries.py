"""Secrets that are planted or minted in a story, and everything that is written down meanwhile, to be searched."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import httpx

_TOKEN = re.compile(r"kv_(?:agt|ses|live|test)_[A-Za-z0-9]{20,}")
_CODE = re.compile(r"\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){5}\b")
_LINK = re.compile(r"#(?:token|sign-up|email)=([A-Za-z0-9_-]{40,})")
_NONCE = re.compile(r"kv_browser=([A-Za-z0-9_-]{43})")
_SHAPES = (_TOKEN, _CODE, _LINK, _NONCE)


def planted(name: str) -> str:
    """A secret that is put in where secrets go, and must come out nowhere."""
    return f"canary-{name}-Zq7Xw9Kd3Vb5"


class Tapes:
    """What was written down where. A secret may be in one answer: the one that shows it, which is never an error."""

    def __init__(self) -> None:
        self._tapes: list[tuple[str, str]] = []
        self._secrets: dict[str, str] = {}
        self.leaks: list[str] = []

    @property
    def secrets(self) -> int:
        """How many there are."""
        return len(self._secrets)

    @property
    def searched(self) -> int:
        """How many texts."""
        return len(self._tapes)

    def plant(self, name: str) -> str:
        """A secret of its own."""
        self._secrets[planted(name)] = f"planted: {name}"
        return planted(name)

    def mint(self, where: str, *texts: str | None) -> None:
        """Take over the secrets that somebody was shown by contract, this once."""
        for text in texts:
            for secret in _secrets_in(text or ""):
                self._secrets.setdefault(secret, where)

    def keep(self, where: str, text: str) -> None:
        """Something that may hold no secret at all."""
        self._tapes.append((where, text))

    def answer(self, name: str, answer: httpx.Response, *, presented: str = "") -> None:
        """An answer over HTTP, its cookies apart: a good one shows what it mints, and nothing that was shown before.

        `presented` is what whoever called presented themselves, where that may be shown again. A redirect names the
        address that was asked for.
        """
        apart = {"set-cookie", "location"} if answer.is_redirect else {"set-cookie"}
        headers = " ".join(f"{key}: {value}" for key, value in answer.headers.items() if key not in apart)
        text = f"{headers}\n{answer.text}"
        if presented:
            text = text.replace(presented, "")
        if answer.is_success:
            new = [secret for secret in _secrets_in(answer.text) if secret not in self._secrets]
            self.mint(name, answer.text)
            for secret in new:
                text = text.replace(secret, "")
        for cookie in answer.headers.get_list("set-cookie"):
            self.mint(f"cookie of {name}", cookie)
        self.keep(f"{answer.status_code} of {name}", text)

    def search(self) -> list[str]:
        """Every secret found anywhere, and where."""
        return [
            f"{where} shows what is {of}: {secret[:12]}..."
            for where, text in self._tapes
            for secret, of in self._secrets.items()
            if secret in text
        ]


def _secrets_in(text: str) -> Iterable[str]:
    return (found for shape in _SHAPES for found in shape.findall(text))


@contextmanager
def recorded_logs(tapes: Tapes) -> Generator[None]:
    """Keep whatever any logger says, down to DEBUG."""
    handler = _Recorder(tapes)
    root = logging.getLogger()
    levels = {logger: logger.level for logger in (root, logging.getLogger("kavach"), logging.getLogger("httpx"))}
    root.addHandler(handler)
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


class _Recorder(logging.Handler):
    def __init__(self, tapes: Tapes) -> None:
        super().__init__()
        self._tapes = tapes
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "httpx":  # the client of the test tells the addresses that it asks for
            self._tapes.keep(f"log of {record.name}", self.format(record))
