"""``binderlet launch``."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest

from support.admin_service import AdminService, running
from support.command import Command

LINK = "http://127.0.0.1:8585/user/r-abc/?token=t0k"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_link(command: Command) -> None:
    """The link is all that goes to standard output; how it comes along goes to standard error."""
    with running(command.state, AdminService()) as service:
        assert command("launch", "https://github.com/o/r", "--ref", "v1") == 0
    assert command.out == f"{LINK}\n"
    assert "building: Step 1\n" in command.err
    assert service.asked == ["GET /build/gh/o/r/v1"]


def test_json(command: Command) -> None:
    """With --json, the ready event and the link are one JSON object, and nothing else is printed."""
    with running(command.state, AdminService()):
        assert command("launch", "gh/o/r", "--json") == 0
    body = json.loads(command.out)
    assert (body["link"], body["token"], command.err) == (LINK, "t0k", "")
    assert "phase" not in body


def test_path_and_provider(command: Command) -> None:
    """--path opens a file, --provider takes the URL as that provider's spec."""
    with running(command.state, AdminService()) as service:
        assert command("launch", "o/r", "--provider", "gl", "--ref", "main", "--path", "x.ipynb") == 0
    assert "/lab/tree/x.ipynb?token=" in command.out
    assert service.asked == ["GET /build/gl/o/r/main"]


def test_open(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """--open opens the link in a browser, besides printing it."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    with running(command.state, AdminService()):
        assert command("launch", "gh/o/r", "--open") == 0
    assert opened == [LINK]
    assert command.out == f"{LINK}\n"


def test_failure(command: Command) -> None:
    """A failed launch is one sentence with its hint, after the log."""
    failed = {"phase": "failed", "message": "It died.\n", "code": "session_died", "hint": "Look."}
    with running(command.state, AdminService(events=[{"message": "a line\n"}, failed])):
        assert command("launch", "gh/o/r") == 1
    assert command.err == "a line\nerror: It died.\n  hint: Look.\n"
    assert command.out == ""


def test_no_service(command: Command) -> None:
    """Without a service, it says how to start one."""
    assert command("launch", "gh/o/r") == 3
    assert command.err == "error: No service runs here.\n  hint: Start it with 'binderlet up'.\n"


def test_folders(command: Command, tmp_path: Path) -> None:
    """A folder of this machine is launched only where the settings allow it."""
    assert command("launch", str(tmp_path)) == 1
    assert "may not be launched" in command.err
    with running(command.state, AdminService()) as service:
        assert command("launch", str(tmp_path), "--set", "providers.git.allowed_protocols=https,file") == 0
    assert service.asked[0].startswith("GET /build/git/file%3A%2F%2F%2F")


def test_gh_is_off(command: Command) -> None:
    """Where the gh provider is off, its URLs go to the git provider."""
    with running(command.state, AdminService()) as service:
        assert command("launch", "https://github.com/o/r", "--set", "providers.gh.enabled=false") == 0
    assert service.asked == ["GET /build/git/https%3A%2F%2Fgithub.com%2Fo%2Fr/HEAD"]
