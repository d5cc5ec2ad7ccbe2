"""Each source file has its test file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("check_tests", ROOT / "scripts" / "check_tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(root: Path, *files: str) -> None:
    """Make files with a function each."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def f(): ...\n")


def test_complete_tree(check: ModuleType, tmp_path: Path) -> None:
    """Same place, same name; ports have a contract, and packages that only say something need nothing."""
    tree(tmp_path, "src/binderlet/a/b.py", "src/binderlet/a/base.py", "src/binderlet/c.py")
    (tmp_path / "src/binderlet/a/__init__.py").write_text('"""Doc."""\n')
    tree(tmp_path, "tests/a/test_b.py", "tests/a/test_contract.py", "tests/test_c.py")
    assert check.problems(tmp_path, {}, 0) == []


def test_missing_test(check: ModuleType, tmp_path: Path) -> None:
    """A source without its test is named, with the file that is missing."""
    tree(tmp_path, "src/binderlet/a/b.py", "tests/test_b.py")
    assert check.problems(tmp_path, {}, 0) == ["src/binderlet/a/b.py has no tests/a/test_b.py."]


def test_code_in_a_package_file(check: ModuleType, tmp_path: Path) -> None:
    """An __init__.py with code needs a test as well."""
    tree(tmp_path, "src/binderlet/a/__init__.py")
    (tmp_path / "src/binderlet/a/__init__.py").write_text('"""Doc."""\nX = 1\n\ndef f(): ...\n')
    assert check.problems(tmp_path, {}, 0) == ["src/binderlet/a/__init__.py has no tests/a/test___init__.py."]


def test_exemptions_only_shrink(check: ModuleType, tmp_path: Path) -> None:
    """An exemption holds while it is needed, and the list may not grow."""
    tree(tmp_path, "src/binderlet/b.py", "src/binderlet/c.py", "tests/test_c.py")
    assert check.problems(tmp_path, {"src/binderlet/b.py": "reason"}, 1) == []
    exempt = {"src/binderlet/b.py": "reason", "src/binderlet/c.py": "reason", "src/binderlet/gone.py": "reason"}
    assert check.problems(tmp_path, exempt, 1) == [
        "EXEMPT has 3 entries, but may have 1: write the tests instead.",
        "src/binderlet/c.py has its test: take it off EXEMPT and lower EXEMPT_AT_MOST.",
        "src/binderlet/gone.py is gone: take it off EXEMPT.",
    ]


def test_exit_code(check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails when anything is missing, and says what."""
    monkeypatch.setattr(check, "problems", lambda *_: ["x has no y."])
    assert check.main([]) == 1
    assert capsys.readouterr().err == "x has no y.\n"
    monkeypatch.setattr(check, "problems", lambda *_: [])
    assert check.main([]) == 0


@pytest.mark.timeout(60)  # starts pytest inside
def test_coverage_of_one_file(check: ModuleType) -> None:
    """With --cover, a source's own tests are run alone and must reach every line of it."""
    assert check.uncovered(ROOT, ROOT / "src" / "binderlet" / "tasks.py") == []


@pytest.mark.timeout(60)  # starts pytest inside
def test_failing_tests_are_told(check: ModuleType, tmp_path: Path) -> None:
    """Tests that fail alone are told with their output."""
    tree(tmp_path, "src/binderlet/a.py", "tests/test_a.py")
    (tmp_path / "tests" / "test_a.py").write_text("def test_a():\n    assert False\n")
    assert "tests/test_a.py fails" in check.uncovered(tmp_path, tmp_path / "src/binderlet/a.py")[0]


@pytest.mark.timeout(60)  # starts pytest inside
def test_lines_left_out_are_told(check: ModuleType, tmp_path: Path) -> None:
    """Lines that a source's own tests leave out are told."""
    tree(tmp_path, "src/binderlet/a.py", "tests/test_a.py")
    (tmp_path / "src/binderlet/a.py").write_text("def f():\n    return 1\n")
    (tmp_path / "tests" / "test_a.py").write_text(
        "import runpy\nfrom pathlib import Path\n"
        "def test_a():\n    runpy.run_path(str(Path(__file__).parents[1] / 'src/binderlet/a.py'))\n"
    )
    [told] = check.uncovered(tmp_path, tmp_path / "src/binderlet/a.py")
    assert "does not cover its source" in told
