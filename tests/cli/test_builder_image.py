"""``binderlet builder-image``; how the image is made is tested with ``deploy/builder_image.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from binderlet.builder import workbench
from binderlet.deploy import builder_image
from binderlet.events.buildlog import BuildLog
from binderlet.images import courier
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on a machine that makes images in no time."""

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[object]:
        yield SimpleNamespace(docker=None)

    async def make(_bench: object, _network: object, name: str, log: BuildLog) -> builder_image.Made:
        log.write("Making it")
        return builder_image.Made(name, "binderlet/base:1")

    async def push(made: builder_image.Made, _courier: object, _log: BuildLog) -> list[str]:
        return [made.base, made.image]

    monkeypatch.setattr(workbench, "open_workbench", opened)
    monkeypatch.setattr(courier, "open_courier", opened)
    monkeypatch.setattr(builder_image, "make", make)
    monkeypatch.setattr(builder_image, "push", push)
    return Command(tmp_path, capsys)


def test_makes(command: Command) -> None:
    """The log goes to standard error, the name to standard output."""
    assert command("builder-image", "b:1") == 0
    assert command.out == "b:1\n"
    assert "Making it" in command.err


def test_pushes(command: Command) -> None:
    """What was pushed is printed; without a registry that is refused before anything is made."""
    assert command("builder-image", "r.example/b:1", "--push", "--set", "builder.image_prefix=r.example/i-") == 0
    assert command.out == "binderlet/base:1\nr.example/b:1\n"
    assert command("builder-image", "b:1", "--push") == 2
    assert "names no registry" in command.err
