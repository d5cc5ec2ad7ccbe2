"""The bundled example."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from binderlet.deploy.example import prepare_example
from binderlet.errors import MissingProgram


def head(folder: Path) -> str:
    """The commit of a repository."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_example_is_the_same_commit_every_time(tmp_path: Path) -> None:
    """Two runs give the same commit, so that the second finds the image of the first."""
    first = head(prepare_example(tmp_path))
    assert head(prepare_example(tmp_path)) == first
    notebook = json.loads((tmp_path / "example" / "welcome.ipynb").read_text())
    assert notebook["nbformat"] == 4


def test_without_git_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git gets one clear sentence."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="git is not installed"):
        prepare_example(tmp_path)
