"""The fixtures against the packages they were recorded from: `python -m tests.resolvers.record.check`. Needs Node.

Records anew and compares the facts (names of cookies, algorithms, key ids, versions), runs the tests of the resolvers
on what was just made, and asks a better-auth server that is really running. `--write` keeps what was recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from kavach_core.resolvers import better_auth
from tests.resolvers.support import config, recorded, view

HERE: Final = Path(__file__).parent
FIXTURES: Final = HERE.parent / "fixtures"
NAMES: Final = ("authjs", "better_auth", "clerk")


def main() -> None:
    """Ends with a status that is not 0 where anything differs."""
    with tempfile.TemporaryDirectory() as work:
        scripts, fresh = Path(work) / "record", Path(work) / "fixtures"
        shutil.copytree(HERE, scripts, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        _run("npm", "install", "--silent", cwd=scripts)
        _run("node", "record.mjs", str(fresh), cwd=scripts)
        if "--write" in sys.argv:
            shutil.copytree(fresh, FIXTURES, dirs_exist_ok=True)
        for name in NAMES:
            made = json.loads((fresh / f"{name}.json").read_text(encoding="utf-8"))
            assert made["facts"] == recorded(name)["facts"], f"{name}: not as recorded; see record/check.py --write"
        _run(sys.executable, "-m", "pytest", "-q", str(HERE.parent), KAVACH_RESOLVER_FIXTURES=str(fresh))
        with _better_auth(scripts) as origin:
            asyncio.run(_ask(origin))
    print("the resolvers agree with the real packages")


async def _ask(origin: str) -> None:
    """Somebody signs up, is known by cookie and by token, signs out, and is nobody at once."""
    resolve = better_auth(secret=recorded("better_auth")["secret"], url=f"{origin}/api/auth", jwt_plugin=True)
    resolve.check_config(config())
    async with httpx.AsyncClient(base_url=f"{origin}/api/auth", headers={"origin": origin}) as browser:
        account = {"name": "Alice", "email": "alice@example.com", "password": "correct horse battery"}
        user = (await browser.post("/sign-up/email", json=account)).raise_for_status().json()["user"]["id"]
        cookies = list(browser.cookies.items())
        token = (await browser.get("/token")).raise_for_status().json()["token"]
        assert await resolve(view(*cookies)) == user
        assert await resolve(view(bearer=token)) == user
        assert await resolve(view(bearer=token[:-4] + "AAAA")) is None
        (await browser.post("/sign-out", json={})).raise_for_status()
        assert await resolve(view(*cookies)) is None


@contextmanager
def _better_auth(scripts: Path) -> Iterator[str]:
    """The origin of a running server, which ends when its input does."""
    server = subprocess.Popen(["node", "serve.mjs"], cwd=scripts, stdin=-1, stdout=-1, text=True)
    try:
        assert server.stdout is not None
        origin = server.stdout.readline().strip()
        assert origin.startswith("http://127.0.0.1:"), "the server did not start"
        yield origin
    finally:
        server.communicate(timeout=20)


def _run(*command: str, cwd: Path | None = None, **environment: str) -> None:
    subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True)


if __name__ == "__main__":
    main()
