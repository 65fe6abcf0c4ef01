"""The tables of the pages say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import httpx
import pytest
from fastapi import Depends, FastAPI

from kavach_adapters import kavach_fastapi
from kavach_core import Identity, LazyKavach, lazy_kavach
from kavach_core.api.view import View
from kavach_core.config import Settings, load_config
from tests.docs.generated import PAGE as HTTP_PAGE
from tests.docs.generated import up_to_date
from tests.docs.pages import PAGES, README, ROOT, blocks, table

_PATH = re.compile(r"`((?:kavach_core|kavach_adapters|tests|examples|benchmarks|docs)/[\w/.]+)`")


def test_the_generated_parts_of_the_http_page_are_up_to_date() -> None:
    page = HTTP_PAGE.read_text(encoding="utf-8")
    assert page == up_to_date(page), "run python -m tests.docs.generated"


def test_every_setting_is_in_the_readme() -> None:
    rows = table(README, "Configuration", "argument")
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert names == get_type_hints(Settings).keys()


def test_the_defaults_and_variables_in_the_readme_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(README, "Configuration", "argument")
    variables = {name: variable for row in rows for variable, name in _variables(row)}
    for variable in variables.values():
        monkeypatch.delenv(variable, raising=False)
    config = load_config()
    shown = {row[0].strip("`"): row[2].strip("`") for row in rows}
    for name in ("database", "project", "skip_migrations", "pgbouncer", "max_agents_per_owner", "refused_per_minute"):
        assert shown[name] == str(getattr(config, name))
    assert shown["max_delegation_depth"] == str(config.max_delegation_depth)
    monkeypatch.setenv(variables["base_url"], "http://localhost:9")
    monkeypatch.setenv(variables["database"], "sqlite:///other.db")
    monkeypatch.setenv(variables["secret"], "s" * 32)
    config = load_config()
    assert config.base_url == "http://localhost:9"
    assert config.database == "sqlite:///other.db"
    assert config.secret == ("s" * 32,)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def test_the_tree_of_the_architecture_page_is_the_one_on_disk() -> None:
    (tree,) = (block for block in blocks(ROOT / "docs" / "architecture.md", "The folders") if block.language == "text")
    parents: list[Path] = []
    named: set[Path] = set()
    for line in tree.text.splitlines():
        names = line.strip().partition("  ")[0].split(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        here = [(parents[depth - 1] if depth else ROOT) / name for name in names]
        parents[depth:] = here[:1]
        named.update(here)
        assert all(path.exists() for path in here), line
    rooms = {path.parent for path in (ROOT / "kavach_core" / "capabilities").glob("*/__init__.py")}
    assert rooms <= named


@pytest.fixture
def get_kavach(sqlite_database: str) -> LazyKavach:
    return lazy_kavach(database=sqlite_database)


@pytest.fixture
async def http(get_kavach: LazyKavach) -> AsyncGenerator[httpx.AsyncClient]:
    """An app with one route behind each verb, where a header says which human is signed in."""
    kv = kavach_fastapi(get_kavach, resolve_user=_by_header, grantable=["read:repos"])
    app = FastAPI()
    app.include_router(kv.router, prefix="/api/kavach")
    app.add_middleware(kv.Guard, protect=["/guarded"])
    for path, verb in (
        ("/require", kv.require("read:repos")),
        ("/human", kv.human),
        ("/agent", kv.agent),
        ("/identity", kv.identity),
    ):
        app.get(path)(_answering(verb))
    app.get("/guarded")(_nothing)
    origin = {"origin": "http://localhost:8000"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", headers=origin) as client:
        yield client
    await get_kavach.close()


async def test_each_verb_answers_each_caller_as_the_readme_says(
    http: httpx.AsyncClient, get_kavach: LazyKavach
) -> None:
    kavach = await get_kavach()
    agents = [
        await kavach.agents.create(owner_id="alice", name="a", permissions=permissions)
        for permissions in (["read:repos"], ["read:issues"], ["read:repos"])
    ]
    await kavach.agents.revoke(agents[2].id)
    key = await kavach.keys.create(name="ci", scopes=["*"])
    bearers = [{"authorization": f"Bearer {token}"} for token in (*(agent.token for agent in agents), key.key)]
    callers: list[dict[str, str]] = [{}, {"x-user": "alice"}, *bearers]
    rows = table(README, "Who may come in", "nobody")
    assert len(rows) == 5
    for verb, *shown in rows:
        name = re.findall(r"kv\.(\w+)", verb)[0]
        path = "/guarded" if name == "Guard" else f"/{name}"
        statuses = [(await http.get(path, headers=headers)).status_code for headers in callers]
        assert [str(status) for status in statuses] == shown, verb


async def test_the_bodies_on_the_http_page_are_real(http: httpx.AsyncClient, get_kavach: LazyKavach) -> None:
    error, question, answer = (json.loads(block.text) for block in blocks(HTTP_PAGE) if block.language == "json")
    lost = await http.get("/api/kavach/agents/agt_nobody", headers={"x-user": "alice"})
    assert lost.json() == error
    agent = await (await get_kavach()).agents.create(owner_id="alice", name="a")
    headers = {"authorization": f"Bearer {agent.token}"}
    asked = (await http.post("/api/kavach/authorize", json=question, headers=headers)).json()
    assert asked | {"auditId": answer["auditId"]} == answer


async def _by_header(view: View) -> str | None:
    return view.header("x-user")


def _answering(verb: Any) -> Any:
    async def route(who: Annotated[Identity, Depends(verb)]) -> str:
        return who.id

    # Postponed annotations cannot name what is local here.
    route.__annotations__["who"] = Annotated[Any, Depends(verb)]
    return route


async def _nothing() -> None:
    return None


def _variables(row: list[str]) -> list[tuple[str, str]]:
    return list(zip(re.findall(r"`(\w+)`", row[1]), re.findall(r"`(\w+)`", row[0]), strict=False))
