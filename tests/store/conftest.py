"""Open stores, closed at the end of each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from kavach_core.store import Store
from kavach_core.store.open import open_store
from tests.store.support import make_things

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
async def opened() -> AsyncGenerator[OpenStore]:
    """Opens stores like `open_store`."""
    stores: list[Store] = []

    async def open_one(database: str, **options: object) -> Store:
        stores.append(await open_store(database, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: OpenStore, database_url: str) -> Store:
    """A store on a fresh database with a table `things`; the test runs once on each kind of database."""
    store = await opened(database_url)
    await make_things(store)
    return store
