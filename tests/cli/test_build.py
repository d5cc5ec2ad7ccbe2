"""``binderlet build``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from binderlet.cli.local import Local, Source
from support.admin_service import BUILT, AdminService, running
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_image(command: Command) -> None:
    """The image's name is all that goes to standard output."""
    with running(command.state, AdminService(events=[BUILT])) as service:
        assert command("build", "https://github.com/o/r") == 0
    assert command.out == "binderlet/i-x:1\n"
    assert service.asked == ["GET /build/gh/o/r/HEAD?build_only=true"]


def test_json(command: Command) -> None:
    """With --json, the image's name is in an object without a link."""
    with running(command.state, AdminService(events=[BUILT])):
        assert command("build", "gh/o/r", "--json") == 0
    assert json.loads(command.out) == {"imageName": "binderlet/i-x:1"}


def test_explain(command: Command, tmp_path: Path) -> None:
    """A folder is explained without a service, for people and as JSON."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "apt.txt").write_text("curl")
    assert command("build", "--explain", str(tmp_path / "repository")) == 0
    assert command.out.startswith("Built by: an environment")
    assert command("build", "--explain", "--json", str(tmp_path / "repository")) == 0
    assert json.loads(command.out)["used"] == ["apt.txt"]


@pytest.mark.parametrize(("flags", "shown"), [((), "image:1"), (("--json",), '{"imageName": "image:1"}')])
def test_locked(command: Command, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], shown: str) -> None:
    """The image's name goes to standard output, the log to standard error."""

    async def build_locked(_self: Local, source: Source, locked: str, say: Callable[[str], None]) -> str:
        say(f"{source.url} {locked}\n")
        return "image:1"

    monkeypatch.setattr(Local, "build_locked", build_locked)
    assert command("build", "--locked", "lock.json", "gh/o/r", *flags) == 0
    assert command.out == f"{shown}\n"
    assert "gh/o/r lock.json" in command.err
