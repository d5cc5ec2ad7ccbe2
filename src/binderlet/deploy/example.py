"""The bundled example as a git repository on this machine, so that a first launch needs no other host."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from binderlet.errors import MissingProgram

AUTHOR = {
    "GIT_AUTHOR_NAME": "binderlet",
    "GIT_AUTHOR_EMAIL": "example@binderlet.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "binderlet",
    "GIT_COMMITTER_EMAIL": "example@binderlet.invalid",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "HOME": "/nonexistent",  # nothing of whoever runs this
}
"""Fixed, so that the same files are the same commit on every run and the image is found again."""


def prepare_example(state: Path) -> Path:
    """Write the example into ``<state>/example`` as a repository with one commit, and give its absolute path.

    Raises:
        MissingProgram: git is not installed.
    """
    folder = (state / "example").resolve()
    if folder.exists():
        shutil.rmtree(folder)
    with resources.as_file(resources.files("binderlet.deploy") / "example_files") as files:
        shutil.copytree(files, folder)
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "--message=Example"],
    ):
        _git(folder, command)
    return folder


def _git(folder: Path, arguments: list[str]) -> None:
    try:
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, env=os.environ | AUTHOR)
    except FileNotFoundError as error:
        raise MissingProgram("git is not installed.", hint="apt-get install git") from error
