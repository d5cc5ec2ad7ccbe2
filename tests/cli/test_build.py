"""``binderlet build``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
