"""``binderlet extend``."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.admin_service import AdminService, running
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_each_session_is_extended(command: Command) -> None:
    """By an hour, or as long as is said; until when is shown in this machine's time."""
    with running(command.state, AdminService()) as service:
        assert command("extend", "a", "b/c", "--by", "90m") == 0
        assert command("extend", "a") == 0
    assert "a stays until " in command.out
    assert service.asked == [
        "POST /sessions/a/extend?seconds=5400",
        "POST /sessions/b%2Fc/extend?seconds=5400",
        "POST /sessions/a/extend?seconds=3600",
    ]


@pytest.mark.parametrize("by", ["soon", "0h", "-5m"])
def test_what_is_no_time(command: Command, by: str) -> None:
    """It is a wrong command line."""
    assert command("extend", "a", f"--by={by}") == 2
    assert "--by" in command.err
