"""R19: how strong the tests of the decision core are. `python -m tests.proofs.r19`, with the extra `quality`.

Branches: the core is run by its tests under coverage, and every branch must be taken. Mutants: the pure modules are
changed one small thing at a time, and the tests of the policy must fail for it. Hypothesis gives the same few examples
to each mutant, so that the figure is the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = "kavach_core/capabilities"
GRAMMAR: Final = "kavach_core/primitives/permissions"
#: What decides, charges, attenuates and records.
CORE: Final = (
    *(
        f"{ROOMS}/authorize/{name}.py"
        for name in ("asking", "claims", "effects", "explain", "outcome", "policy", "worker")
    ),
    *(f"{ROOMS}/delegation/{name}.py" for name in ("facts", "policy")),
    f"{ROOMS}/budgets/ledger.py",
    *(f"{ROOMS}/audit/{name}.py" for name in ("model", "queries")),
    f"{GRAMMAR}/*.py",
)
#: What of it is pure.
PURE: Final = (
    *(f"{ROOMS}/{name}.py" for name in ("authorize/policy", "budgets/ledger", "delegation/facts", "delegation/policy")),
    *(f"{GRAMMAR}/{name}.py" for name in ("constraints", "covering", "grammar")),
)
LEAST: Final = 0.85
#: Mutants that change nothing anybody could see, by the line they put in, and why.
EQUIVALENT: Final = {
    'pairs = (pair.rpartition(":") for pair in text.split(","))': "a pair has one colon",
    "if not (one.any or other.any):": "a short cut: what has no constraints adds none below either",
}
#: No test of the policy needs a database; this keeps the run from starting one.
_NOWHERE: Final = {"KAVACH_TEST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}


def main() -> int:
    """Tell both figures in one line each; 1 if one of them is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", action="store_true", help="only the branches")
    parser.add_argument("--mutants", action="store_true", help="only the mutants")
    asked = parser.parse_args()
    every = not (asked.branches or asked.mutants)
    good = True
    with tempfile.TemporaryDirectory(prefix="kavach-r19-") as directory:
        if every or asked.branches:
            good &= check_branches(Path(directory))
        if every or asked.mutants:
            good &= check_mutants(Path(directory) / "copy")
    return 0 if good else 1


def check_branches(directory: Path) -> bool:
    """Run the core under coverage; whether every line and branch of it was taken."""
    settings, report = directory / "coveragerc", directory / "coverage.json"
    included = "".join(f"\n    {path}" for path in CORE)
    settings.write_text(f"[run]\nbranch = true\ndata_file = {directory / 'coverage'}\ninclude ={included}\n")
    coverage = (sys.executable, "-m", "coverage")
    tests = ("-m", "pytest", "-n", "0", "-q", "tests/policy", "tests/capabilities")
    subprocess.run([*coverage, "run", f"--rcfile={settings}", *tests], cwd=ROOT, check=True)
    told = [*coverage, "json", f"--rcfile={settings}", "-q", "-o", str(report)]
    subprocess.run(told, cwd=ROOT, check=True)
    found = json.loads(report.read_text())
    for name, file in found["files"].items():
        if file["missing_lines"] or file["missing_branches"]:
            print(f"{name}: lines {file['missing_lines']}, branches {file['missing_branches']}")
    totals = found["totals"]
    print(f"R19 branches covered: {totals['covered_branches']} of {totals['num_branches']} of the decision core")
    return bool(totals["missing_lines"] == totals["missing_branches"] == 0)


def check_mutants(copy: Path) -> bool:
    """Change a copy of the pure modules one thing at a time; whether enough of that is noticed."""
    _make_copy(copy)
    mutmut = (sys.executable, "-m", "mutmut")
    subprocess.run([*mutmut, "run"], cwd=copy, check=True, env={**os.environ, **_NOWHERE})
    alive, every = [*_survivors(copy)], sum(len(codes) for codes in _outcomes(copy))
    equivalent = 0
    for name in alive:
        shown = subprocess.run([*mutmut, "show", name], cwd=copy, check=True, capture_output=True, text=True).stdout
        lines = [line[1:].strip() for line in shown.splitlines() if line.startswith("+") and "+++" not in line]
        if any(line in EQUIVALENT for line in lines):
            equivalent += 1
        else:
            print(f"{name}: {' '.join(lines)}")
    killed = every - len(alive)
    score = killed / every
    print(f"R19 mutants killed: {killed} of {every} ({score:.1%}), {equivalent} of the others change nothing")
    return score >= LEAST


def _make_copy(copy: Path) -> None:
    """What is needed to run the tests of the policy, with the settings of mutmut."""
    for name in ("kavach_core", "kavach_adapters", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    given = (ROOT / "pyproject.toml").read_text().replace(', "-n", "2", "--dist=worksteal"', "")
    selected = ["tests/policy", "--ignore=tests/policy/test_paths.py", "-k", "not time_of_a_glob and not memory"]
    settings = {
        "source_paths": ["kavach_core"],
        "only_mutate": [*PURE],
        "also_copy": ["kavach_adapters"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--hypothesis-profile=mutants"],
        "pytest_add_cli_args_test_selection": selected,
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (copy / "pyproject.toml").write_text(f"{given}\n[tool.mutmut]\nuse_git_change_detection = false\n{lines}")


def _outcomes(copy: Path) -> Iterator[dict[str, int | None]]:
    """For each mutated module what the tests said of each mutant: 0 if they passed, 33 if none of them ran it."""
    for meta in sorted((copy / "mutants").rglob("*.meta")):
        yield json.loads(meta.read_text())["exit_code_by_key"]


def _survivors(copy: Path) -> Iterator[str]:
    for codes in _outcomes(copy):
        yield from (name for name, code in codes.items() if code in (None, 0, 33))


if __name__ == "__main__":
    sys.exit(main())
