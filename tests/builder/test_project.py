"""What a Python package says of itself."""

from __future__ import annotations

import pytest

from binderlet.builder.detect import Detected
from binderlet.builder.project import Project, read_project
from binderlet.errors import BadRepository


def read(text: str) -> Project:
    """Read a pyproject.toml."""
    return read_project(Detected(files={"pyproject.toml": text.encode()}))


def test_dependencies() -> None:
    """They become a requirement file; what comes from an address of its own is left to the installation."""
    found = read("[project]\ndependencies = ['numpy>=2', 'x[a]; python_version < \"3\"', 'y @ git+https://e.org/y']\n")
    assert found.requirements == 'numpy>=2\nx[a]; python_version < "3"\n'


def test_no_pyproject() -> None:
    """A package with a setup.py alone says nothing, and runs anywhere."""
    found = read_project(Detected(files={"setup.py": b""}))
    assert found.requirements == ""
    assert found.runs_on("3.8")


@pytest.mark.parametrize(
    ("wanted", "python", "fits"),
    [
        (">=3.11", "3.11", True),
        (">=3.11.5", "3.11", True),
        ("<3.11.5", "3.11", True),
        (">=3.12", "3.11", False),
        ("==3.11.*", "3.11", True),
    ],
)
def test_python(wanted: str, python: str, *, fits: bool) -> None:
    """A package runs on a Python where it runs on one of its patches."""
    assert read(f"[project]\nrequires-python = '{wanted}'\n").runs_on(python) is fits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project = 1\n", "'project' is not a table"),
        ("[project]\nrequires-python = '3.x'\n", r"'3\.x' in project\.requires-python"),
        ("[project]\ndependencies = 'numpy'\n", "is not a list"),
        ("[project]\ndependencies = ['a b']\n", "'a b' in project.dependencies is not a requirement"),
        ("[project\n", r"^pyproject\.toml, line 1"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    """A file that cannot be read fails with its name and what is wrong."""
    with pytest.raises(BadRepository, match=message):
        read(text)
