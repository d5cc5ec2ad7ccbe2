"""Serving in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from binderlet.cli.address import parse_address
from binderlet.cli.ask import ask
from binderlet.cli.detach import COMMAND, answers, last_lines, serve_detached
from binderlet.config import Settings
from binderlet.errors import AlreadyRunning, ServiceUnavailable
from support.admin_service import AdminService, running

SERVICE = """
import sys, time
from pathlib import Path
from support.admin_service import AdminService, running
print("==> Looking for a container engine", flush=True)
print("a line of the log", flush=True)
time.sleep(0.5)
service = AdminService()
with running(Path(sys.argv[1]), service):
    service.ended.wait(10)
"""
TESTS = str(Path(__file__).parents[1])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a state folder of their own."""
    monkeypatch.setenv("PYTHONPATH", TESTS)
    return Settings.model_validate({"paths": {"state": tmp_path}})


def test_starts_and_launches(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It returns once the service answers and what was asked for is launched; the service goes on without us."""
    (tmp_path / "service.log").write_text("of the run before")
    command = [sys.executable, "-c", SERVICE, str(tmp_path)]
    process = serve_detached(settings, parse_address("gh/o/r"), [], command)
    try:
        assert answers(settings)
        out, err = capsys.readouterr()
        assert out == "http://127.0.0.1:8585/user/r-abc/?token=t0k\n"
        assert "==> Looking for a container engine" in err
        assert "The service runs as process" in err
        assert "a line of the log" in last_lines(tmp_path / "service.log")
        assert (tmp_path / "service.log.old").read_text() == "of the run before"
    finally:
        ask(settings, "POST", "/shutdown")
        process.wait(10)


def test_ends_at_once(settings: Settings, tmp_path: Path) -> None:
    """A service that ends before it answers is an error with its last words."""
    command = [sys.executable, "-c", "import sys; sys.exit('error: the port is taken')"]
    with pytest.raises(ServiceUnavailable, match="the port is taken") as caught:
        serve_detached(settings, None, [], command)
    assert str(tmp_path / "service.log") in caught.value.hint


def test_runs_already(settings: Settings, tmp_path: Path) -> None:
    """A second one is refused."""
    with running(tmp_path, AdminService()), pytest.raises(AlreadyRunning):
        serve_detached(settings, None, [])


def test_nothing_to_launch(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a launch, nothing goes to standard output."""
    process = serve_detached(settings, None, [], [sys.executable, "-c", SERVICE, str(tmp_path)])
    ask(settings, "POST", "/shutdown")
    process.wait(10)
    assert capsys.readouterr().out == ""


def test_command() -> None:
    """The process runs the same command line by the same interpreter."""
    assert list(COMMAND) == [sys.executable, "-m", "binderlet.cli"]
