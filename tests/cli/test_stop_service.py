"""``binderlet stop-service``."""

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


def test_waits_for_the_end(command: Command) -> None:
    """It returns once the service has ended."""
    with running(command.state, AdminService()) as service:
        assert command("stop-service") == 0
        assert service.ended.is_set()
    assert command.out == "The service has ended.\n"
    assert service.asked[0] == "POST /shutdown"


class Stubborn:
    """An event that is never set, so that the service goes on."""

    def set(self) -> None:
        """Ignore it."""

    def is_set(self) -> bool:
        """Never."""
        return False


def test_does_not_end(command: Command) -> None:
    """A service that does not end in time is an error."""
    service = AdminService(ended=Stubborn())  # type: ignore[arg-type] # stands in for an Event
    with running(command.state, service):
        assert command("stop-service", "--wait", "0.3") == 3
        assert "The service still runs after 0.3 seconds." in command.err
        assert command("stop-service", "--wait", "0") == 0
    assert command.out == ""


def test_no_service(command: Command) -> None:
    """Where none runs, that is said."""
    assert command("stop-service") == 3
    assert "No service runs here." in command.err
