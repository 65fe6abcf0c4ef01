"""One Chromium and one app for all browser tests of a process; a new person, with a profile of their own, for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.site import PATIENCE, Meet, Person, Site, meet, serve
from tests.chromium import REQUIRED, find_chromium, must_have_chromium

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    path = find_chromium()
    if path is None and must_have_chromium():
        pytest.fail(f"no Chromium, and {REQUIRED} says that the browser tests must run")
    if path is None:
        # Never silent: the summary says so in red.
        pytest.skip("no Chromium; see the end of this run")
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncGenerator[Site]:
    """The app that all tests share: they meet different people there."""
    async with serve(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def meet_person(browser: Browser, site: Site) -> AsyncGenerator[Meet]:
    """Makes people; at the end none of their pages may have gone against its policy or failed."""
    met: list[Person] = []

    async def meet_one(at: Site = site, **options: Any) -> Person:
        met.append(await meet(browser, at, **options))
        return met[-1]

    yield meet_one
    for person in met:
        await person.context.close()
    assert [fault for person in met for fault in person.faults] == []


@pytest_asyncio.fixture(loop_scope="session")
async def person(meet_person: Meet) -> Person:
    """Somebody new."""
    return await meet_person()
