"""``binderlet stop``."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.admin_service import SESSION, AdminService, running
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_stop(command: Command) -> None:
    """Each session that was named is stopped, and said to be."""
    with running(command.state, AdminService(sessions=[dict(SESSION), SESSION | {"id": "b"}])) as service:
        assert command("stop", "r-abc", "b") == 0
    assert command.out == "Stopped r-abc.\nStopped b.\n"
    assert service.asked == ["DELETE /sessions/r-abc", "DELETE /sessions/b"]


def test_unknown(command: Command) -> None:
    """An unknown id is an error, whatever characters it has."""
    with running(command.state, AdminService()) as service:
        assert command("stop", "a/b") == 1
    assert "No session of that id runs here." in command.err
    assert service.asked == ["DELETE /sessions/a%2Fb"]
