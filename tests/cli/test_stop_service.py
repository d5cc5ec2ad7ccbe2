"""``binderlet stop-service``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binderlet.cli import stop_service
from binderlet.cli.stop_service import process_behind
from support.command import Command

SERVICE = """
import sys, time
from pathlib import Path
from support.admin_service import AdminService, running
service = AdminService()
with running(Path(sys.argv[1]), service):
    service.ended.wait(15)
time.sleep(float(sys.argv[2]))  # sessions end after the sockets have closed
"""
TESTS = str(Path(__file__).parents[1])


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@contextmanager
def service(state: Path, takes: float) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a process of its own, which takes a while to end."""
    environment = os.environ | {"PYTHONPATH": TESTS}
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(state), str(takes)], env=environment) as process:
        while process_behind(state / "run" / "admin.sock") is None:
            assert process.poll() is None
            time.sleep(0.05)
        try:
            yield process
        finally:
            process.kill()


def test_waits_for_the_end(command: Command) -> None:
    """It returns once the process has ended, not when its sockets have closed."""
    with service(command.state, 0.5) as process:
        begin = time.monotonic()
        assert command("stop-service") == 0
        assert time.monotonic() - begin >= 0.5
        process.wait(5)
    assert command.out == "The service has ended.\n"


def test_does_not_end(command: Command) -> None:
    """A service that does not end in time is an error."""
    with service(command.state, 15):
        assert command("stop-service", "--wait", "0.3") == 3
    assert "The service still runs after 0.3 seconds." in command.err


def test_does_not_wait(command: Command) -> None:
    """With --wait 0 it returns at once, and claims nothing."""
    with service(command.state, 0):
        assert command("stop-service", "--wait", "0") == 0
    assert command.out == ""


def test_process_that_is_gone() -> None:
    """A process that is gone altogether has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    stop_service.wait_until_ended(process.pid, 5)


def test_no_service(command: Command) -> None:
    """Where none runs, that is said."""
    assert command("stop-service") == 3
    assert "No service runs here." in command.err
