"""Serving in this process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from binderlet.app import run
from binderlet.cli import foreground
from binderlet.cli.address import Address, parse_address
from binderlet.cli.foreground import Handle, serve_here
from binderlet.config import Settings
from binderlet.errors import EngineUnavailable
from support.admin_service import AdminService, running

LINK = "http://127.0.0.1:8585/user/r-abc/?token=t0k"
URL = "http://localhost:8585/"


@dataclass
class Running:
    """A handle of a service that runs."""

    url: str
    leave: Callable[[], None]


@dataclass
class FakeService:
    """Stands in for ``binderlet.app.run.serve``: does what the test says once it is ready."""

    when_ready: Callable[[FakeService], None]
    before_ready: Callable[[], None] = lambda: None
    steps: list[str] = field(default_factory=list)
    cancelled: bool = False
    left: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, _settings: Settings, ready: Callable[[Handle], None], step: Callable[[str], None]) -> None:
        """Serve until stopped or cancelled."""
        step("Looking for a container engine")
        self.before_ready()
        await asyncio.sleep(0)
        for _ in range(2):  # only the first counts
            ready(Running(URL, self.leave))
        asyncio.get_running_loop().call_later(0.2, self.when_ready, self)
        try:
            await asyncio.wait_for(self.stop.wait(), 10)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def leave(self) -> None:
        """End the control plane alone."""
        self.left = True
        self.stop.set()


def settings(state: Path) -> Settings:
    """Settings with a state folder of their own."""
    return Settings.model_validate({"paths": {"state": state}})


def send(number: signal.Signals) -> Callable[[object], None]:
    """Send this process a signal."""
    return lambda _service: os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging is global: leave it alone."""
    monkeypatch.setattr(foreground, "configure_logs", lambda _settings, *, secrets: list(secrets))


def serve(tmp_path: Path, service: FakeService, wanted: Address | None = None) -> None:
    """Serve here."""
    serve_here(settings(tmp_path), wanted, service.serve)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM cancel the service, and that is no error."""
    service = FakeService(when_ready=send(number))
    serve(tmp_path, service)
    assert service.cancelled
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "==> Looking for a container engine",
        f"binderlet serves at {URL}",
        "Ctrl-C ends it.",
        "Stopping; once more to stop at once.",
    ]


def test_it_ends_by_itself(tmp_path: Path) -> None:
    """When the operator asks the service to end, this ends too."""
    service = FakeService(when_ready=lambda service: service.stop.set())
    serve(tmp_path, service)
    assert not service.cancelled


def test_restart_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGUSR1 ends the control plane alone, and the process at once: nothing that goes on is cancelled."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    service = FakeService(when_ready=send(signal.SIGUSR1))
    serve(tmp_path, service)
    assert service.left
    assert codes == [0]


def test_first_launch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked for is launched once it runs, and the link is all that goes to standard output."""
    service = FakeService(when_ready=lambda _: None)
    admin = AdminService()
    with running(tmp_path, admin):
        service.when_ready = lambda service: service.stop.set() if admin.asked else None
        serve(tmp_path, service, parse_address("gh/o/r"))
    out, err = capsys.readouterr()
    assert out == f"{LINK}\n"
    assert "==> Launching gh/o/r/HEAD\nbuilding: Step 1\n" in err


def test_failed_first_launch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A launch that fails is told, and the service goes on."""
    failed = {"phase": "failed", "message": "It died.", "code": "session_died", "hint": "Look."}
    service = FakeService(when_ready=send(signal.SIGINT))
    with running(tmp_path, AdminService(events=[failed])):
        serve(tmp_path, service, parse_address("gh/o/r"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: It died.\n  hint: Look.\n" in err
    assert f"binderlet serves at {URL}" in err


def test_end_while_launching(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that ends while the first launch still waits takes the launch with it."""
    service = FakeService(when_ready=send(signal.SIGINT))
    with running(tmp_path, AdminService(events=[{"message": "x"}])):  # a stream that ends and is asked for again
        serve(tmp_path, service, parse_address("gh/o/r"))
    assert "serves at" not in capsys.readouterr().err


def test_signal_before_it_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C during the start ends it without a word of error."""

    async def slow(_settings: Settings, _ready: Callable[[Handle], None], step: Callable[[str], None]) -> None:
        step("Making the base image")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)

    serve_here(settings(tmp_path), None, slow)
    assert "serves at" not in capsys.readouterr().err


def test_failed_start(tmp_path: Path) -> None:
    """A service that cannot start raises its error."""

    def fail() -> None:
        raise EngineUnavailable("No engine.")

    with pytest.raises(ExceptionGroup) as caught:
        serve(tmp_path, FakeService(when_ready=lambda _: None, before_ready=fail))
    assert caught.group_contains(EngineUnavailable, match="No engine")


def test_real_service_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another, the service of the composition root is served."""
    service = FakeService(when_ready=lambda service: service.stop.set())
    monkeypatch.setattr(run, "serve", service.serve)
    serve_here(settings(tmp_path), None)
    assert service.stop.is_set()
