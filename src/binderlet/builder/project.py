"""Reads what a repository that is a Python package says of itself in ``pyproject.toml`` (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from binderlet.builder.detect import Detected
from binderlet.builder.text import read_toml
from binderlet.errors import BadRepository

FILE = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Project:
    """What can be known without running the package's own code."""

    path: str
    """What its dependencies are called, as a requirement file."""
    requirements: str
    """Its dependencies, so that they need not be installed anew with each commit; empty where they are not listed."""
    pythons: str = ""
    """Which versions of Python it runs on, such as ``>=3.11``; empty where it does not say."""

    def runs_on(self, python: str) -> bool:
        """Whether it runs on some patch of a Python such as ``3.11``."""
        wanted = SpecifierSet(self.pythons)
        return any(wanted.contains(f"{python}.{patch}") for patch in (99, 0))


def read_project(found: Detected) -> Project:
    """Read the package's dependencies; what only its build backend knows is installed with the package.

    Raises:
        BadRepository: the file is wrong.
    """
    project = read_toml((found.files or {}).get(FILE, b""), FILE).get("project", {})
    if not isinstance(project, Mapping):
        raise BadRepository(f"{FILE}: 'project' is not a table.")
    pythons = str(project.get("requires-python", ""))
    try:
        SpecifierSet(pythons)
    except InvalidSpecifier as error:
        raise BadRepository(f"{FILE}: {pythons!r} in project.requires-python cannot be read.") from error
    listed = project.get("dependencies", [])
    if not isinstance(listed, list):
        raise BadRepository(f"{FILE}: project.dependencies is not a list.")
    lines = [_line(each) for each in listed]
    return Project("pyproject-dependencies.txt", "".join(f"{line}\n" for line in lines if line), pythons)


def _line(text: object) -> str:
    try:
        requirement = Requirement(str(text))
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise BadRepository(f"{FILE}: {text!r} in project.dependencies is not a requirement: {reason}.") from error
    # What comes from elsewhere may be a part of the repository, and is left to the package's own installation.
    return "" if requirement.url else str(requirement)
