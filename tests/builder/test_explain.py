"""Explaining plans."""

from __future__ import annotations

import pytest

from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.detect import Detected
from binderlet.builder.explain import as_text, explain
from binderlet.builder.plan import Kind, Plan, make_plan

FILES = {"requirements.txt": b"numpy\n", "apt.txt": b"curl\n", "install.R": b"", "postBuild": b"#!/bin/sh\n"}


def told(plan: Plan, files: dict[str, bytes]) -> str:
    """Give the text of an explanation."""
    return as_text(explain(Detected(files=files), plan, base="the base", platform="linux/x86_64"))


def test_python() -> None:
    """What counts, what does not, what names the environment, and what a commit costs."""
    found = Detected(files=FILES)
    made = explain(found, make_plan(found, "3.11"), base="the base", platform="linux/x86_64")
    assert made.used == ("apt.txt", "postBuild", "requirements.txt")
    assert made.unused == ("install.R",)
    assert made.environment_key[0] == "base image: the base"
    assert "Debian packages: curl" in made.environment_key
    assert "text of requirements.txt, without comments" in made.environment_key
    assert made.each_commit == ("the repository's files are copied", "run anew: postBuild")
    assert made.invalidates[0] == "another requirement in requirements.txt"


def test_package() -> None:
    """A package is installed with each commit."""
    text = told(Plan(Kind.PYTHON, "3.11", local=(".",), exclude_newer="2024-01-01"), {"setup.py": b""})
    assert "installed anew: ." in text
    assert "installer: --exclude-newer 2024-01-01T23:59:59Z" in text
    assert "  setup.py" in text


def test_conda() -> None:
    """Beside environment.yml other files count for nothing."""
    files = {"environment.yml": b"", "requirements.txt": b"x", "runtime.txt": b"python-3.11"}
    plan = Plan(Kind.PYTHON, "3.11", conda=EnvironmentFile("environment.yml"))
    made = explain(Detected(files=files), plan, base="b", platform="p")
    assert (made.used, made.unused) == (("environment.yml",), ("requirements.txt", "runtime.txt"))
    assert "packages and channels of environment.yml" in made.environment_key


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(Kind.DOCKERFILE, dockerfile="Dockerfile"), "Found, but not used:\n  default.nix"),
        (Plan(Kind.REPO2DOCKER, language="Nix"), "Built by: repo2docker (Nix)"),
    ],
)
def test_others(plan: Plan, words: str) -> None:
    """What is built whole is made anew after any change."""
    text = told(plan, {"Dockerfile": b"", "default.nix": b""})
    assert words in text
    assert "any change in the repository" in text
    assert "Every new commit" not in text
