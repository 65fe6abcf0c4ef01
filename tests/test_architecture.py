"""The shape of the code: imports point one way, modules and functions stay short, and the core needs no framework."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from kavach_core.errors import KavachError

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION, LONGEST_MODULE = 60, 400

#: From the ground up: a module may import its own layer and those before it.
LAYERS = (
    ("kavach_core.errors",),
    ("kavach_core.primitives",),
    ("kavach_core.config",),
    ("kavach_core.store",),
    ("kavach_core.runtime",),
    ("kavach_core.capabilities",),
    ("kavach_core.kavach",),
    ("kavach_core.lazy", "kavach_core.testing", "kavach_core.testing_passkeys"),
    ("kavach_core.api", "kavach_core.pages", "kavach_core.resolvers", "kavach_core.remote"),
    ("kavach_core.cli", "kavach_adapters"),
)
#: Rooms in the order they are built in: one may know those of earlier groups, and of its own group those before it.
ROOMS = (
    *("permission_sets", "events", "project", "owners", "limits"),
    "audit",
    *("budgets", "approvals"),
    *("sessions", "keys", "users", "challenges"),
    *("passwords", "passkeys", "emails", "recovery"),
    "delegation",
    "authorize",
    "agents",
)
#: Inside a room, from the nouns up.
PARTS = ("model", "keys", "facts", "queries", "loader", "policy", "service")
#: Runs a real app.
DEMO = "kavach_core.cli.demo"


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for package in ("kavach_core", "kavach_adapters"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports(name: str) -> Iterator[str]:
    """The modules that a module imports, anywhere in it; of ours as exactly as they are named."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def ours(name: str) -> list[str]:
    return [imported for imported in imports(name) if imported.split(".")[0] in ("kavach_core", "kavach_adapters")]


def layer(name: str) -> int:
    for height, members in enumerate(LAYERS):
        if any(name == member or name.startswith(f"{member}.") for member in members):
            return height
    raise AssertionError(f"{name} has no place in LAYERS")


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[2] if parts[1:2] == ["capabilities"] and len(parts) > 2 else None


def part(name: str) -> str | None:
    """What a module is in its room, where that has an order."""
    *_, last = parts = name.split(".")
    return last if room(name) and len(parts) == 4 and last in PARTS else None


def test_imports_point_down() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in ours(name)
        if name != "kavach_core" and imported != "kavach_core" and layer(imported) > layer(name)
    ]
    assert wrong == []


def test_nothing_inside_imports_the_public_names() -> None:
    """They import everything: from inside that would be a circle. Adapters and commands use them as an app does."""
    assert [name for name in MODULES if "kavach_core" in ours(name) and layer(name) < len(LAYERS) - 1] == []


def test_only_the_demo_reaches_an_adapter_from_the_core() -> None:
    core = [name for name in MODULES if name.startswith("kavach_core")]
    assert [name for name in core if any(each.startswith("kavach_adapters") for each in ours(name))] == [DEMO]


def test_a_room_knows_earlier_rooms_only() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in ours(name)
        if (mine := room(name)) and (theirs := room(imported)) and ROOMS.index(theirs) > ROOMS.index(mine)
    ]
    assert wrong == []


def test_every_room_has_its_place() -> None:
    built = {found for name in MODULES if (found := room(name))}
    assert built == set(ROOMS)


def test_policies_never_see_the_store() -> None:
    """Nor does anything else that claims to decide from facts alone."""
    for name in MODULES:
        if name.endswith((".policy", ".facts", ".model", ".explain")) and room(name):
            seen = [
                each for each in ours(name) if each.endswith((".queries", ".loader", ".service")) or ".store" in each
            ]
            assert seen == [], name
            assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(TREES[name])), name


def test_inside_a_room_imports_point_from_service_to_model() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in ours(name)
        if room(name) == room(imported) and (mine := part(name)) and (theirs := part(imported))
        if PARTS.index(theirs) > PARTS.index(mine)
    ]
    assert wrong == []


def test_there_are_no_circles() -> None:
    """At import time; what only a function imports is its own affair."""
    graph = {
        name: {each for each in _at_import(name) if each in MODULES and each != name} - _packages_of(name)
        for name in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None


def _at_import(name: str) -> Iterator[str]:
    later = {id(node) for block in ast.walk(TREES[name]) if _runs_later(block) for node in ast.walk(block)}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and id(node) not in later and node.module:
            yield from (
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            )


def _packages_of(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def _runs_later(node: ast.AST) -> bool:
    """Functions, and what only type checkers read."""
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_functions_are_short_and_say_what_they_are_for(name: str) -> None:
    tree, lines = TREES[name], MODULES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_MODULE
    assert ast.get_docstring(tree), "every module opens with a sentence"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_every_error_has_a_code_of_its_own() -> None:
    classes = list(_below(KavachError))
    assert [code for code, times in Counter(each.code for each in classes).items() if times > 1] == []
    assert len(classes) > 25 and all(each.__doc__ for each in classes)


def _below(error: type[KavachError]) -> Iterator[type[KavachError]]:
    yield error
    for child in error.__subclasses__():
        if child.__module__.startswith("kavach_"):
            yield from _below(child)


_BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
{statements}
print(",".join(sorted(name for name in sys.modules if "." not in name)))
"""
_FRAMEWORKS = ("starlette", "fastapi", "litestar", "quart", "uvicorn", "httpx")
#: What only those need who sign in with a passkey.
_WEBAUTHN = ("webauthn", "cbor2", "cryptography", "OpenSSL")


@pytest.mark.parametrize(
    "statements, blocked",
    [
        ("import kavach_core, kavach_core.testing", (*_FRAMEWORKS, *_WEBAUTHN, "asyncpg", "pydantic", "typer", "rich")),
        ("import kavach_core.api.table", (*_FRAMEWORKS, *_WEBAUTHN, "asyncpg", "typer", "rich")),
        ("import kavach_adapters", (*_FRAMEWORKS, *_WEBAUTHN, "asyncpg", "typer", "rich")),
        ("import kavach_core.cli", (*_FRAMEWORKS, *_WEBAUTHN, "asyncpg")),
    ],
)
def test_importing_needs_no_framework_and_no_driver(statements: str, blocked: tuple[str, ...]) -> None:
    program = _BLOCKED.format(blocked=blocked, statements=statements)
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not set(ran.stdout.strip().split(",")) & set(blocked)


def test_a_kavach_on_sqlite_runs_without_framework_and_driver() -> None:
    """Importing is not using: here the blocked packages would be noticed when they are asked for."""
    statements = """
import asyncio
from kavach_core.testing import temporary_kavach
async def main():
    async with temporary_kavach() as kavach:
        agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
        assert await kavach.authorize(agent.token, action="read", resource="repos")
asyncio.run(main())
"""
    blocked = (*_FRAMEWORKS, "asyncpg", "pydantic", "typer", "rich")
    program = _BLOCKED.format(blocked=blocked, statements=statements)
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
