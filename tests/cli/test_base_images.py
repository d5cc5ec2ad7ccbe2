"""``binderlet base``; how base images are made is tested with ``builder/base_image.py``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from binderlet.builder import workbench
from binderlet.builder.base_image import BaseImage, KeptBase
from binderlet.events.buildlog import BuildLog
from support.command import Command

MEGABYTE = 1024**2


class Bases:
    """Two base images, one of which has been replaced."""

    def __init__(self) -> None:
        made_at = time.time() - 2 * 86400
        self.all = [
            KeptBase("binderlet/base:new", "sha256:" + "1" * 64, made_at, 900 * MEGABYTE, True, "3.11"),
            KeptBase("", "sha256:" + "2" * 64, made_at - 86400, 800 * MEGABYTE, is_current=False),
        ]

    async def kept(self) -> list[KeptBase]:
        """Give them."""
        return self.all

    @property
    def others(self) -> tuple[str, ...]:
        """Two other Pythons."""
        return ("3.12", "3.13")

    async def prune(self, python: str = "") -> list[KeptBase]:
        """Remove the old one, and that of a Python."""
        removed = [base for base in self.all if not base.is_current or (python and base.python == python)]
        self.all = [base for base in self.all if base not in removed]
        return removed

    async def renew(self, log: BuildLog, python: str = "") -> BaseImage:
        """Pretend."""
        log.write("Debian bookworm")
        return BaseImage(f"binderlet/base:new{python}", "sha256:3", python or "3.11", "new")


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on a machine with these images."""
    bases = Bases()

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[object]:
        yield SimpleNamespace(bases=bases)

    monkeypatch.setattr(workbench, "open_workbench", opened)
    return Command(tmp_path, capsys)


def test_list_and_prune(command: Command) -> None:
    """Each image has a line, the one in use a star; what is not in use is removed once."""
    assert command("base", "list") == 0
    assert command.out.splitlines() == [
        "* binderlet/base:new, Python 3.11, 900 MB, 2.0 days old",
        "  sha256:222222222222, 800 MB, 3.0 days old",
    ]
    assert command("base", "prune") == 0
    assert command.out == "Removed sha256:222222222222, 800 MB, 3.0 days old\n"
    assert command("base", "prune") == 0
    assert command.out == "There is nothing to remove.\n"
    assert command("base", "prune", "--python", "3.11") == 0
    assert command.out == "Removed binderlet/base:new, Python 3.11, 900 MB, 2.0 days old\n"


def test_build(command: Command) -> None:
    """The log goes to standard error, the name to standard output."""
    assert command("base", "build") == 0
    assert (command.out, command.err) == ("binderlet/base:new\n", "Debian bookworm\n")


def test_build_for_a_python(command: Command) -> None:
    """One Python's base image can be made alone; one that nobody has is refused with those that there are."""
    assert command("base", "build", "--python", "3.12") == 0
    assert command.out == "binderlet/base:new3.12\n"
    assert command("base", "build", "--python", "3.99") != 0
    assert "3.11, 3.12, 3.13" in command.err
