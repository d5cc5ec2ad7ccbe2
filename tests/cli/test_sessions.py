"""``binderlet sessions``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from binderlet.cli.sessions import ago, print_table
from support.admin_service import SESSION, AdminService, running
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_table(command: Command) -> None:
    """One row for each session, oldest first, never cut in a pipe."""
    older = SESSION | {"id": "r-old", "created_at": 1.0}
    with running(command.state, AdminService(sessions=[dict(SESSION), older])):
        assert command("sessions") == 0
    header, first, second = command.out.splitlines()
    assert header.split() == ["ID", "STATE", "AGE", "IDLE", "REPOSITORY"]
    assert first.split()[0] == "r-old"
    assert second.split()[1] == "running"
    assert second.split()[-2:] == ["1m", SESSION["repo_url"]]


def test_no_sessions(command: Command) -> None:
    """No sessions is said, not shown as an empty table."""
    with running(command.state, AdminService(sessions=[])):
        assert command("sessions") == 0
    assert command.out == "No sessions run.\n"


def test_json(command: Command) -> None:
    """With --json, the service's own list."""
    with running(command.state, AdminService()):
        assert command("sessions", "--json") == 0
    assert json.loads(command.out) == [SESSION]


def test_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal, rows are cut rather than broken."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table([dict(SESSION)], 2000.0)
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (12000, "3h20m"), (200000, "2d")]
)
def test_ago(seconds: float, text: str) -> None:
    """Spans are short."""
    assert ago(seconds) == text
