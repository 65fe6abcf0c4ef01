"""A reader of one adapter knows all: the same verbs with the same options, and the plain one is held to them too."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from examples.plain_asgi.adapter import kavach_asgi
from kavach_adapters import _adapter, kavach_fastapi, kavach_litestar, kavach_quart, kavach_starlette
from kavach_adapters.custom import Receive, Scope, Send
from kavach_core import AgentIdentity, lazy_kavach
from kavach_core.errors import InvalidInput
from tests.adapters.asgi import request
from tests.http.world import bearer

VERBS = (
    *("well_known", "Guard", "identity", "human", "agent", "require"),
    *("session", "browser", "authorize", "answer_error"),
)
ADAPTERS = {
    "starlette": kavach_starlette,
    "fastapi": kavach_fastapi,
    "litestar": kavach_litestar,
    "quart": kavach_quart,
    "plain_asgi": kavach_asgi,
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_has_every_verb(name: str) -> None:
    kv: Any = ADAPTERS[name](lazy_kavach(database="sqlite:///never.db"))
    assert [verb for verb in VERBS if not hasattr(kv, verb)] == []
    for verb in ("require", "authorize"):
        assert "cost" in inspect.signature(getattr(kv, verb)).parameters, verb
    with pytest.raises(InvalidInput):
        kv.require("no permission")
    with pytest.raises(InvalidInput):
        kv.require("read:repos", cost=-1)


def test_the_pages_that_list_them_list_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "integrations" / "custom.md").read_text(encoding="utf-8")
    listed = page.partition("## The verbs")[2].partition("##")[0]
    for text in (listed, _adapter.__doc__ or ""):
        assert [verb for verb in VERBS if f"`{verb}" not in text] == []


async def test_the_plain_adapter_takes_segments_of_a_permission_from_the_path(sqlite_database: str) -> None:
    get_kavach = lazy_kavach(database=sqlite_database)
    kv = kavach_asgi(get_kavach)

    @kv.require("read:repos:{name}")
    async def issues(scope: Scope, receive: Receive, send: Send, agent: AgentIdentity) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    agent = await (await get_kavach()).agents.create(owner_id="a", name="a", permissions=["read:repos:kavach"])
    for name, status in (("kavach", 204), ("other", 403)):
        params = {"path_params": {"name": name}}
        assert (await request(issues, f"/repos/{name}", bearer(agent.token), **params))[0] == status
    await get_kavach.close()
