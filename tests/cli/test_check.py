"""``binderlet check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.check import session_of
from support.admin_service import AdminService, running
from support.command import Command


def test_the_example_is_launched_and_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the example's folder, says how long it took, and leaves no session."""
    monkeypatch.chdir(tmp_path)
    command, service = Command(tmp_path, capsys), AdminService()
    with running(command.state, service):
        assert command("check") == 0, command.err
    assert "was ready after" in command.out
    launched, ended = service.asked
    assert "%2Fexample/HEAD" in launched
    assert ended == "DELETE /sessions/r-abc"


def test_the_session_of_a_url() -> None:
    """It is the last part."""
    assert session_of("http://b.test/user/example-abc/") == "example-abc"
