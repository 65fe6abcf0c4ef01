"""An issuer for one test."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.resolvers.support import Issuer, open_issuer


@pytest.fixture
async def issuer() -> AsyncGenerator[Issuer]:
    async with open_issuer() as opened:
        yield opened
