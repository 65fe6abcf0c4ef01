"""The packages import without any framework or driver, and say which extra is missing when one is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Makes these packages look as if they were not installed, the rest of the program as it is.
_BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""
_FRAMEWORKS = ("starlette", "fastapi", "litestar", "quart", "flask", "werkzeug")


def run(program: str, *, without: tuple[str, ...] = ()) -> str:
    """Run a program in a fresh interpreter where some packages are not installed, and give what it prints."""
    source = _BLOCK.format(blocked=set(without)) + program
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:Binding:DeprecationWarning", "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_either_package_imports_no_framework_and_no_driver() -> None:
    loaded = "import kavach_core, kavach_adapters; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    found = run(loaded)
    for package in (*_FRAMEWORKS, "asyncpg", "httpx", "uvicorn", "typer", "rich"):
        assert f"'{package}'" not in found, package


def test_the_core_works_without_any_of_them() -> None:
    program = """
import asyncio, tempfile
from kavach_core.testing import temporary_kavach
from kavach_core.api.table import TABLE
async def main():
    async with temporary_kavach() as kavach:
        agent = await kavach.agents.create(owner_id="alice", name="a", permissions=["read:repos"])
        decision = await kavach.authorize(agent.token, action="read", resource="repos")
        print(decision.allowed, len(TABLE) > 20)
asyncio.run(main())
"""
    assert run(program, without=(*_FRAMEWORKS, "asyncpg", "httpx", "uvicorn", "typer", "rich")) == "True True"


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "quart"])
def test_a_missing_framework_is_named_with_its_extra(framework: str) -> None:
    program = f"""
import kavach_adapters
try:
    kavach_adapters.kavach_{framework}
except ImportError as error:
    print(error)
"""
    said = run(program, without=(framework,))
    assert said == f"kavach_{framework} needs {framework}: pip install 'kavach-asgi[{framework}]'"


@pytest.mark.parametrize("framework", ["litestar", "quart"])
def test_one_framework_is_enough(framework: str) -> None:
    others = tuple({"starlette", "fastapi", "litestar", "quart"} - {framework})
    assert run(f"import kavach_adapters; print(kavach_adapters.kavach_{framework}.__name__)", without=others) == (
        f"kavach_{framework}"
    )


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    said = run("import kavach_adapters\ntry: kavach_adapters.kavach_flask\nexcept AttributeError as e: print(e)")
    assert "kavach_flask" in said


def test_postgres_without_its_driver_says_what_to_install() -> None:
    program = """
import asyncio
from kavach_core import create_kavach
from kavach_core.errors import ConfigurationError
try:
    asyncio.run(create_kavach(database="postgresql://localhost/x"))
except ConfigurationError as error:
    print(error)
"""
    assert "kavach-asgi[postgres]" in run(program, without=("asyncpg",))


def test_all_that_is_promised_can_be_imported() -> None:
    program = """
import kavach_core, kavach_adapters
for module in (kavach_core, kavach_adapters):
    assert list(module.__all__) == sorted(module.__all__), module
    for name in module.__all__:
        getattr(module, name)
"""
    run(program)
