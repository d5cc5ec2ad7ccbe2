#!/usr/bin/env python3
"""Checks that each source file has its test file: ``src/binderlet/a/b.py`` has ``tests/a/test_b.py``.

Two exceptions: a port ``base.py`` has ``test_contract.py``, and a file without any function needs none.
With ``--cover FILE...`` it also runs each of these sources' test files alone and says which lines they leave out.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

EXEMPT: dict[str, str] = {}
"""Source files without a test file of their own, with the reason. May only shrink."""
EXEMPT_AT_MOST = 0


def main(arguments: list[str] | None = None) -> int:
    """Print what is missing; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cover", nargs="+", metavar="FILE", default=[], help="sources to cover by their own tests")
    given = parser.parse_args(arguments)
    found = problems(ROOT, EXEMPT, EXEMPT_AT_MOST)
    for file in given.cover:
        found += uncovered(ROOT, Path(file))
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return 1 if found else 0


def problems(root: Path, exempt: dict[str, str], at_most: int) -> list[str]:
    """Give a sentence for each source without its tests, and for each exemption that is not needed."""
    found = []
    if len(exempt) > at_most:
        found.append(f"EXEMPT has {len(exempt)} entries, but may have {at_most}: write the tests instead.")
    for source in sorted((root / "src" / "binderlet").rglob("*.py")):
        name = source.relative_to(root).as_posix()
        test = test_of(root, source)
        if name in exempt:
            if test.exists():
                found.append(f"{name} has its test: take it off EXEMPT and lower EXEMPT_AT_MOST.")
        elif not test.exists() and not is_plain(source):
            found.append(f"{name} has no {test.relative_to(root).as_posix()}.")
    found += [f"{name} is gone: take it off EXEMPT." for name in exempt if not (root / name).exists()]
    return found


def test_of(root: Path, source: Path) -> Path:
    """Name the test file of a source file."""
    inside = source.relative_to(root / "src" / "binderlet")
    stem = "contract" if inside.name == "base.py" else inside.stem
    return root / "tests" / inside.parent / f"test_{stem}.py"


def is_plain(source: Path) -> bool:
    """Whether a file holds no function: docstrings, imports, constants, values without behaviour."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return not any(isinstance(node, functions) for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))))


def uncovered(root: Path, source: Path) -> list[str]:
    """Give the lines and branches of a source that its own test file does not reach."""
    source = source.resolve()
    test = test_of(root, source)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FILE": str(Path(folder, "coverage"))}
        command = [sys.executable, "-m", "coverage"]
        ran = subprocess.run(
            [*command, "run", "-m", "pytest", "-q", f"--basetemp={folder}/tests", str(test)],
            cwd=root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            return [f"{test.relative_to(root)} fails:\n{ran.stdout[-2000:]}"]
        told = subprocess.run(
            [*command, "report", "-m", "--fail-under=100", "--include", str(source)],
            cwd=root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    return [] if told.returncode == 0 else [f"{test.relative_to(root)} does not cover its source:\n{told.stdout}"]


if __name__ == "__main__":
    sys.exit(main())
