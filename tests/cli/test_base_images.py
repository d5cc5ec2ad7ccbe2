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
            KeptBase("binderlet/base:new", "sha256:" + "1" * 64, made_at, 900 * MEGABYTE, is_current=True),
            KeptBase("", "sha256:" + "2" * 64, made_at - 86400, 800 * MEGABYTE, is_current=False),
        ]

    async def kept(self) -> list[KeptBase]:
        """Give them."""
        return self.all

    async def prune(self) -> list[KeptBase]:
        """Remove the old one."""
        removed, self.all = self.all[1:], self.all[:1]
        return removed

    async def renew(self, log: BuildLog) -> BaseImage:
        """Pretend."""
        log.write("Debian bookworm")
        return BaseImage("binderlet/base:new", "sha256:3", "3.11", "new")


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
        "* binderlet/base:new, 900 MB, 2.0 days old",
        "  sha256:222222222222, 800 MB, 3.0 days old",
    ]
    assert command("base", "prune") == 0
    assert command.out == "Removed sha256:222222222222, 800 MB, 3.0 days old\n"
    assert command("base", "prune") == 0
    assert command.out == "There is nothing to remove.\n"


def test_build(command: Command) -> None:
    """The log goes to standard error, the name to standard output."""
    assert command("base", "build") == 0
    assert (command.out, command.err) == ("binderlet/base:new\n", "Debian bookworm\n")
